"""The cluster's events of attempts and their pods, gathered by one watch and handed over every two seconds.

Events have no labels, so all of the namespace are heard, and those about objects that are called as no attempt can be
are passed by. What is handed over is kept in the database: the cluster forgets events after an hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.conditions import moment, part
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.replies import ApiFault, Forbidden
from odin.executors.kubernetes.watches import Watch
from odin.model.errors import OdinError
from odin.model.happenings import Happening
from odin.model.ids import AttemptId

EVENTS = Api("", "v1", "Event", "events")
EACH_S = 2.0
AT_ONCE = 500
MOST = 20_000  # that wait while the database takes none
log = logging.getLogger("odin.kubernetes")

Keep = Callable[[Sequence[Happening]], None]


class Happenings:
    """``bodies`` are those that the driver knows now; ``keep`` writes, and may block."""

    def __init__(self, cluster: Cluster, bodies: Mapping[AttemptId, Body], keep: Keep) -> None:
        self._bodies = bodies
        self._keep = keep
        self._watch = Watch(cluster, EVENTS, "", self, self._reached)
        self._waiting: dict[str, Happening] = {}
        self._is_forbidden = False
        self._said: dict[str, int] = {}  # counts of what was handed over

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run())
            group.create_task(self._hand_over())

    def listed(self, api: Api, objects: Collection[Object], version_: int, *, restored: bool = False) -> None:
        del version_, restored
        for each in objects:
            self.seen(api, "ADDED", each)

    def seen(self, api: Api, change: str, seen: Object) -> None:
        del api
        name = str(part(seen, "involvedObject").get("name") or "")
        if change == "DELETED" or "--" not in name:
            return
        told = read(seen, whose(seen, self._bodies))
        if self._said.get(told.uid) != told.count and len(self._waiting) < MOST:
            self._waiting[told.uid] = told

    def _reached(self, _api: Api, fault: ApiFault | None) -> None:
        """That the cluster cannot be reached is told by the watches of attempts; what is forbidden here alone, once."""
        if isinstance(fault, Forbidden) and not self._is_forbidden:
            log.warning("the cluster's events are not kept: %s", fault)
        self._is_forbidden = isinstance(fault, Forbidden)

    async def _hand_over(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            while batch := [self._waiting.pop(uid) for uid in list(self._waiting)[:AT_ONCE]]:
                if not await self._kept(batch):
                    self._waiting = {each.uid: each for each in batch} | self._waiting
                    break

    async def _kept(self, batch: Sequence[Happening]) -> bool:
        try:
            await asyncio.to_thread(self._keep, batch)
        except OdinError as error:
            log.warning("%d events of the cluster wait to be kept: %s", len(batch), error)
            return False
        self._said |= {each.uid: each.count for each in batch}
        while len(self._said) > MOST:
            del self._said[next(iter(self._said))]
        return True


def read(event: Object, attempt: AttemptId | None = None) -> Happening:
    """An event in either of its two forms: of core/v1, or with a series and a reporting controller."""
    about, series, source = part(event, "involvedObject"), part(event, "series"), part(event, "source")
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    moments = [at for time in (*times, part(event, "metadata").get("creationTimestamp")) if (at := moment(time))]
    who = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    where = source.get("host") or ""
    return Happening(
        uid=str(event["metadata"]["uid"]),
        kind=str(about.get("kind") or ""),
        name=str(about.get("name") or ""),
        attempt=attempt,
        at=max(moments[:1] or [0.0]),
        count=int(series.get("count") or event.get("count") or 1),
        type=str(event.get("type") or "Normal"),
        reason=str(event.get("reason") or ""),
        source=f"{who} {where}".strip(),
        message=str(event.get("message") or "").strip(),
    )


def whose(event: Object, bodies: Mapping[AttemptId, Body]) -> AttemptId | None:
    """The attempt that the object is known to belong to, by its uid."""
    about = part(event, "involvedObject")
    uid = about.get("uid")
    for attempt in _beginnings(str(about.get("name") or "")):
        body = bodies.get(attempt)
        if body is not None and uid in (body.uid, *(part(pod, "metadata").get("uid") for pod in body.pods.values())):
            return attempt
    return None


def _beginnings(name: str) -> Iterator[AttemptId]:
    """The name, and what is left of it without its last parts; the longest first."""
    while "--" in name:
        yield AttemptId(name)
        name = name.rpartition("-")[0].rstrip("-")
