"""What the world tells of attempts: facts that an executor has seen, never guesses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from odin.model.ids import AttemptId, PipelineId


class Reason(StrEnum):
    """Why an attempt ended. ``exit`` with code 0 is the only success."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    STOPPED = "stopped"  # a cancel or cleanup, carried out
    NOT_STARTED = "not-started"  # the command could not be executed: 126 or 127
    REFUSED = "refused"  # the place refused the attempt; ``message`` has its words
    LOST = "lost"  # it may have run and its end cannot be known
    VOID = "void"  # stopped before it ever started
    OOM = "oom"  # killed because it used more memory than it may
    EVICTED = "evicted"  # its node had no room for it
    PREEMPTED = "preempted"  # it gave way to something more important
    NODE_LOST = "node-lost"  # its node is gone, or shut down
    DELETED = "deleted"  # somebody removed it
    IMAGE = "image"  # its image could not be pulled
    UNPLACED = "unplaced"  # what it names is missing, so that it could not start


@dataclass(frozen=True, slots=True)
class Placed:
    """The place has taken the attempt and will start it (a pod that exists, say)."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True)
class Held:
    """The attempt exists and something keeps it; ``why`` is one sentence for people, empty when nothing does.

    ``runs`` tells that it runs all the same (its node cannot be reached). One that ran and does no more was
    suspended, and will run again.
    """

    attempt: AttemptId
    why: str
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The attempt runs. ``at`` is POSIX seconds, ``node`` the machine, or machines, ``cards`` the GPUs that it has."""

    attempt: AttemptId
    at: float
    pid: int | None = None
    node: str | None = None
    cards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over, proven. Times are POSIX seconds, ``started_at`` None if it never ran.

    ``code`` is the exit code (128 + n for signal n), None where none exists or can be known. ``message`` is one
    sentence for people where there is more to say than the code. ``rss_kb`` is the peak of the main process.
    """

    attempt: AttemptId
    code: int | None
    reason: Reason
    ended_at: float
    message: str = ""
    started_at: float | None = None
    cpu_s: float | None = None
    rss_kb: int | None = None
    log_bytes: int | None = None
    node: str | None = None


class Recall(NamedTuple):
    """What is asked of an attempt: its pipeline's fence, and the ``resource_type`` that it would be of.

    ``planned_at`` is when it was planned, in POSIX seconds by the engine's clock.
    """

    fence: int
    kind: str
    planned_at: float | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """An answer to a recall: never started, and fenced from starting under an older fence.

    ``fence`` is that of the recall where the place says it: an answer to one before a takeover tells nothing.
    """

    attempt: AttemptId
    fence: int | None = None


@dataclass(frozen=True, slots=True)
class Outdated:
    """The pipeline of the attempt was driven under this higher fence. What is asked under a lower one is not done."""

    attempt: AttemptId
    fence: int


@dataclass(frozen=True, slots=True)
class Away:
    """The place cannot be reached; ``message`` says why. Nothing is known of its attempts until ``Back``."""

    message: str


@dataclass(frozen=True, slots=True)
class Back:
    """The place is reached (again): what was handed over before may be lost, so every open attempt is recalled.

    ``pipelines`` are those that the place still keeps something of.
    """

    pipelines: tuple[PipelineId, ...] = ()


Report = Placed | Held | Started | Ended | Absent | Outdated | Away | Back
