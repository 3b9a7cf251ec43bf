"""Carries out what the engine asks, in an event loop of its own, and tells what becomes of it.

``Register`` knows the attempts, ``Errands`` does what they need in the cluster, ``Patience`` bears their troubles,
``Answers`` finds out what became of them, ``Keeper`` keeps what they leave. Source: architecture.md, "Kubernetes".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from odin.executors.kubernetes import kueue
from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.answers import Answers
from odin.executors.kubernetes.body import Body, Doom, is_deleted
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.conditions import made_at
from odin.executors.kubernetes.errands import IN_FLIGHT_S, Errands
from odin.executors.kubernetes.keeper import Keeper
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.pacing import Lull
from odin.executors.kubernetes.patience import Patience
from odin.executors.kubernetes.queues import Queues
from odin.executors.kubernetes.register import Register
from odin.executors.kubernetes.standing import Standing
from odin.executors.kubernetes.watches import Watch
from odin.executors.protocol import Recall, TaskLaunch
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Away, Back, Reason, Report

CALM_S = 0.3  # without an attempt that begins, moves or ends
log = logging.getLogger("odin.kubernetes")


class Driver:
    """Knows the attempts and their objects. ``tell`` takes reports; all else is called in the event loop."""

    def __init__(self, cluster: Cluster, manifests: Manifests, keeper: Keeper, tell: Callable[[Report], None]) -> None:
        self._cluster = cluster
        self._manifests = manifests
        self._keeper = keeper
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: dict[Api, Watch] = {}
        self._register = Register(tell)
        self._errands = Errands(cluster, manifests, self._register, self._spawn)
        self._standing = Standing(cluster.server, lambda why: tell(Away(why)), self._back)
        self._patience = Patience(cluster, self._spawn, doom=self._doom, report=self._register.report)
        self._answers = Answers(cluster, self._register, self._listing, self._spawn, follow=self.follow, tell=tell)
        self._queues = Queues(self._queue_said)
        self._queued: set[Api] = set()
        self._register.changed = self._changed
        self._register.found_void = self._sweep
        self._register.reappeared = self._remove_again
        self._lull = Lull(CALM_S)
        self._register.ending = keeper.keep_outputs
        keeper.kept, keeper.calm = self._kept, self._lull.calm

    @property
    def bodies(self) -> Mapping[AttemptId, Body]:
        """The attempts that are not over, or of which something is left to keep."""
        return self._register.bodies

    # The place

    def follow(self, apis: Collection[Api]) -> None:
        """Watch these resources too; ``Back`` is told when all watches stand."""
        selector = marks.selector(self._manifests.store, kept=False)
        for api in [each for each in apis if each not in self._watches]:
            self._standing.expect(api)
            self._watches[api] = Watch(self._cluster, api, selector, self._register, self._standing.reached)
            self._spawn(self._watches[api].run())

    def follow_queues(self, api: Api) -> None:
        """Hear what queues say of the attempts that they hold back. Nothing waits for it."""
        if api not in self._queued:
            self._queued.add(api)
            self._spawn(Watch(self._cluster, api, kueue.JOB_UID, self._queues, lambda *_: None).run())

    async def end(self) -> None:
        """Leave everything as it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listing(self) -> list[Watch]:
        """Those that can list what there is."""
        return [watch for api, watch in self._watches.items() if not self._standing.is_barred(api)]

    def _back(self) -> None:
        self._tell(Back(tuple(self._register.pipelines)))
        self._register.repeat_ends()

    # What the engine asks

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        for task in tasks:
            if not self._register.repeat(task.attempt):
                body = self._register.body(task.attempt)
                body.launch, body.resource_type = task, task.spec.resource_type
                self._errands.attend(body)

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        body = self._register.body(attempt)
        body.resource_type = kind
        self._doom(body, Doom(Reason.STOPPED, message, grace_s, time.time()))
        if body.is_over:
            self._register.repeat(attempt)

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        self._answers.ask(attempts)

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        for attempt in attempts:
            body = self._register.bodies.get(attempt)
            if body is None:
                self._keeper.abandon(attempt)
            elif not body.is_acknowledged:
                body.is_acknowledged = True
                self._register.drop_if_done(body)
                if body.uid and not body.is_kept:
                    self._keeper.keep(body)

    async def settle(self, pipeline: PipelineId) -> None:
        """Return once the logs of what a pipeline has are kept, or were waited for."""
        mine = [body for body in self._register.bodies.values() if split_resource(body.attempt)[0] == pipeline]
        await self._keeper.settle(mine)

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        for body in self._register.forget(pipelines):
            log.warning("%s runs in the cluster, and no pipeline in flight has it", body.attempt)
        for pipeline in pipelines:
            self._errands.forget(pipeline)

    # What there is to do

    def _changed(self, body: Body) -> None:
        if not body.is_acknowledged:
            self._lull.stir()
        if body.is_over:
            self._errands.freed()
        elif body.doom is not None and body.asked is not None and body.uid and not is_deleted(body.object):
            self._ask_again(body)
        if self._queues.mind(body):
            self._register.report(body)
        self._patience.mind(body)
        self._errands.attend(body)

    def _queue_said(self, uid: str) -> None:
        for body in [each for each in self._register.bodies.values() if each.uid == uid]:
            self._changed(body)

    def _ask_again(self, body: Body) -> None:
        """Its removal was asked for and is not seen: either that is on its way, or the cluster has forgotten it."""
        if body.asked is not None and time.time() - body.asked.at > IN_FLIGHT_S:
            body.asked = None

    def _doom(self, body: Body, doom: Doom) -> None:
        """The first reason for its end is the one that stays; another grace is taken over."""
        first = body.doom or doom
        is_lost = doom.is_lost or first.is_lost
        body.doom = replace(first, grace_s=0 if is_lost else doom.grace_s, is_lost=is_lost)
        self._patience.mind(body)
        self._errands.attend(body)

    def _kept(self, body: Body) -> None:
        """Its log is kept and its object let go."""
        body.is_kept = True
        self._register.drop_if_done(body)

    # What is left of others

    def _sweep(self, api: Api, void: Object) -> None:
        self._errands.sweep(api, void, max(0.0, IN_FLIGHT_S - (time.time() - made_at(void))))

    def _remove_again(self, api: Api, seen: Object) -> None:
        log.warning("%s was over and is there again; removing it", seen["metadata"]["name"])
        self._errands.sweep(api, seen, 0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the cluster's driver failed", exc_info=error)
