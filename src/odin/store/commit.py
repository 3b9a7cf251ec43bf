"""Writes what a turn of the engine changed: one transaction, one statement for each table whatever the batch.

The first statement moves each pipeline's ``seq`` from what the engine saw to what it made, under its fence. A
pipeline that does not come back from it belongs to somebody else or has moved; its changes are left out. So ``seq``
is at once the fence check, the key of a commit whose outcome was lost, and the id of an event.
Source: architecture.md, "The loop".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from odin.model.ids import PipelineId
from odin.model.job import dump_task
from odin.model.world import Attempt, Changes, Pipeline, Submission, Task, fresh
from odin.store import idempotency as kept
from odin.store.batches import Batch
from odin.store.idempotency import Answer, Idempotency
from odin.store.schema import attempts, events, pipelines, rendered, tasks, tombstones

Promise = tuple[Idempotency, Answer]


class Driver(NamedTuple):
    """Which server drives a pipeline, and what it must reach for that; see ``odin.store.leases``."""

    owner: str | None
    place: str | None


ALONE = Driver(None, None)

_NEW_PIPELINE = (
    "id", "name", "job", "version", "username", "user_uid", "context", "status", "warnings", "on_failure", "timeout_s",
    "submitted_at", "rerun_of", "task_count", "fence", "seq", "owner", "place",
)  # fmt: skip
_NEW_TASK = ("pipeline", "idx", "name", "spec", "status", "attempt", "origin")
_RENDERED = ("pipeline", "path", "content")
_MOVED_PIPELINE = ("seq", "status", "outcome", "error_message", "completed_at", "stop", "stop_message")
_MOVED_TASK = (
    "status", "reason", "attempt", "exit_code", "submitted_at", "started_at", "completed_at", "due_at", "spent",
)  # fmt: skip
_ATTEMPT = (
    "state", "stop", "cards", "planned_at", "started_at", "ended_at", "exit_code", "reason", "message", "cpu_s",
    "rss_kb", "log_bytes", "node", "memory_bytes",
)  # fmt: skip
_EVENT = ("pipeline", "seq", "at", "type", "idx", "attempt", "message")


class Statements:
    """What a commit runs, in the words of one dialect. The rows have the columns in the order given here."""

    def __init__(self, dialect: str) -> None:
        self.batch = batch = Batch(dialect)
        became = ", ".join(f"{name} = excluded.{name}" for name in _ATTEMPT)
        self.insert_pipelines = batch.insert(pipelines, _NEW_PIPELINE) + " ON CONFLICT (id) DO NOTHING RETURNING id"
        self.insert_tasks = batch.insert(tasks, _NEW_TASK)
        self.insert_rendered = batch.insert(rendered, _RENDERED)
        self.tombstones = batch.select(tombstones, "id")
        self.update_pipelines = batch.update(pipelines, ("id", "fence", "seq"), _MOVED_PIPELINE) + " RETURNING id"
        self.update_tasks = batch.update(tasks, ("pipeline", "idx"), _MOVED_TASK)
        self.upsert_attempts = (
            batch.insert(attempts, ("pipeline", "idx", "number", *_ATTEMPT))
            + f" ON CONFLICT (pipeline, idx, number) DO UPDATE SET {became} WHERE attempts.state <> 'ended'"
        )
        self.insert_events = batch.insert(events, _EVENT)


_statements = lru_cache(Statements)


class _Writing:
    """Runs statements on the driver's own cursor: a call through SQLAlchemy costs 60 µs, on the path of every edge."""

    def __init__(self, cursor: DBAPICursor, statements: Statements) -> None:
        self._cursor = cursor
        self.statements = statements

    def run(self, statement: str, rows: Iterable[Any]) -> set[PipelineId]:
        """Run a statement over all rows at once; the ids that it returns, if it does."""
        batch = list(rows)
        if not batch:
            return set()
        self._cursor.execute(statement, (self.statements.batch.parameter(batch),))
        return {row[0] for row in self._cursor.fetchall()} if self._cursor.description else set()


def commit(
    connection: Connection,
    changes: Changes,
    promises: Mapping[PipelineId, Promise],
    *,
    now: float,
    driver: Driver = ALONE,
) -> set[PipelineId]:
    """Write a turn in the caller's transaction; returns the pipelines that were left out.

    A left-out pipeline was taken over by another server, its rows moved, its id was given before, or the request for
    it was answered before. ``promises`` are answers kept for submissions of this turn, which are ``driver``'s. Nothing
    of a left-out pipeline is written.
    """
    answered = {
        identity
        for identity, (request, answer) in promises.items()
        if not kept.keep(connection, request, answer, now=now)
    }
    if answered:
        changes = changes.without(answered)
    with closing(connection.connection.cursor()) as cursor:
        writing = _Writing(cursor, _statements(connection.dialect.name))
        lost = _insert_submitted(writing, changes.submitted, driver)
        lost |= _update_pipelines(writing, changes)
        if lost:
            changes = changes.without(lost)
        writing.run(writing.statements.update_tasks, (_task_row(*item) for item in changes.tasks.items()))
        writing.run(writing.statements.upsert_attempts, (_attempt_row(*item) for item in changes.attempts.items()))
        writing.run(writing.statements.insert_events, changes.events)
    for identity in lost & promises.keys():
        kept.drop(connection, promises[identity][0])
    return lost | answered


def _insert_submitted(writing: _Writing, submitted: Sequence[Submission], driver: Driver) -> set[PipelineId]:
    """New pipelines with ``seq`` 0, which the next statement moves like any other."""
    if not submitted:
        return set()
    run, known = writing.run, writing.statements
    gone = run(known.tombstones, ([each.id] for each in submitted))
    new = [each for each in submitted if each.id not in gone]
    made = run(known.insert_pipelines, ((*_submission_row(each), *driver) for each in new))
    run(known.insert_tasks, (row for each in new if each.id in made for row in _new_task_rows(each)))
    run(known.insert_rendered, ((each.id, *file) for each in new if each.id in made for file in each.rendered))
    return {each.id for each in submitted if each.id not in made}


def _update_pipelines(writing: _Writing, changes: Changes) -> set[PipelineId]:
    rows = (_pipeline_row(pipeline) for pipeline in changes.pipelines.values())
    moved = writing.run(writing.statements.update_pipelines, rows)
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
        yield each.id, task.idx, task.spec.name, dump_task(task.spec), task.status, 0, task.origin


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
        attempt.node,
        attempt.memory_bytes,
    )
