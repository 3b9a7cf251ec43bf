"""Carries out what the engine asks, in an event loop of its own, and tells what becomes of it.

Everything is done by name: an attempt's object is called as the attempt, so whatever was sent twice exists once.
Source: architecture.md, "Kubernetes"; reliability.md, F-05, F-06, F-20 to F-37.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import Body, Doom, labels, version
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.keeper import Keeper
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds import table
from odin.executors.kubernetes.manifests import Made, Manifests
from odin.executors.kubernetes.replies import ApiFault, Exists, Forbidden, Missing, OverQuota, Refused, Unreachable
from odin.executors.kubernetes.sights import Over, Runs, Waits
from odin.executors.kubernetes.telling import ended, reports
from odin.executors.kubernetes.watches import Watch
from odin.executors.protocol import TaskLaunch
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Absent, Away, Back, Ended, Held, Reason, Report

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
CONFIG_TIMEOUT_S = 120.0
AWAY_AFTER_S = 3.0
log = logging.getLogger("odin.kubernetes")


class Driver:
    """Knows the attempts and their objects. ``tell`` takes reports; all else is called in the event loop."""

    def __init__(self, cluster: Cluster, manifests: Manifests, keeper: Keeper, tell: Callable[[Report], None]) -> None:
        self.bodies: dict[AttemptId, Body] = {}
        self._cluster = cluster
        self._manifests = manifests
        self._keeper = keeper
        keeper.kept = self.kept
        self._tell = tell
        self._watches: list[Watch] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut: dict[Api, float] = {}  # since when a watch does not stand
        self._away = True

    # The place

    def begin(self, apis: Sequence[Api]) -> None:
        """Watch these resources; ``Back`` is told when all of them stand."""
        selector = marks.selector(self._manifests.store, kept=False)
        now = time.monotonic()
        self._cut = dict.fromkeys(apis, now)
        self._watches = [Watch(self._cluster, api, selector, self) for api in apis]
        for watch in self._watches:
            self._spawn(watch.run())

    async def end(self) -> None:
        """Leave everything as it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What the engine asks

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        for task in tasks:
            body = self.bodies.setdefault(task.attempt, Body(task.attempt))
            if body.uid:
                self._repeat(body)
            elif not body.is_creating:
                body.launch, body.is_creating = task, True
                self._spawn(self._create(body))

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        self._doom(attempt, Doom(Reason.STOPPED, message, grace_s, time.time()), kind)

    def recall(self, attempts: Mapping[AttemptId, int]) -> None:
        self._spawn(self._recall(list(attempts)))

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        for attempt in attempts:
            body = self.bodies.get(attempt)
            if body is not None and not body.is_acknowledged:
                body.is_acknowledged = True
                if body.uid:
                    self._keeper.keep(body)

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        gone = set(pipelines)
        for body in [body for name, body in self.bodies.items() if split_resource(name)[0] in gone]:
            body.is_forgotten = True
            self._drop_if_done(body)

    def kept(self, body: Body) -> None:
        """Its log is kept and its object let go."""
        body.is_kept = True
        self._drop_if_done(body)

    def _drop_if_done(self, body: Body) -> None:
        if body.is_forgotten and (body.is_kept or not body.uid):
            self.bodies.pop(body.attempt, None)

    # What the watches tell

    def listed(self, api: Api, objects: list[Object], version_: int) -> None:
        there = {str(each["metadata"]["uid"]) for each in objects}
        for seen in objects:
            self.seen(api, "ADDED", seen)
        for body in list(self.bodies.values()):
            if body.api == api and body.uid and body.uid not in there and version(body.object) <= version_:
                self._gone(body)

    def seen(self, api: Api, change: str, seen: Object) -> None:
        attempt = marks.attempt(labels(seen))
        if attempt is None:
            return
        if change == "DELETED" and attempt not in self.bodies:
            return
        body = self.bodies.setdefault(attempt, Body(attempt))
        if seen["metadata"]["name"] == attempt and body.api in (None, api):
            self._top(body, api, change, seen)
        elif change == "DELETED":
            body.pods.pop(seen["metadata"]["name"], None)
        else:
            body.pods[seen["metadata"]["name"]] = seen
        self._report(body)

    def reached(self, api: Api, fault: ApiFault | None) -> None:
        if fault is None:
            self._cut.pop(api, None)
            if self._away and not self._cut:
                self._away = False
                self._tell(Back(tuple({split_resource(attempt)[0] for attempt in self.bodies})))
            return
        since = self._cut.setdefault(api, time.monotonic())
        if not self._away and time.monotonic() - since >= AWAY_AFTER_S:
            self._away = True
            self._tell(Away(f"the cluster at {self._cluster.server} cannot be reached: {fault}"))

    def _top(self, body: Body, api: Api, change: str, seen: Object) -> None:
        if body.api is None:
            body.api, body.kind = api, table.known(seen)
        if body.take(seen) and change == "DELETED":
            self._gone(body)

    def _gone(self, body: Body) -> None:
        """The object is no more. One whose end was seen lost only what is kept elsewhere."""
        if not body.is_over and not body.is_kept:
            body.over = self._last_words(body)
            self._report(body)
        self.kept(body)

    def _last_words(self, body: Body) -> Over:
        last = body.sight()
        if isinstance(last, Over):
            return last
        started = last.at if isinstance(last, Runs) else None
        if body.doom is not None:
            reason = Reason.VOID if started is None else body.doom.reason
            return Over(None, reason, body.doom.message, started, time.time())
        message = "its object was removed from the cluster by force, so how it ended cannot be known"
        return Over(None, Reason.LOST, message, started, time.time())

    # What is told

    def _report(self, body: Body) -> None:
        """Tell what is new."""
        sight = body.sight()
        if sight is None or body.is_void:
            return
        if isinstance(sight, Over):
            body.over = sight
        elif body.doom is None:
            self._judge_wait(body, sight)
        before, body.told = body.told, sight
        for report in reports(body.attempt, before, sight):
            self._tell(report)

    def _repeat(self, body: Body) -> None:
        """Tell again how it is."""
        if body.is_void:
            self._tell(Ended(body.attempt, None, Reason.VOID, time.time()))
            return
        body.told = None
        self._report(body)

    def _judge_wait(self, body: Body, sight: Waits | Runs) -> None:
        """End what waits for an image, or for something that is not there, once its time is up."""
        if not isinstance(sight, Waits) or not (sight.image or sight.config):
            body.troubled_since = None
            return
        if body.troubled_since is None:
            body.troubled_since = time.monotonic()
            limit_s = self._manifests.image_timeout_s(body.object) if sight.image else CONFIG_TIMEOUT_S
            self._spawn(self._give_up(body, body.troubled_since, limit_s))

    async def _give_up(self, body: Body, since: float, after_s: float) -> None:
        await asyncio.sleep(after_s)
        sight = body.sight()
        if body.troubled_since != since or not isinstance(sight, Waits) or body.doom is not None:
            return
        reason = Reason.IMAGE if sight.image else Reason.UNPLACED
        self._doom(body.attempt, Doom(reason, f"{sight.why} (for {after_s:g} s)", 0, time.time()), "")

    # How it is done

    def _doom(self, attempt: AttemptId, doom: Doom, kind: str) -> None:
        body = self.bodies.setdefault(attempt, Body(attempt))
        if body.doom is not None:
            doom = Doom(body.doom.reason, body.doom.message, doom.grace_s, body.doom.at)
        body.doom = doom
        if body.is_over or body.is_void:
            self._repeat(body)
        elif body.uid:
            self._spawn(self._delete(body))
        elif not body.is_creating:
            self._spawn(self._void(body, kind))

    async def _create(self, body: Body) -> None:
        """Create the attempt's objects, however often it takes, until it is known whether they exist."""
        assert body.launch is not None
        pause_s = FIRST_PAUSE_S
        try:
            made = await self._manifests.make(body.launch)
            while not await self._try_create(body, made, pause_s):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        except Refused as fault:
            self._end(body, Reason.REFUSED, str(fault))
        finally:
            body.is_creating = False
        if body.doom is not None and body.uid and not body.is_over:
            await self._delete(body)

    async def _try_create(self, body: Body, made: Made, pause_s: float) -> bool:
        if body.doom is not None and not await self._may_exist(body, made):
            return True
        try:
            for api, each in made.objects:
                await self._ensure(body, api, each)
        except (OverQuota, Forbidden) as fault:
            self._say_held(body, str(fault))
        except Unreachable as fault:
            log.debug("creating %s: %s", body.attempt, fault)
            pause_s = max(pause_s, fault.retry_after_s)
        else:
            return True
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the load
        return False

    async def _may_exist(self, body: Body, made: Made) -> bool:
        """Whether its object is there after all; if not it was stopped before it could be made, and is void."""
        api, top = made.objects[-1]
        try:
            self.seen(api, "ADDED", await self._cluster.get(api, top["metadata"]["name"]))
        except Missing:
            await self._void(body, api.kind)
            return False
        return True

    async def _ensure(self, body: Body, api: Api, wanted: Object) -> None:
        try:
            made = await self._cluster.create(api, wanted)
        except Exists:
            made = await self._adopted(api, wanted)
        if made["metadata"]["name"] == body.attempt:
            self.seen(api, "ADDED", made)

    async def _adopted(self, api: Api, wanted: Object) -> Object:
        """The object that has the name, if it is ours. Raises Refused, Unreachable."""
        name = wanted["metadata"]["name"]
        try:
            there = await self._cluster.get(api, name)
        except Missing as fault:  # it has gone just now
            raise Unreachable(str(fault)) from fault
        same = (marks.STORE, marks.PIPELINE, marks.TASK, marks.ATTEMPT)
        if any(labels(there).get(key) != labels(wanted).get(key) for key in same):
            raise Refused(
                f"an object named {name} that is not Odin's exists in the namespace {self._cluster.namespace}; "
                f"remove or rename it, then run the job again"
            )
        return there

    async def _delete(self, body: Body) -> None:
        """Ask for the object's removal until that is heard; the end is seen by its watch."""
        assert body.doom is not None
        assert body.api is not None
        pause_s = FIRST_PAUSE_S
        while not body.is_over:
            try:
                await self._cluster.delete(body.api, body.attempt, uid=body.uid, grace_s=body.doom.grace_s)
            except Missing:
                self._gone(body)
            except Refused as fault:
                log.warning("%s cannot be removed: %s", body.attempt, fault)
            except ApiFault as fault:
                log.debug("removing %s: %s", body.attempt, fault)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            return

    async def _void(self, body: Body, kind: str) -> None:
        """Fill the name of what never existed, so that a create still on its way finds it taken; then it is over."""
        api, filler = self._manifests.filler(body.attempt, kind)
        pause_s = FIRST_PAUSE_S
        while not body.uid:
            try:
                body.object = await self._cluster.create(api, filler)
            except Exists:
                self.seen(api, "ADDED", await self._cluster.get(api, body.attempt))
            except Refused as fault:
                log.warning("the name %s cannot be filled: %s", body.attempt, fault)
                break
            except ApiFault:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if body.uid and not body.is_void:
            await self._delete(body)
        else:
            assert body.doom is not None
            self._end(body, Reason.VOID, body.doom.message)

    async def _recall(self, attempts: Sequence[AttemptId]) -> None:
        """Answer for each attempt from a list read after this call. If that fails, ``Back`` will bring it up again."""
        try:
            for watch in self._watches:
                await watch.relist()
        except ApiFault as fault:
            log.debug("recall: %s", fault)
            self._away = True
            self._cut.setdefault(self._watches[0].api, time.monotonic())
            self._tell(Away(f"the cluster at {self._cluster.server} cannot be reached: {fault}"))
            return
        for attempt in attempts:
            body = self.bodies.get(attempt)
            if body is not None and (body.uid or body.is_over):
                self._repeat(body)
            elif body is None or not body.is_creating:
                self._tell(Absent(attempt))

    def _end(self, body: Body, reason: Reason, message: str) -> None:
        """It is over without ever having been."""
        body.over = body.told = Over(None, reason, message, None, time.time())
        body.is_kept = not body.uid
        self._tell(ended(body.attempt, body.over))

    def _say_held(self, body: Body, why: str) -> None:
        """It cannot even be made yet."""
        if body.why_not_made != why:
            body.why_not_made = why
            self._tell(Held(body.attempt, why))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the cluster's driver failed", exc_info=error)
