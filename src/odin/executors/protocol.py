"""What the engine asks of a place where tasks run, and what comes back.

The engine is a thread, so nothing here is a coroutine and nothing may block: a verb hands its work over and what
becomes of it comes back as a report. Every verb may be repeated. Source: architecture.md, "Executors".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from odin.model.errors import NotFound
from odin.model.happenings import Happening
from odin.model.ids import AttemptId, JobPath, PipelineId, Sha
from odin.model.job import TaskSpec
from odin.model.names import shown
from odin.model.reports import Absent, Away, Back, Ended, Held, Outdated, Placed, Reason, Recall, Report, Started

__all__ = [
    "Absent",
    "Away",
    "Back",
    "Capacity",
    "Ended",
    "Executor",
    "Held",
    "Logs",
    "Machines",
    "Nodes",
    "Origin",
    "Outdated",
    "Place",
    "Placed",
    "Reason",
    "Recall",
    "Report",
    "Started",
    "TaskLaunch",
]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose attempt it is. ``number`` counts from 1; ``own_work``: the job's files were rendered for this pipeline."""

    pipeline: PipelineId
    task: str
    number: int
    job: JobPath
    version: Sha
    user: str
    own_work: bool = False


@dataclass(frozen=True, slots=True)
class TaskLaunch:
    """One attempt, ready to start.

    ``spec`` is the task with its variables expanded; a machine needs little of it, a cluster all.

    ``argv`` has at least one item and never passes through a shell. ``env`` is what Odin and the task add; the
    executor puts it over its own allow list. ``cards`` are the GPUs given to the attempt, by index.
    ``work`` is the folder the process starts in and ``make`` the folders that must exist before. ``timeout_s``
    counts from the start; ``grace_s`` lies between TERM and KILL. ``fence`` grows with each owner of the pipeline.
    """

    attempt: AttemptId
    fence: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    work: str
    make: tuple[str, ...]
    timeout_s: float | None
    grace_s: float
    spec: TaskSpec
    origin: Origin
    cards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a place can run at once: thousandths of CPUs, GPU indexes. None stands for no limit known here."""

    cpu_m: int | None
    cards: tuple[str, ...] = ()


class Executor(Protocol):
    """Starts and stops attempts. Called from the engine's thread alone; never blocks, may be repeated.

    What is asked under a lower fence than the pipeline's highest is not done, and may be answered with Outdated.
    """

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        """Start attempts; one already known is not started again, its reports are repeated."""

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        """TERM, grace, KILL of all that belongs to the attempt; an attempt that never started becomes void.

        ``kind`` is the task's ``resource_type``.
        """

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        """Ask what became of attempts, raising their fence to that given.

        Answers come as reports: Absent, Started, or Ended (``Reason.LOST`` when it may have started, is over and
        its code cannot be known), or Held while nothing can be known. Only what is Absent may be launched.
        """

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        """The ends of these are committed: do not report them again. They are still kept."""

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        """These are final and acknowledged: nothing of them need be kept (logs stay)."""

    def reports(self) -> list[Report]:
        """What has come since the last call, in order; an empty list if nothing."""


class Place(Protocol):
    """The connection behind an executor."""

    def open(self) -> None:
        """Begin to connect, starting what must be started; ``Back`` follows as a report."""

    def close(self) -> None:
        """Let go of the place. Tasks run on."""

    def fileno(self) -> int:
        """Readable when ``reports`` may have something. Never changes between open and close."""

    def capacity(self) -> Capacity: ...


class Logs(Protocol):
    """Reads what an attempt wrote. Called from the event loop."""

    def of(self, container: str | None) -> Logs:
        """The logs of the container of that name alone; all of it with None, and where there are none."""

    async def read(self, attempt: AttemptId, *, offset: int, limit: int) -> tuple[bytes, int]:
        """Up to ``limit`` bytes from ``offset`` (negative: from the end), and the size of the whole.

        Raises NotFound when the attempt has no log.
        """


class Objects(Protocol):
    """What a pipeline leaves in a place beside its files: pods, say. Blocks; called from threads of their own."""

    def present(self, pipeline: PipelineId) -> Collection[str]:
        """The ids of the tasks that have some. Raises Unavailable."""

    def remove(self, pipeline: PipelineId) -> Collection[str]:
        """Remove all of them and wait until they are gone; may be repeated.

        The ids of the tasks that had some. Raises Conflict naming what stays, Unavailable.
        """


class Resources(Protocol):
    """What a place tells beside tasks and their logs. Called from the event loop.

    Others than Odin's own objects are called ``kind/name``; those that no setting lists are not there.
    """

    async def facts(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, Mapping[str, Any]]:
        """What it knows of attempts, or knew at last; those that it cannot tell of now are left out."""

    async def data(self, resource: str) -> Mapping[str, Any]:
        """Raises NotFound, Unavailable."""

    async def events(self, resource: str) -> Sequence[Happening]:
        """Oldest first. Raises NotFound, Unavailable."""

    async def log(self, resource: str, *, container: str | None, lines: int | None) -> bytes:
        """At most the last 10 MiB. Raises NotFound, NoContainer, Unavailable."""


class NoResources:
    """A place that has nothing more to tell."""

    async def facts(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, Mapping[str, Any]]:  # noqa: ARG002
        return {}

    async def data(self, resource: str) -> Mapping[str, Any]:
        raise _nothing(resource)

    async def events(self, resource: str) -> Sequence[Happening]:
        raise _nothing(resource)

    async def log(self, resource: str, *, container: str | None, lines: int | None) -> bytes:  # noqa: ARG002
        raise _nothing(resource)


def _nothing(resource: str) -> NotFound:
    return NotFound(f"there is no resource {shown(resource)}")


class NoObjects:
    """A place where nothing is left."""

    def present(self, pipeline: PipelineId) -> Collection[str]:  # noqa: ARG002
        return ()

    def remove(self, pipeline: PipelineId) -> Collection[str]:  # noqa: ARG002
        return ()


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines as ``GET /v1/nodes`` answers them (api.md); ``notice`` says what is missing of them and why."""

    nodes: Sequence[Mapping[str, Any]]
    notice: str = ""


class Nodes(Protocol):
    """Tells of the machines of a place and their GPUs. Answers within seconds, with old values if need be."""

    async def nodes(self) -> Machines: ...
