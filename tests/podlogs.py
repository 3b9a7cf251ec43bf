"""A node that keeps the logs of containers as kubelets do, and fails as they do: for tests of their copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from clusterobjects import LABELS, NAME, running, terminated
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.kubeflow import PYTORCH
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.replies import ApiFault, Missing
from odin.executors.kubernetes.sights import Over, Runs
from odin.model.ids import AttemptId
from odin.model.reports import Reason

PIECE = 1000


@dataclass
class Log:
    """``text`` is what the node has of it now; ``faults`` come one for each reading, after so many bytes of it.

    A fault of None ends the answer as if it were whole, as API servers do whose node went away.
    """

    text: bytes = b""
    is_over: bool = False
    faults: list[tuple[int, ApiFault | None]] = field(default_factory=list)
    readings: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, text: bytes) -> None:
        self.text += text
        self._tell()

    def rotate(self, keep: int = 0) -> None:
        """All but the last bytes are gone."""
        self.text = self.text[len(self.text) - keep :]
        self._tell()

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()


class Node:
    """``Cluster.log`` over logs by pod, container and whether they are of the run before."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, str, bool], Log | ApiFault] = {}
        self.there: set[str] = set()
        self.open = 0  # answers that are being given

    def add(self, pod: str = NAME, container: str = "task", *, previous: bool = False, text: bytes = b"") -> Log:
        made = self.logs[pod, container, previous] = Log(text)
        return made

    async def log(
        self, pod: str, container: str, *, follow: bool = False, previous: bool = False
    ) -> AsyncGenerator[bytes]:
        found = self.logs[pod, container, previous]
        if isinstance(found, ApiFault):
            raise found
        found.readings += 1
        limit, fault = found.faults.pop(0) if found.faults else (None, None)
        self.open += 1
        try:
            async for piece in self._pieces(found, limit, follow=follow):
                yield piece
        finally:
            self.open -= 1
        if fault is not None:
            raise fault

    async def get(self, _api: Any, name: str) -> dict[str, Any]:
        """The pod, if it is among those that are still ``there``."""
        if name not in self.there:
            raise Missing(f'pods "{name}" not found', 404)
        return {"metadata": {"name": name, "uid": f"uid-{name}"}}

    async def _pieces(self, found: Log, limit: int | None, *, follow: bool) -> AsyncGenerator[bytes]:
        at = 0
        while True:
            grown = found.grown
            end = len(found.text) if limit is None else min(limit, len(found.text))
            while at < end:
                piece = bytes(found.text[at : min(end, at + PIECE)])
                at += len(piece)
                yield piece
                await asyncio.sleep(0)
            if at == limit or not follow or found.is_over:
                return
            await grown.wait()


def body(*pods: dict[str, Any], kind: str = "Pod") -> Body:
    """An attempt whose pods these are; of a Pod the first is the object itself."""
    top = pods[0] if kind == "Pod" else {"kind": kind, "metadata": {"name": NAME, "uid": "top"}}
    made = Body(AttemptId(NAME), kind={"Pod": POD, "Job": JOB}.get(kind, PYTORCH), object=top)
    if kind != "Pod":
        made.pods = {each["metadata"]["uid"]: each for each in pods}
    made.told = Runs(0.0)
    return made


def pod(
    name: str = NAME, *containers: str, labels: dict[str, str] | None = None, over: bool = False, restarts: int = 0
) -> dict[str, Any]:
    """One whose containers run, or are over."""
    names = containers or ("task",)
    state = terminated(0) if over else running()
    statuses = [{"name": each, "state": state, "restartCount": restarts} for each in names]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {**LABELS, **(labels or {})},
            "creationTimestamp": "2026-08-01T10:00:00Z",
        },
        "spec": {"containers": [{"name": each} for each in names], "nodeName": "n1"},
        "status": {"phase": "Succeeded" if over else "Running", "containerStatuses": statuses},
    }


def end(made: Body) -> None:
    """Everything of it is over."""
    for each in (*made.pods.values(), made.object):
        for status in (each.get("status") or {}).get("containerStatuses", ()):
            status["state"] = terminated(0)
    made.over = Over(0, Reason.EXIT)


async def until(condition: Callable[[], object]) -> None:
    """Wait for it, at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
