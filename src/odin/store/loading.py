"""Reads pipelines in flight back into the engine's memory: after a start, and when rows moved without it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, select

from odin.model.ids import JobPath, PipelineId, Sha
from odin.model.job import load_task
from odin.model.reports import Reason
from odin.model.states import FINAL, AttemptState, Outcome, PipelineStatus, Stop, TaskStatus
from odin.model.world import Attempt, Pipeline, Task, graph_of, restored
from odin.store.schema import attempts, pipelines, rendered, tasks

AT_ONCE = 250  # pipelines read by one statement
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
    return next(load_all(connection, [identity], owner), None)


def load_all(connection: Connection, ids: Sequence[PipelineId], owner: str | None = None) -> Iterator[Pipeline]:
    """Those of the ids that are in flight, and ``owner``'s if one is given, in their order."""
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        mine = [row for row in _rows(connection, pipelines.c.id, some, pipelines.c.number) if row.status in IN_FLIGHT]
        rows = {row.id: row for row in mine if owner in (None, row.owner)}
        yield from _loaded(connection, [rows[identity] for identity in some if identity in rows])


def _loaded(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Pipeline]:
    """By one statement for each table: one for each pipeline would make a start with many of them slow."""
    ids = [row.id for row in rows]
    of = _grouped(_rows(connection, tasks.c.pipeline, ids, tasks.c.idx))
    still_open = attempts.c.state != AttemptState.ENDED.value
    begun = _grouped(_rows(connection, attempts.c.pipeline, ids, attempts.c.idx, still_open))
    own_work = set(connection.execute(select(rendered.c.pipeline).where(rendered.c.pipeline.in_(ids))).scalars())
    for row in rows:
        yield _restored(row, of[row.id], begun[row.id], own_work=row.id in own_work)


def _rows(
    connection: Connection, key: Column[str], ids: Sequence[str], order: Column[int], *where: ColumnElement[bool]
) -> Sequence[Row[Any]]:
    wanted = select(key.table).where(key.in_(ids), *where).order_by(order)
    return connection.execute(wanted).all()


def _grouped(rows: Sequence[Row[Any]]) -> defaultdict[str, list[Row[Any]]]:
    groups = defaultdict[str, list[Row[Any]]](list)
    for row in rows:
        groups[row.pipeline].append(row)
    return groups


def _restored(row: Row[Any], of: Sequence[Row[Any]], begun: Sequence[Row[Any]], *, own_work: bool) -> Pipeline:
    specs = [load_task(task.spec) for task in of]
    unmet, children = graph_of(specs)
    found = [_task(task, spec, unmet[task.idx]) for task, spec in zip(of, specs, strict=True)]
    for attempt in begun:
        found[attempt.idx].attempt = _attempt(attempt)
    pipeline = _pipeline(row, found, children)
    pipeline.own_work = own_work
    return restored(pipeline)


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
