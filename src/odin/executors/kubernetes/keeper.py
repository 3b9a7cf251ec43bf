"""What is owed to an attempt after its end is committed: its log and outputs kept, then its object let go.

The object's finalizer holds it until then, whoever deletes it. Each step may be repeated, and a start finds what is
left by listing the objects that are not marked as kept. Source: architecture.md, "Kubernetes"; F-21, F-38.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import Body, name, uid
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.logcopies import LogCopies
from odin.executors.kubernetes.logcopy import heard
from odin.executors.kubernetes.outputs import keep
from odin.executors.kubernetes.podstatus import outputs
from odin.executors.kubernetes.replies import ApiFault, Changed, Missing, Refused
from odin.model.ids import AttemptId
from odin.model.reports import Reason

AT_ONCE = 8  # of the calls in flight, so that launches are not kept waiting
GIVE_WAY_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
SETTLE_S = 10.0
LOG_PATIENCE_S = 600.0  # for a node that does not answer
log = logging.getLogger("odin.kubernetes")


class Keeper:
    """Works off the attempts given to ``keep``. ``outputs_path`` is where an attempt's outputs go."""

    def __init__(self, cluster: Cluster, copies: LogCopies, outputs_path: Callable[[str], Path]) -> None:
        self.kept: Callable[[Body], None] = lambda _: None  # told of each that nothing is owed to any more
        self.calm: Callable[[], Awaitable[None]] = partial(asyncio.sleep, 0)  # until no attempt begins or ends
        self._cluster = cluster
        self._copies = copies
        self._outputs_path = outputs_path
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def keep_outputs(self, body: Body) -> None:
        """Keep what the task said in ``$ODIN_OUTPUTS``, where the tasks of one machine leave it, as it is known now.

        What cannot be written is tried again by ``keep``. Raises nothing: the end is still to be told.
        """
        try:
            self._keep_outputs(body)
        except Exception:  # border: chore
            log.exception("the outputs of %s are not kept yet", body.attempt)

    def keep(self, body: Body) -> None:
        """Do what is owed to an attempt that is over, however often that takes."""
        self._spawn(self._keep(body))

    async def settle(self, bodies: Collection[Body]) -> None:
        """Return once all of these that are over are kept: their objects are about to be removed."""
        left = [body for body in bodies if body.is_over and body.uid and not body.is_kept]
        for body in left:
            body.hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while any(not body.is_kept for body in left):  # noqa: ASYNC110 - it takes a moment
                    await asyncio.sleep(0.05)
        for body in [each for each in left if not each.is_kept]:
            with suppress(ApiFault):
                await self._copies.finish(body, patient=False)
            self.kept(body)

    def abandon(self, attempt: AttemptId) -> None:
        """Nothing of an attempt that is over is there to be kept: what is left of its log says so."""
        self._spawn(self._copies.abandon(attempt))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(heard)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, body: Body) -> None:
        # Nobody waits for the log of a node that is lost.
        patience_s = 0.0 if body.over is not None and body.over.reason is Reason.NODE_LOST else LOG_PATIENCE_S
        pause_s, until = FIRST_PAUSE_S, time.monotonic() + patience_s
        await self._give_way(body)
        while not body.is_kept:
            try:
                async with self._slots:
                    await self._keep_once(body, until)
                continue
            except ApiFault as fault:
                log.debug("keeping %s: %s", body.attempt, fault)
            except Exception:  # border: chore
                log.exception("what %s leaves behind could not be kept", body.attempt)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _give_way(self, body: Body) -> None:
        """Attempts that begin and end come first: what is owed to one that is over can wait a while."""
        waiting = [asyncio.ensure_future(each) for each in (self.calm(), body.hurry.wait())]
        try:
            await asyncio.wait(waiting, timeout=GIVE_WAY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def _keep_once(self, body: Body, until: float) -> None:
        await self._copies.finish(body, patient=time.monotonic() < until)
        self._keep_outputs(body)
        await self._let_go(body)

    def _keep_outputs(self, body: Body) -> None:
        pod = body.main_pod()
        told = outputs(pod) if pod is not None else None
        if told and told != body.outputs:
            keep(self._outputs_path(body.attempt), told)
            body.outputs = told

    async def _let_go(self, body: Body) -> None:
        """The pods first, since the object is what shows that something is owed."""
        for pod in [each for each in body.pods.values() if name(each) != body.attempt]:
            with suppress(Missing, Changed, Refused):
                await self._cluster.patch(
                    PODS, name(pod), {"metadata": {"uid": uid(pod), "labels": {marks.KEPT: "true"}}}
                )
        assert body.api is not None
        try:
            await self._cluster.patch(body.api, body.attempt, released(body.object))
        except Missing:
            pass
        except Changed:
            if await self._is_there(body, body.api):
                return
        except Refused as fault:
            log.warning("%s cannot be let go of: %s", body.attempt, fault)
        self.kept(body)

    async def _is_there(self, body: Body, api: Api) -> bool:
        """Whether its object is there in a newer state, and not another of its name."""
        try:
            there = await self._cluster.get(api, body.attempt)
        except Missing:
            return False
        return body.take(there, restored=True)


def released(seen: Object) -> Object:
    """The patch that marks an object as kept and takes Odin's finalizer away, and nobody else's."""
    metadata: dict[str, Any] = seen["metadata"]
    others = [each for each in metadata.get("finalizers") or () if each != marks.FINALIZER]
    return {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "labels": {marks.KEPT: "true"},
            "finalizers": others or None,
        }
    }
