"""All that this Odin has in a cluster, by its labels, for who compares it with the rows; and the end of what is left.

Source: architecture.md, "Kubernetes", "Sweep"; reliability.md, F-41.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes import removal
from odin.executors.kubernetes.body import labels
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.delivery import CONFIG_MAP
from odin.executors.kubernetes.executor import GROUPS
from odin.executors.kubernetes.keeper import released
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.kinds.table import ROWS
from odin.executors.kubernetes.manifests import SERVICES
from odin.executors.kubernetes.replies import ApiFault, Changed, Forbidden, Missing
from odin.model.errors import Unavailable
from odin.model.ids import AttemptId, PipelineId

# What makes others comes first, so that nothing is made again while it is removed.
APIS = tuple(
    dict.fromkeys(
        (
            *(api for row in ROWS for api in row.apis if api != PODS),
            PODS,
            *(api for row in ROWS for api in row.needs),
            SERVICES,
            CONFIG_MAP,
        )
    )
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """One object. ``attempt`` None: it is of the whole pipeline. ``held``: Odin's finalizer is on it.

    ``is_kept``: its end is recorded and its log kept, so that nothing is owed to it. ``changed_at``: when it was made,
    or its removal asked for.
    """

    kind: str
    name: str
    pipeline: PipelineId
    attempt: AttemptId | None
    held: bool
    is_kept: bool
    is_going: bool
    changed_at: float
    api: Api = field(compare=False, repr=False)
    seen: Object = field(compare=False, repr=False)


class ClusterCensus:
    """``Objects`` of a cluster that nobody watches; each call connects anew. Raises Unavailable."""

    def __init__(self, connect: Callable[[], Cluster], store: str) -> None:
        self._connect = connect
        self._store = store

    def standing(self) -> list[Standing]:
        """Every object of this store."""

        async def listed(cluster: Cluster, apis: Sequence[Api]) -> list[Standing]:
            found = []
            for api in apis:
                with suppress(Missing, Forbidden):
                    objects = (await cluster.listed(api, selector=marks.selector(self._store)))[0]
                    found += [_standing(api, each) for each in objects]
            return found

        return self._asked(listed)

    def release(self, one: Standing) -> None:
        """Take Odin's finalizer off an object that nothing is owed to."""

        async def patched(cluster: Cluster, _: Sequence[Api]) -> None:
            with suppress(Missing, Changed):
                await cluster.patch(one.api, one.name, released(one.seen))

        self._asked(patched)

    def take_away(self, one: Standing) -> None:
        """Remove one object, whatever runs in it."""

        async def removed(cluster: Cluster, _: Sequence[Api]) -> None:
            await removal.remove_one(cluster, one.api, one.seen)

        self._asked(removed)

    def present(self, pipeline: PipelineId) -> Collection[str]:
        return self._asked(lambda cluster, apis: removal.present(cluster, apis, self._store, pipeline))

    def remove(self, pipeline: PipelineId) -> Collection[str]:
        return self._asked(lambda cluster, apis: removal.remove(cluster, apis, self._store, pipeline))

    def _asked(self, question: Callable[[Cluster, Sequence[Api]], Coroutine[Any, Any, T]]) -> T:
        async def asked() -> T:
            cluster = self._connect()
            try:
                served, _ = await cluster.served(GROUPS)
                return await question(cluster, [api for api in APIS if (api.group, api.version, api.plural) in served])
            except ApiFault as fault:
                raise Unavailable(f"the cluster cannot be asked: {fault}") from fault
            finally:
                await cluster.close()

        return asyncio.run(asked())


def _standing(api: Api, seen: Object) -> Standing:
    metadata, found = seen["metadata"], labels(seen)
    going = metadata.get("deletionTimestamp")
    return Standing(
        api.kind,
        metadata["name"],
        PipelineId(found.get(marks.PIPELINE, "")),
        marks.attempt(found),
        held=marks.FINALIZER in (metadata.get("finalizers") or ()),
        is_kept=marks.KEPT in found,
        is_going=bool(going),
        changed_at=datetime.fromisoformat(going or metadata["creationTimestamp"]).timestamp(),
        api=api,
        seen=seen,
    )
