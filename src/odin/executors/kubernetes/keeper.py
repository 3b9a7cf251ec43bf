"""What is owed to an attempt after its end is committed: its log and outputs kept, then its object let go.

The object's finalizer holds it until then, whoever deletes it. Each step may be repeated, and a start finds what is
left by listing the objects that are not marked as kept. Source: architecture.md, "Kubernetes"; F-21, F-38.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.logcopies import LogCopies
from odin.executors.kubernetes.podstatus import outputs
from odin.executors.kubernetes.replies import ApiFault, Changed, Missing, Refused

AT_ONCE = 8
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LOG_PATIENCE_S = 600.0  # for a node that does not answer
log = logging.getLogger("odin.kubernetes")


class Keeper:
    """Works off the attempts given to ``keep``, a few at once. ``outputs_path`` is where an attempt's outputs go."""

    def __init__(self, cluster: Cluster, copies: LogCopies, outputs_path: Callable[[str], Path]) -> None:
        self.kept: Callable[[Body], None] = lambda _: None  # told of each that nothing is owed to any more
        self._cluster = cluster
        self._copies = copies
        self._outputs_path = outputs_path
        self._waiting: asyncio.Queue[Body] = asyncio.Queue()

    def keep(self, body: Body) -> None:
        self._waiting.put_nowait(body)

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            body = await self._waiting.get()
            try:
                await self._keep(body)
            except Exception:  # border: chore
                log.exception("what %s leaves behind could not be kept", body.attempt)

    async def _keep(self, body: Body) -> None:
        pause_s = FIRST_PAUSE_S
        waited_s = 0.0
        while not body.is_kept and body.uid:
            try:
                if not body.is_void and waited_s < LOG_PATIENCE_S:
                    await self._copies.finish(body)
                    self._keep_outputs(body)
                await self._let_go(body)
            except ApiFault as fault:
                log.debug("keeping %s: %s", body.attempt, fault)
                await asyncio.sleep(pause_s)
                waited_s += pause_s
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _keep_outputs(self, body: Body) -> None:
        """What the task said in ``$ODIN_OUTPUTS``, where the tasks of one machine leave it."""
        pod = body.main_pod()
        told = outputs(pod) if pod is not None else None
        if told:
            path = self._outputs_path(body.attempt)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(told)

    async def _let_go(self, body: Body) -> None:
        assert body.api is not None
        try:
            await self._cluster.patch(body.api, body.attempt, released(body.object))
        except Missing:
            pass
        except Changed:
            body.object = await self._cluster.get(body.api, body.attempt)
            return
        except Refused as fault:
            log.warning("%s cannot be let go of: %s", body.attempt, fault)
        self.kept(body)


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
