"""The state machine of an attempt, and what people see of tasks and pipelines.

    planned ──▶ placed ──▶ running ──▶ ended
       │          │ ◀──────── │          ▲   (suspended, and queued again)
       └──────────┴───────────┴──────────┘

The attempt alone has a state. An attempt's number is spent when ``planned`` is committed; only a committed
``planned`` is ever launched. What people see is derived by ``Task.status`` and ``Pipeline`` in ``odin.model.world``.
Source: architecture.md, "States".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from odin.model.errors import IllegalMove


class AttemptState(StrEnum):
    PLANNED = "planned"  # committed, not known to have begun
    PLACED = "placed"  # taken by its place, not running yet
    RUNNING = "running"
    ENDED = "ended"  # proven over; final


class Move(StrEnum):
    PLACE = "place"
    START = "start"
    SUSPEND = "suspend"
    END = "end"


MOVES: Mapping[tuple[AttemptState, Move], AttemptState] = {
    (AttemptState.PLANNED, Move.PLACE): AttemptState.PLACED,
    # A local process starts at once: nothing lies between planned and running.
    (AttemptState.PLANNED, Move.START): AttemptState.RUNNING,
    (AttemptState.PLACED, Move.START): AttemptState.RUNNING,
    # It gave its place up and will be started again by whoever queues it.
    (AttemptState.RUNNING, Move.SUSPEND): AttemptState.PLACED,
    # Refused, void, or ended while nobody looked.
    (AttemptState.PLANNED, Move.END): AttemptState.ENDED,
    (AttemptState.PLACED, Move.END): AttemptState.ENDED,
    (AttemptState.RUNNING, Move.END): AttemptState.ENDED,
}


def move(state: AttemptState, event: Move) -> AttemptState:
    """The state after ``event``; raises IllegalMove where the table has no row."""
    after = MOVES.get((state, event))
    if after is None:
        raise IllegalMove(f"an attempt that is {state} cannot {event}")
    return after


class Stop(StrEnum):
    """Why an attempt or a pipeline must stop: a durable flag, carried out until the end is proven."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    CLEANUP = "cleanup"


class TaskStatus(StrEnum):
    WAITING = "waiting"  # a parent is not done, or a retry is not due
    QUEUED = "queued"  # all parents done, not running yet
    EXECUTING = "executing"  # running; or stopping, until the end is proven
    EXECUTED = "executed"
    FAILED = "failed"
    SKIPPED = "skipped"
    TERMINATED = "terminated"


FINAL = frozenset({TaskStatus.EXECUTED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.TERMINATED})


class PipelineStatus(StrEnum):
    BUILDING = "BUILDING"  # its checkout does not stand yet
    RUNNING = "RUNNING"
    DONE = "DONE"
    TERMINATED = "TERMINATED"


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
