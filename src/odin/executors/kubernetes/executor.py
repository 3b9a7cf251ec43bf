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

from odin.executors.kubernetes import kueue, removal
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.driver import Driver
from odin.executors.kubernetes.happenings import Happenings, Keep
from odin.executors.kubernetes.insight import Insight
from odin.executors.kubernetes.keeper import Keeper
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.table import ROWS, Served
from odin.executors.kubernetes.logcopies import LogCopies
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.replies import ApiFault, Unreachable
from odin.executors.protocol import Away, Back, Capacity, Recall, Report, TaskLaunch
from odin.model.errors import Unavailable
from odin.model.ids import AttemptId, PipelineId

RETRY_S = 1.0
DISCOVERY_S = 180.0  # an operator that is installed meanwhile needs no restart
SOON_S = 5.0  # while a group does not tell what it has
PATIENCE_S = 10.0
UNCONNECTED = "the cluster is not connected yet"
GROUPS = frozenset(api.group for api in (*kueue.APIS, *(api for row in ROWS for api in (*row.apis, *row.needs))))
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
        keep: Keep,
    ) -> None:
        self._connect = connect
        self._manifests = manifests
        self._data = data
        self._outputs_path = outputs_path
        self._keep = keep
        self._reports: deque[Report] = deque()
        self._poke, self._poked = socket.socketpair()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="odin-kubernetes", daemon=True)
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._driver: Driver | None = None
        self._insight: Insight | None = None
        self._listed = asyncio.Event()  # what there is in the cluster
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

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
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

    async def consult(self, question: Callable[[Insight], Coroutine[Any, Any, T]]) -> T:
        """An answer about attempts, in any event loop; waits a while for the cluster to tell what there is.

        Raises what the question raises, Unavailable.
        """
        return await self.ask(self._consult(question))

    async def log(self, attempt: AttemptId, container: str | None) -> Path:
        """As ``Insight.log``."""
        return await self.consult(lambda insight: insight.log(attempt, container))

    async def on_cluster(self, question: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
        """What the cluster itself answers. Raises ApiFault."""

        async def asked() -> T:
            return await question(self._connected())

        return await self.ask(asked())

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of some work in the driver's event loop. Raises Unavailable before and after that runs."""
        if not self._ready.is_set():
            work.close()
            raise Unavailable(UNCONNECTED)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise Unavailable("the server is stopping") from error
        return await asyncio.wrap_future(future)

    async def listed(self, api: Api, *, fields: str = "", everywhere: bool = False) -> Sequence[Object]:
        """Objects of the cluster. Raises ApiFault."""
        return (await self.on_cluster(lambda cluster: cluster.listed(api, fields=fields, everywhere=everywhere)))[0]

    async def present(self, pipeline: PipelineId) -> set[str]:
        """The tasks of a pipeline that have objects. Raises Unavailable."""
        return await self.ask(self._on_objects(removal.present, pipeline))

    async def remove(self, pipeline: PipelineId) -> set[str]:
        """Remove all objects of a pipeline; the tasks that had some. Raises Conflict, Unavailable."""
        return await self.ask(self._remove(pipeline))

    async def _remove(self, pipeline: PipelineId) -> set[str]:
        if self._driver is not None:
            await self._driver.settle(pipeline)
        return await self._on_objects(removal.remove, pipeline)

    async def _on_objects(self, do: removal.Do, pipeline: PipelineId) -> set[str]:
        if self._cluster is None:
            raise Unavailable(UNCONNECTED)
        return await do(self._cluster, self._manifests.removable, self._manifests.store, pipeline)

    def _connected(self) -> Cluster:
        if self._cluster is None:
            raise Unreachable(UNCONNECTED)
        return self._cluster

    async def _consult(self, question: Callable[[Insight], Coroutine[Any, Any, T]]) -> T:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._listed.wait()
        if self._insight is None or not self._listed.is_set():
            raise Unavailable("the cluster has not been reached yet")
        return await question(self._insight)

    # The thread

    def _do(self, verb: Callable[[Driver], None]) -> None:
        self._loop.call_soon_threadsafe(self._act, verb)

    def _act(self, verb: Callable[[Driver], None]) -> None:
        """Before there is a driver nothing is away from the place: all is asked again after ``Back``."""
        if self._driver is not None:
            verb(self._driver)

    def _tell(self, report: Report) -> None:
        if isinstance(report, Back):
            self._listed.set()
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
        living = asyncio.create_task(self._work())
        living.add_done_callback(_heard)
        await self._stopping.wait()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        # What others asked for gets an end too.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _work(self) -> None:
        """Never returns but by being cancelled."""
        cluster = await self._reach()
        copies = LogCopies(cluster, self._data)
        keeper = Keeper(cluster, copies, self._outputs_path)
        driver = Driver(cluster, self._manifests, keeper, self._tell)
        self._cluster, self._driver = cluster, driver
        self._insight = Insight(driver.bodies, copies, self._data)
        copying = asyncio.create_task(copies.watch(driver.bodies))
        listening = asyncio.create_task(Happenings(cluster, driver.bodies, self._keep).run())
        try:
            while True:
                driver.follow(self._manifests.apis)
                for api in self._manifests.queues:
                    driver.follow_queues(api)
                await asyncio.sleep(SOON_S if self._manifests.served.silent else DISCOVERY_S)
                await self._discover(cluster)
        finally:
            copying.cancel()
            listening.cancel()
            await keeper.end()  # who finishes copies, before these
            await copies.close()
            await driver.end()
            await cluster.close()

    async def _reach(self) -> Cluster:
        """The cluster, once it has told what it serves."""
        told = ""
        while True:
            cluster = self._connect()
            fault = await self._discover(cluster)
            if fault is None:
                return cluster
            await cluster.close()
            if fault != told:
                told = fault
                self._tell(Away(f"the cluster at {cluster.server} cannot be reached: {fault}"))
            await asyncio.sleep(RETRY_S)

    async def _discover(self, cluster: Cluster) -> str | None:
        """Read what the cluster serves now; why not, if that fails. What is known stays then."""
        try:
            resources, silent = await cluster.served(GROUPS)
            self._manifests.serve(Served(frozenset(resources), await cluster.version(), silent))
        except ApiFault as fault:
            return str(fault)
        except Exception as error:  # border: chore
            log.exception("what the cluster serves cannot be read")
            return f"it answers what no API server does ({type(error).__name__})"
        return None


def _heard(living: asyncio.Task[None]) -> None:
    if not living.cancelled() and (error := living.exception()) is not None:
        log.critical("the cluster is not looked after any more; restart the server", exc_info=error)
