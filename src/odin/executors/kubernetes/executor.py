"""The ``Executor`` and ``Place`` of a cluster: a thread with an event loop, and a queue of reports out of it.

Source: architecture.md, "Kubernetes".
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from odin.executors.kubernetes import removal
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.driver import Driver
from odin.executors.kubernetes.keeper import Keeper
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.table import Served
from odin.executors.kubernetes.logcopies import LogCopies
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.replies import ApiFault, Unreachable
from odin.executors.protocol import Away, Capacity, Report, TaskLaunch
from odin.model.errors import NotFound, Unavailable
from odin.model.ids import AttemptId, PipelineId

RETRY_S = 1.0
PATIENCE_S = 10.0
log = logging.getLogger("odin.kubernetes")
T = TypeVar("T")


class KubernetesExecutor:
    """Runs attempts in a cluster. ``connect`` gives the cluster inside the thread's event loop.

    ``data`` holds the logs that are kept; ``outputs_path`` is where the outputs of an attempt go.
    """

    def __init__(
        self,
        connect: Callable[[], Cluster],
        manifests: Manifests,
        *,
        data: Path,
        outputs_path: Callable[[str], Path],
    ) -> None:
        self._connect = connect
        self._manifests = manifests
        self._data = data
        self._outputs_path = outputs_path
        self._reports: deque[Report] = deque()
        self._poke, self._poked = socket.socketpair()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="odin-kubernetes", daemon=True)
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._driver: Driver | None = None
        self._copies: LogCopies | None = None
        self._cluster: Cluster | None = None

    # The place

    def open(self) -> None:
        for end in (self._poke, self._poked):
            end.setblocking(False)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Stop watching. Pods run on."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._poke.close()
        self._poked.close()

    def fileno(self) -> int:
        return self._poked.fileno()

    def capacity(self) -> Capacity:
        return Capacity(None)

    # The executor

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        self._do(lambda driver: driver.launch(tasks))

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        self._do(lambda driver: driver.stop(attempt, kind=kind, grace_s=grace_s, message=message))

    def recall(self, attempts: Mapping[AttemptId, int]) -> None:
        wanted = dict(attempts)
        self._do(lambda driver: driver.recall(wanted))

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        ended = list(attempts)
        self._do(lambda driver: driver.acknowledge(ended))

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        gone = list(pipelines)
        self._do(lambda driver: driver.forget(gone))

    def reports(self) -> list[Report]:
        with suppress(BlockingIOError):
            self._poked.recv(1 << 12)
        taken = []
        while self._reports:
            taken.append(self._reports.popleft())
        return taken

    # For the api

    async def log_is_there(self, attempt: AttemptId) -> None:
        """Returns once what the attempt has written so far is (being) copied; whole if it is over.

        Called from any event loop. Raises NotFound if there is nothing, Unavailable.
        """
        await self.ask(self._log_is_there(attempt))

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of some work in the driver's event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def list(
        self, api: Api, *, selector: str = "", fields: str = "", everywhere: bool = False
    ) -> Sequence[Object]:
        """Objects of the cluster, asked for from any event loop. Raises ApiFault."""
        return await self.ask(self._list(api, selector, fields, everywhere))

    async def present(self, pipeline: PipelineId) -> set[str]:
        """The tasks of a pipeline that have objects. Raises Unavailable."""
        return await self.ask(self._on_objects(removal.present, pipeline))

    async def remove(self, pipeline: PipelineId) -> set[str]:
        """Remove all objects of a pipeline; the tasks that had some. Raises Conflict, Unavailable."""
        return await self.ask(self._on_objects(removal.remove, pipeline))

    async def _on_objects(self, do: removal.Do, pipeline: PipelineId) -> set[str]:
        if self._cluster is None:
            raise Unavailable("the cluster is not connected yet")
        return await do(self._cluster, self._manifests.removable, self._manifests.store, pipeline)

    async def _list(self, api: Api, selector: str, fields: str, everywhere: bool) -> Sequence[Object]:
        found = await self._connected().listed(api, selector=selector, fields=fields, everywhere=everywhere)
        return found[0]

    def _connected(self) -> Cluster:
        if self._cluster is None:
            raise Unreachable("the cluster is not connected yet")
        return self._cluster

    async def _log_is_there(self, attempt: AttemptId) -> None:
        body = self._driver.bodies.get(attempt) if self._driver is not None else None
        if body is None or self._copies is None or not body.uid:
            raise NotFound(f"{attempt} has no log")
        if not body.is_over:
            self._copies.follow(body)
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._copies.finish(body)
        except (TimeoutError, ApiFault) as error:
            raise Unavailable(f"the log of {attempt} cannot be read now: {error}") from error

    # The thread

    def _do(self, verb: Callable[[Driver], None]) -> None:
        self._loop.call_soon_threadsafe(self._act, verb)

    def _act(self, verb: Callable[[Driver], None]) -> None:
        """Before there is a driver nothing is away from the place: all is asked again after ``Back``."""
        if self._driver is not None:
            verb(self._driver)

    def _tell(self, report: Report) -> None:
        self._reports.append(report)
        with suppress(BlockingIOError):
            self._poke.send(b"1")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        self._ready.set()
        cluster = await self._reach()
        if cluster is None:
            return
        copies = LogCopies(cluster, self._data)
        keeper = Keeper(cluster, copies, self._outputs_path)
        driver = Driver(cluster, self._manifests, keeper, self._tell)
        keeping = asyncio.create_task(keeper.run())
        self._cluster, self._copies, self._driver = cluster, copies, driver
        driver.begin(self._manifests.apis)
        await self._stopping.wait()
        keeping.cancel()
        copies.close()
        await driver.end()
        await cluster.close()

    async def _reach(self) -> Cluster | None:
        """The cluster, once it has told what it serves; None if the server stops before."""
        told = ""
        while not self._stopping.is_set():
            cluster = self._connect()
            try:
                self._manifests.serve(Served(frozenset(await cluster.served()), await cluster.version()))
            except ApiFault as fault:
                await cluster.close()
                if str(fault) != told:
                    told = str(fault)
                    self._tell(Away(f"the cluster at {cluster.server} cannot be reached: {fault}"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await self._stopping.wait()
            else:
                return cluster
        return None
