"""Writes what a turn of the engine changed: one transaction, one statement for each table whatever the batch.

The first statement moves each pipeline's ``seq`` from what the engine saw to what it made, under its fence. A
pipeline that does not come back from it belongs to somebody else or has moved; its changes are left out. So ``seq``
is at once the fence check, the key of a commit whose outcome was lost, and the id of an event.
Source: architecture.md, "The loop".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from odin.model.ids import PipelineId
from odin.model.job import dump_task
from odin.model.world import Attempt, Changes, Pipeline, Submission, Task, fresh
from odin.store import idempotency as kept
from odin.store.idempotency import Answer, Idempotency

Promise = tuple[Idempotency, Answer]

_encode = msgspec.json.Encoder().encode


def _values(count: int, first: int = 0) -> str:
    return ", ".join(f"value ->> {index}" for index in range(first, first + count))


_INSERT_PIPELINES = f"""
INSERT INTO pipelines (id, name, job, version, username, user_uid, context, status, warnings, on_failure, timeout_s,
 submitted_at, rerun_of, task_count, fence, seq)
SELECT {_values(16)} FROM json_each(?) WHERE true ON CONFLICT (id) DO NOTHING RETURNING id"""

_INSERT_TASKS = f"""
INSERT INTO tasks (pipeline, idx, name, spec, status, attempt)
SELECT {_values(5)}, 0 FROM json_each(?)"""

_INSERT_RENDERED = f"""
INSERT INTO rendered (pipeline, path, content)
SELECT {_values(3)} FROM json_each(?)"""

_TOMBSTONES = "SELECT id FROM tombstones WHERE id IN (SELECT value FROM json_each(?))"

_UPDATE_PIPELINES = """
UPDATE pipelines SET seq = j.value ->> 3, status = j.value ->> 4, outcome = j.value ->> 5,
 error_message = j.value ->> 6, completed_at = j.value ->> 7, stop = j.value ->> 8, stop_message = j.value ->> 9
FROM json_each(?) AS j
WHERE pipelines.id = j.value ->> 0 AND pipelines.fence = j.value ->> 1 AND pipelines.seq = j.value ->> 2
RETURNING id"""

_UPDATE_TASKS = """
UPDATE tasks SET status = j.value ->> 2, reason = j.value ->> 3, attempt = j.value ->> 4, exit_code = j.value ->> 5,
 submitted_at = j.value ->> 6, started_at = j.value ->> 7, completed_at = j.value ->> 8, due_at = j.value ->> 9,
 spent = j.value ->> 10
FROM json_each(?) AS j WHERE tasks.pipeline = j.value ->> 0 AND tasks.idx = j.value ->> 1"""

_ATTEMPT_COLUMNS = (
    "state, stop, cards, planned_at, started_at, ended_at, exit_code, reason, message, cpu_s, rss_kb, log_bytes"
)
_UPSERT_ATTEMPTS = f"""
INSERT INTO attempts (pipeline, idx, number, {_ATTEMPT_COLUMNS})
SELECT {_values(15)} FROM json_each(?) WHERE true
ON CONFLICT (pipeline, idx, number) DO UPDATE SET
{", ".join(f"{name.strip()} = excluded.{name.strip()}" for name in _ATTEMPT_COLUMNS.split(","))}
WHERE attempts.state <> 'ended'"""

_INSERT_EVENTS = f"""
INSERT INTO events (pipeline, seq, at, type, idx, attempt, message)
SELECT {_values(7)} FROM json_each(?)"""


def commit(
    connection: Connection, changes: Changes, promises: Sequence[Promise] = (), *, now: float
) -> set[PipelineId]:
    """Write a turn in the caller's transaction; returns the pipelines that were left out.

    A left-out pipeline was taken over by another server, its rows moved, or its id was given before. ``promises``
    are answers kept for submissions of this turn. Nothing of a left-out pipeline is written.
    """
    # On the driver's own cursor: a call through SQLAlchemy costs 60 µs, and this is the path of every edge.
    with closing(connection.connection.cursor()) as cursor:
        lost = _insert_submitted(cursor, changes.submitted)
        lost |= _update_pipelines(cursor, changes)
        if lost:
            changes = changes.without(lost)
        _run(cursor, _UPDATE_TASKS, (_task_row(*item) for item in changes.tasks.items()))
        _run(cursor, _UPSERT_ATTEMPTS, (_attempt_row(*item) for item in changes.attempts.items()))
        _run(cursor, _INSERT_EVENTS, changes.events)
    for request, answer in promises:
        kept.keep(connection, request, answer, now=now)
    return lost


def _run(cursor: DBAPICursor, statement: str, rows: Iterable[object]) -> list[PipelineId]:
    """Run a statement over all rows at once; the ids that it returns, if it does."""
    batch = list(rows)
    if not batch:
        return []
    cursor.execute(statement, (_encode(batch).decode(),))
    return [row[0] for row in cursor.fetchall()] if cursor.description else []


def _insert_submitted(cursor: DBAPICursor, submitted: Sequence[Submission]) -> set[PipelineId]:
    """New pipelines with ``seq`` 0, which the next statement moves like any other."""
    if not submitted:
        return set()
    gone = set(_run(cursor, _TOMBSTONES, (each.id for each in submitted)))
    new = [each for each in submitted if each.id not in gone]
    made = set(_run(cursor, _INSERT_PIPELINES, (_submission_row(each) for each in new)))
    _run(cursor, _INSERT_TASKS, (row for each in new if each.id in made for row in _new_task_rows(each)))
    _run(cursor, _INSERT_RENDERED, ((each.id, *file) for each in new if each.id in made for file in each.rendered))
    return {each.id for each in submitted if each.id not in made}


def _update_pipelines(cursor: DBAPICursor, changes: Changes) -> set[PipelineId]:
    rows = (_pipeline_row(pipeline) for pipeline in changes.pipelines.values())
    moved = set(_run(cursor, _UPDATE_PIPELINES, rows))
    return {identity for identity in changes.pipelines if identity not in moved}


def _submission_row(each: Submission) -> tuple[object, ...]:
    return (
        each.id,
        each.name,
        each.job,
        each.version,
        each.username,
        each.user_uid,
        each.context,
        "RUNNING" if each.built else "BUILDING",
        json.dumps(each.warnings),
        each.on_failure,
        each.timeout_s,
        each.submitted_at,
        each.rerun_of,
        len(each.tasks),
        1,
        0,
    )


def _new_task_rows(each: Submission) -> Iterable[tuple[object, ...]]:
    for task in fresh(each).tasks:
        yield each.id, task.idx, task.spec.name, dump_task(task.spec), task.status


def _pipeline_row(pipeline: Pipeline) -> tuple[object, ...]:
    return (
        pipeline.id,
        pipeline.fence,
        pipeline.saved_seq,
        pipeline.seq,
        pipeline.status,
        pipeline.outcome,
        pipeline.error_message,
        pipeline.completed_at,
        pipeline.stop,
        pipeline.stop_message,
    )


def _task_row(key: tuple[PipelineId, int], task: Task) -> tuple[object, ...]:
    return (
        *key,
        task.status,
        task.reason,
        task.number,
        task.exit_code,
        task.submitted_at,
        task.started_at,
        task.completed_at,
        task.due_at,
        json.dumps(task.spent) if task.spent else None,
    )


def _attempt_row(key: tuple[PipelineId, int, int], attempt: Attempt) -> tuple[object, ...]:
    return (
        *key,
        attempt.state,
        attempt.stop,
        json.dumps(attempt.cards) if attempt.cards else None,
        attempt.planned_at,
        attempt.started_at,
        attempt.ended_at,
        attempt.exit_code,
        attempt.reason,
        attempt.message or None,
        attempt.cpu_s,
        attempt.rss_kb,
        attempt.log_bytes,
    )
