"""What can be read of pipelines, tasks and their history. Every page is found by a key, never by an offset."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Text, and_, bindparam, func, select

from odin.model.happenings import Happening
from odin.model.ids import PipelineId, split_resource, task_id
from odin.model.job import TaskSpec, load_task
from odin.store import idempotency as kept
from odin.store.database import Database
from odin.store.functions import GIVEN, GIVEN_NAME, GIVEN_NUMBER, Position, given
from odin.store.idempotency import Answer, Idempotency
from odin.store.schema import attempts, cluster_events, events, pipelines, rendered, tasks, tombstones

Head = Row[int, str, int]
PAGE = 100
LARGEST_PAGE = 500
EVENTS_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task; moments are POSIX seconds, ``attempt`` is 0 before the first.

    ``origin``: the pipeline that it ran in, where this one resumes another and does not run it.
    """

    id: str
    idx: int
    name: str
    spec: TaskSpec
    status: str
    reason: str | None
    attempt: int
    exit_code: int | None
    submitted_at: float | None
    started_at: float | None
    completed_at: float | None
    due_at: float | None
    origin: str | None


@dataclass(frozen=True, slots=True)
class PipelineView:
    """One pipeline with its tasks in the file's order; ``number`` grows with each submission."""

    number: int
    id: str
    name: str
    job: str
    version: str
    username: str
    user_uid: int
    context: dict[str, Any]
    status: str
    outcome: str | None
    error_message: str | None
    warnings: tuple[str, ...]
    submitted_at: float
    completed_at: float | None
    stop: str | None
    deleting: dict[str, bool] | None
    rerun_of: str | None
    seq: int
    tasks: tuple[TaskView, ...]


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt; ``rss_kb`` is the peak memory of its main process."""

    number: int
    state: str
    stop: str | None
    cards: tuple[str, ...]
    planned_at: float
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    reason: str | None
    message: str | None
    cpu_s: float | None
    rss_kb: int | None
    log_bytes: int | None
    node: str | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One entry of a pipeline's history; ``idx`` is the task's, None for the pipeline's own."""

    seq: int
    at: float
    type: str
    idx: int | None
    attempt: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is: its status, and the number and state of each attempt, oldest first."""

    id: str
    idx: int
    status: str
    attempts: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pipelines a list holds. ``query`` is part of an id; ``before`` the number to go on below."""

    query: str = ""
    status: str | None = None
    outcome: str | None = None
    job: str | None = None
    user: str | None = None
    before: int | None = None


class Queries:
    """Reads through snapshots; may be used from any thread. ``now`` is the clock of answers that are kept for a day."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._database.reader() as connection:
            yield connection

    def pipeline(self, pipeline: str) -> PipelineView | None:
        """One pipeline by its id, None if there is none."""
        with self.snapshot() as connection:
            return _with_tasks(connection, [pipeline]).get(pipeline)

    def pipelines(self, wanted: Filter = Filter(), *, limit: int = PAGE) -> tuple[list[PipelineView], int | None]:
        """A page, newest first, and the ``before`` of the next page (None on the last). ``limit`` is at most 500."""
        with self.snapshot() as connection:
            heads, following = page(connection, wanted, limit)
            found = _with_tasks(connection, [head.id for head in heads])
            return [found[head.id] for head in heads], following

    def task(self, resource: str) -> tuple[PipelineView, TaskView, list[AttemptView]] | None:
        """A task by its id, or by an attempt's, with all its attempts, oldest first."""
        pipeline, name, _ = split_resource(resource)
        found = self.pipeline(pipeline)
        task = next((task for task in found.tasks if task.name == name), None) if found else None
        if found is None or task is None:
            return None
        with self.snapshot() as connection:
            rows = connection.execute(
                select(attempts)
                .where(attempts.c.pipeline == pipeline, attempts.c.idx == task.idx)
                .order_by(attempts.c.number)
            ).all()
        return found, task, [_attempt(row) for row in rows]

    def attempts(self, pipeline: str) -> dict[int, list[AttemptView]]:
        """All attempts of a pipeline by the idx of their task, oldest first."""
        found: dict[int, list[AttemptView]] = {}
        with self.snapshot() as connection:
            wanted = select(attempts).where(attempts.c.pipeline == pipeline).order_by(attempts.c.idx, attempts.c.number)
            for row in connection.execute(wanted).all():
                found.setdefault(row.idx, []).append(_attempt(row))
        return found

    def reruns(self, pipeline: str) -> list[str]:
        """The pipelines that run this one again, or resume it, oldest first."""
        wanted = select(pipelines.c.id).where(pipelines.c.rerun_of == pipeline).order_by(pipelines.c.number)
        with self.snapshot() as connection:
            return list(connection.execute(wanted).scalars())

    def positions(self, ids: Collection[str]) -> dict[str, int]:
        """How far the histories of these pipelines go; those that are not there are left out."""
        with self.snapshot() as connection:
            return {head.id: head.seq for head in heads(connection, ids)}

    def progress(self, pipeline: str, wanted: Collection[int] | str) -> dict[int, Progress]:
        """How far tasks are, by their idx; ``wanted`` are such, or the name of one task."""
        with self.snapshot() as connection:
            if isinstance(wanted, str):
                rows = connection.execute(_PROGRESS_OF_NAME, {"of": pipeline, "named": wanted}).all()
            else:
                rows = connection.execute(_PROGRESS, given((pipeline, idx) for idx in wanted)).all()
        found: dict[int, Progress] = {}
        for idx, tried in groupby(rows, key=lambda row: row.idx):
            first, *others = tried
            states = tuple((row.number, row.state) for row in (first, *others) if row.number is not None)
            found[idx] = Progress(task_id(PipelineId(pipeline), first.name), idx, first.status, states)
        return found

    def events(
        self, pipeline: str, *, after_seq: int = 0, idx: int | None = None, limit: int = EVENTS_PAGE
    ) -> list[EventRow]:
        """The history after a position, oldest first; with ``idx`` that of one task."""
        wanted = select(events).where(events.c.pipeline == pipeline, events.c.seq > after_seq)
        if idx is not None:
            wanted = wanted.where(events.c.idx == idx)
        with self.snapshot() as connection:
            rows = connection.execute(wanted.order_by(events.c.seq).limit(limit)).all()
        return [EventRow(row.seq, row.at, row.type, row.idx, row.attempt, row.message) for row in rows]

    def happenings(
        self, pipeline: str, *, idx: int | None = None, limit: int = EVENTS_PAGE
    ) -> list[tuple[int, int, Happening]]:
        """The newest events of a cluster, oldest first: the task's idx, the attempt's number, and the event."""
        wanted = select(cluster_events).where(cluster_events.c.pipeline == pipeline)
        if idx is not None:
            wanted = wanted.where(cluster_events.c.idx == idx)
        with self.snapshot() as connection:
            rows = connection.execute(wanted.order_by(cluster_events.c.at.desc()).limit(limit)).all()
        return [(row.idx, row.attempt, _happening(row)) for row in reversed(rows)]

    def rendered(self, pipeline: str) -> dict[str, str]:
        """What the templates of a pipeline's job became: texts by their path in the job, 1 MiB at most."""
        wanted = select(rendered.c.path, rendered.c.content).where(rendered.c.pipeline == pipeline)
        with self.snapshot() as connection:
            rows = connection.execute(wanted.order_by(rendered.c.path)).all()
        return {row.path: row.content for row in rows}

    def nearest(self, pipeline: str, *, count: int = 3) -> list[str]:
        """Ids that look like this one: of the newest pipelines of the same name, else of the newest of all.

        For the name of a job, its newest pipelines; they also stand in where none of the same name looks like it.
        """
        name = pipeline.rpartition("-")[0] or pipeline
        newest = select(pipelines.c.id).order_by(pipelines.c.number.desc()).limit(1000)
        with self.snapshot() as connection:
            of_job = newest.where((pipelines.c.name == pipeline) | (pipelines.c.job == pipeline)).limit(count)
            if meant := connection.execute(of_job).scalars().all():
                return list(meant)
            same = connection.execute(newest.where(pipelines.c.name == name)).scalars().all()
            ids = same or connection.execute(newest).scalars().all()
        return difflib.get_close_matches(pipeline, ids, n=count, cutoff=0.6) or list(same[:count])

    def alive(self) -> None:
        """Ask the store something small; raises what keeps it from answering."""
        with self.snapshot() as connection:
            connection.execute(select(1)).scalar_one()

    def known_ids(self) -> set[str]:
        """Every id that was ever given, to pipelines that are there and those that are gone."""
        with self.snapshot() as connection:
            here = connection.execute(select(pipelines.c.id)).scalars()
            return {*here, *connection.execute(select(tombstones.c.id)).scalars()}

    def uses(self, version: str) -> int:
        """How many pipelines run, or ran, at a commit."""
        with self.snapshot() as connection:
            counted = select(func.count()).select_from(pipelines).where(pipelines.c.version == version)
            return int(connection.execute(counted).scalar_one())

    def counts(self) -> dict[str, int]:
        """How many pipelines there are in each status."""
        with self.snapshot() as connection:
            rows = connection.execute(select(pipelines.c.status, func.count()).group_by(pipelines.c.status)).all()
        return {str(status): int(count) for status, count in rows}

    def idempotent(self, request: Idempotency) -> Answer | None:
        """The answer that this request got before; see ``odin.store.idempotency``."""
        with self.snapshot() as connection:
            return kept.recalled(connection, request, now=self._now())

    def remember(self, request: Idempotency, answer: Answer) -> None:
        """Keep an answer for a day."""
        self._database.write(lambda connection: kept.keep(connection, request, answer, now=self._now()))


# Statements that are built once: to build one for each reading costs twice what it takes to run it.
_HEAD = pipelines.c.number, pipelines.c.id, pipelines.c.seq
_HEADS = select(*_HEAD).join(GIVEN, pipelines.c.id == GIVEN_NAME)
_ROWS = select(pipelines).join(GIVEN, pipelines.c.id == GIVEN_NAME)
_TASKS = select(tasks).join(GIVEN, tasks.c.pipeline == GIVEN_NAME).order_by(tasks.c.pipeline, tasks.c.idx)
_TRIED = (
    select(tasks.c.idx, tasks.c.name, tasks.c.status, attempts.c.number, attempts.c.state)
    .outerjoin(attempts, and_(attempts.c.pipeline == tasks.c.pipeline, attempts.c.idx == tasks.c.idx))
    .order_by(tasks.c.idx, attempts.c.number)
)
_PROGRESS = _TRIED.join(GIVEN, and_(tasks.c.pipeline == GIVEN_NAME, tasks.c.idx == GIVEN_NUMBER))
_PROGRESS_OF_NAME = _TRIED.where(tasks.c.pipeline == bindparam("of"), tasks.c.name == bindparam("named"))
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "query": Position(pipelines.c.id, bindparam("query", type_=Text)) > 0,
    "status": pipelines.c.status == bindparam("status"),
    "outcome": pipelines.c.outcome == bindparam("outcome"),
    "job": pipelines.c.job == bindparam("job"),
    "user": pipelines.c.username == bindparam("user"),
    "before": pipelines.c.number < bindparam("before"),
}


def heads(connection: Connection, ids: Iterable[str]) -> Sequence[Head]:
    """Number, id and ``seq`` of pipelines, in no order; those that are not there are left out."""
    return connection.execute(_HEADS, given((each,) for each in ids)).all()


def page(connection: Connection, wanted: Filter, limit: int) -> tuple[Sequence[Head], int | None]:
    """The same of a page, newest first, and the ``before`` of the next one."""
    limit = max(1, min(limit, LARGEST_PAGE))
    values = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    if not wanted.query:
        del values["query"]
    found = connection.execute(_pages(*values), values | {"most": limit + 1}).all()
    return found[:limit], found[limit - 1].number if len(found) > limit else None


@lru_cache
def _pages(*conditions: str) -> Select[int, str, int]:
    newest = select(*_HEAD).order_by(pipelines.c.number.desc()).limit(bindparam("most"))
    return newest.where(*(_CONDITIONS[name] for name in conditions))


def _with_tasks(connection: Connection, ids: Sequence[str]) -> dict[str, PipelineView]:
    found: dict[str, list[TaskView]] = {identity: [] for identity in ids}
    these = given((each,) for each in ids)
    for row in connection.execute(_TASKS, these).all():
        found[row.pipeline].append(task_view(row))
    return {row.id: pipeline_view(row, tuple(found[row.id])) for row in connection.execute(_ROWS, these).all()}


def _happening(row: Row[Any]) -> Happening:
    of = row.uid, row.kind, row.name, None, row.at
    return Happening(*of, row.times, row.type, row.reason, row.source, row.message)


def pipeline_view(row: Row[Any], of: tuple[TaskView, ...]) -> PipelineView:
    return PipelineView(
        number=row.number,
        id=row.id,
        name=row.name,
        job=row.job,
        version=row.version,
        username=row.username,
        user_uid=row.user_uid,
        context=json.loads(row.context),
        status=row.status,
        outcome=row.outcome,
        error_message=row.error_message,
        warnings=tuple(json.loads(row.warnings)),
        submitted_at=row.submitted_at,
        completed_at=row.completed_at,
        stop=row.stop,
        deleting=json.loads(row.deleting) if row.deleting else None,
        rerun_of=row.rerun_of,
        seq=row.seq,
        tasks=of,
    )


def task_view(row: Row[Any]) -> TaskView:
    return TaskView(
        id=task_id(PipelineId(row.pipeline), row.name),
        idx=row.idx,
        name=row.name,
        spec=load_task(row.spec),
        status=row.status,
        reason=row.reason,
        attempt=row.attempt,
        exit_code=row.exit_code,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        due_at=row.due_at,
        origin=row.origin,
    )


def _attempt(row: Row[Any]) -> AttemptView:
    return AttemptView(
        number=row.number,
        state=row.state,
        stop=row.stop,
        cards=tuple(json.loads(row.cards or "[]")),
        planned_at=row.planned_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        reason=row.reason,
        message=row.message,
        cpu_s=row.cpu_s,
        rss_kb=row.rss_kb,
        log_bytes=row.log_bytes,
        node=row.node,
        memory_bytes=row.memory_bytes,
    )
