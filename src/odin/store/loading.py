"""Reads pipelines in flight back into the engine's memory: after a start, and when rows moved without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from odin.model.ids import JobPath, PipelineId, Sha
from odin.model.job import load_task
from odin.model.reports import Reason
from odin.model.states import FINAL, AttemptState, Outcome, PipelineStatus, Stop, TaskStatus
from odin.model.world import Attempt, Pipeline, Task, graph_of, restored
from odin.store.schema import attempts, pipelines, rendered, tasks

IN_FLIGHT = (PipelineStatus.BUILDING.value, PipelineStatus.RUNNING.value)


def in_flight(connection: Connection, owner: str | None = None) -> list[PipelineId]:
    """The pipelines that are not final, oldest first; with ``owner`` those that this server drives."""
    wanted = select(pipelines.c.id).where(pipelines.c.status.in_(IN_FLIGHT)).order_by(pipelines.c.number)
    if owner is not None:
        wanted = wanted.where(pipelines.c.owner == owner)
    return [PipelineId(identity) for identity in connection.execute(wanted).scalars()]


def running(connection: Connection, owner: str | None = None) -> dict[PipelineId, Sha]:
    """The pipelines (with ``owner`` this server's) whose folders stand, as far as the rows know, with their commits."""
    wanted = select(pipelines.c.id, pipelines.c.version).where(pipelines.c.status == PipelineStatus.RUNNING.value)
    if owner is not None:
        wanted = wanted.where(pipelines.c.owner == owner)
    return {PipelineId(row.id): Sha(row.version) for row in connection.execute(wanted)}


def final(connection: Connection, ids: Sequence[PipelineId]) -> list[PipelineId]:
    """Those of the ids that nothing is owed to any more: final, or not in this store."""
    wanted = select(pipelines.c.id).where(pipelines.c.id.in_(ids), pipelines.c.status.in_(IN_FLIGHT))
    open_ids = set(connection.execute(wanted).scalars())
    return [identity for identity in ids if identity not in open_ids]


def positions(connection: Connection, ids: Sequence[PipelineId]) -> dict[PipelineId, tuple[int, int]]:
    """Fence and ``seq`` of pipelines; those that are not there are left out."""
    wanted = select(pipelines.c.id, pipelines.c.fence, pipelines.c.seq).where(pipelines.c.id.in_(ids))
    return {PipelineId(row.id): (row.fence, row.seq) for row in connection.execute(wanted)}


def load(connection: Connection, identity: PipelineId, owner: str | None = None) -> Pipeline | None:
    """One pipeline in flight with its tasks and open attempts; None if it is final, gone, or not ``owner``'s."""
    row = connection.execute(select(pipelines).where(pipelines.c.id == identity)).one_or_none()
    if row is None or row.status not in IN_FLIGHT or owner not in (None, row.owner):
        return None
    of = connection.execute(select(tasks).where(tasks.c.pipeline == identity).order_by(tasks.c.idx)).all()
    specs = [load_task(task.spec) for task in of]
    unmet, children = graph_of(specs)
    found = [_task(task, spec, unmet[task.idx]) for task, spec in zip(of, specs, strict=True)]
    for attempt in _open_attempts(connection, identity):
        found[attempt.idx].attempt = _attempt(attempt)
    pipeline = _pipeline(row, found, children)
    pipeline.own_work = _has_rendered(connection, identity)
    return restored(pipeline)


def _has_rendered(connection: Connection, identity: PipelineId) -> bool:
    wanted = select(rendered.c.path).where(rendered.c.pipeline == identity).limit(1)
    return connection.execute(wanted).first() is not None


def _open_attempts(connection: Connection, identity: PipelineId) -> Sequence[Row[Any]]:
    wanted = select(attempts).where(attempts.c.pipeline == identity, attempts.c.state != AttemptState.ENDED.value)
    return connection.execute(wanted).all()


def _pipeline(row: Row[Any], found: list[Task], children: list[list[int]]) -> Pipeline:
    return Pipeline(
        PipelineId(row.id),
        JobPath(row.job),
        Sha(row.version),
        row.submitted_at,
        found,
        children,
        on_failure=row.on_failure,
        timeout_s=row.timeout_s,
        status=PipelineStatus(row.status),
        outcome=Outcome(row.outcome) if row.outcome else None,
        error_message=row.error_message,
        completed_at=row.completed_at,
        stop=Stop(row.stop) if row.stop else None,
        stop_message=row.stop_message,
        fence=row.fence,
        seq=row.seq,
        username=row.username,
        rerun_of=PipelineId(row.rerun_of) if row.rerun_of else None,
    )


def _task(row: Row[Any], spec: Any, unmet: int) -> Task:
    status = TaskStatus(row.status)
    return Task(
        row.idx,
        spec,
        unmet,
        verdict=status if status in FINAL else None,
        reason=row.reason,
        number=row.attempt,
        exit_code=row.exit_code,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        due_at=row.due_at,
        spent=json.loads(row.spent) if row.spent else None,
        origin=PipelineId(row.origin) if row.origin else None,
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        row.number,
        row.planned_at,
        state=AttemptState(row.state),
        cards=tuple(json.loads(row.cards or "[]")),
        stop=Stop(row.stop) if row.stop else None,
        started_at=row.started_at,
        reason=Reason(row.reason) if row.reason else None,
        message=row.message or "",
        node=row.node,
        memory_bytes=row.memory_bytes,
    )
