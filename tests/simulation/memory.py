"""The store in memory: what ``odin.store.rows`` promises, without a database.

What a row keeps of an object is listed here once more; ``test_stores`` runs both side by side, so that neither can
keep more, or less, than the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

from odin.model.ids import PipelineId
from odin.model.states import FINAL, AttemptState, Outcome, PipelineStatus
from odin.model.world import Attempt, Changes, Happened, Pipeline, Submission, Task, fresh, graph_of, restored
from odin.store.commit import Promise
from odin.store.leases import Order

PIPELINE = ("status", "outcome", "error_message", "completed_at", "stop", "stop_message")
TASK = (
    "status",
    "reason",
    "number",
    "exit_code",
    "submitted_at",
    "started_at",
    "completed_at",
    "due_at",
    "spent",
    "origin",
)
ATTEMPT = (
    "state",
    "stop",
    "cards",
    "planned_at",
    "started_at",
    "ended_at",
    "exit_code",
    "reason",
    "message",
    "cpu_s",
    "rss_kb",
    "log_bytes",
    "node",
    "memory_bytes",
)
_pipeline_of, _task_of, _attempt_of = attrgetter(*PIPELINE), attrgetter(*TASK), attrgetter(*ATTEMPT)
OPEN = (PipelineStatus.BUILDING, PipelineStatus.RUNNING)


class Row:
    """A pipeline with its tasks, attempts and history as they are committed."""

    __slots__ = ("attempts", "events", "fence", "owner", "pipeline", "seq", "submission", "tasks")

    def __init__(self, submission: Submission, owner: object) -> None:
        self.submission = submission
        self.owner = owner
        self.fence = 1
        self.seq = 0
        pipeline = fresh(submission)
        self.pipeline: tuple[Any, ...] = _pipeline_of(pipeline)
        self.tasks: list[tuple[Any, ...]] = [_task_of(task) for task in pipeline.tasks]
        self.attempts: dict[tuple[int, int], tuple[Any, ...]] = {}
        self.events: list[Happened] = []

    @property
    def outcome(self) -> Outcome | None:
        outcome: Outcome | None = self.pipeline[1]
        return outcome


class Audit(Protocol):
    """Who looks at each commit: before it is done, and at each row that it changes."""

    def task(self, row: Row, idx: int, was: tuple[Any, ...], now: tuple[Any, ...]) -> None: ...
    def attempt(self, row: Row, key: tuple[int, int], was: tuple[Any, ...] | None, now: tuple[Any, ...]) -> None: ...
    def events(self, row: Row, events: Sequence[Happened]) -> None: ...
    def pipeline(self, row: Row) -> None: ...


class Memory:
    """The tables. One for a schedule; servers come and go."""

    def __init__(self, audit: Audit) -> None:
        self.rows: dict[PipelineId, Row] = {}
        self.tombstones: set[PipelineId] = set()
        self.answers: dict[str, str] = {}
        self.leases: dict[Any, float] = {}
        self.orders: dict[int, Order] = {}
        self.ordered = 0
        self.unfinished = 0
        self._audit = audit

    def commit(
        self, changes: Changes, promises: Mapping[PipelineId, Promise], owner: object, now: float
    ) -> set[PipelineId]:
        """One transaction; the same statements in the same order as ``odin.store.commit``."""
        del now  # of answers, which are kept for longer than a schedule lasts
        answered = self._answered(promises)
        if answered:
            changes = changes.without(answered)
        lost = self._insert(changes.submitted, owner)
        moved: list[tuple[Row, Pipeline]] = []
        for identity, pipeline in changes.pipelines.items():
            row = self.rows.get(identity)
            if row is None or row.fence != pipeline.fence or row.seq != pipeline.saved_seq:
                lost.add(identity)
            else:
                moved.append((row, pipeline))
        if lost:
            changes = changes.without(lost)
        self._write(moved, changes)
        for identity, (request, answer) in promises.items():
            if identity not in lost | answered:
                self.answers[request.key] = answer.body
        return lost | answered

    def _answered(self, promises: Mapping[PipelineId, Promise]) -> set[PipelineId]:
        """Those whose request was answered before, or is by another of this turn."""
        found: set[PipelineId] = set()
        keys = set(self.answers)
        for identity, (request, _) in promises.items():
            if request.key in keys:
                found.add(identity)
            keys.add(request.key)
        return found

    def _insert(self, submitted: Sequence[Submission], owner: object) -> set[PipelineId]:
        lost: set[PipelineId] = set()
        made: set[PipelineId] = set()
        for each in submitted:
            if each.id in made:
                raise RuntimeError(f"UNIQUE constraint failed: {each.id} was submitted twice in one turn")
            if each.id in self.tombstones or each.id in self.rows:
                lost.add(each.id)
                continue
            made.add(each.id)
            self.rows[each.id] = Row(each, owner)
            self.unfinished += 1
        return lost

    def _write(self, moved: Sequence[tuple[Row, Pipeline]], changes: Changes) -> None:
        audit = self._audit
        for row, pipeline in moved:
            was, row.pipeline, row.seq = row.pipeline, _pipeline_of(pipeline), pipeline.seq
            if row.outcome is not None and was[1] is None:
                self.unfinished -= 1
        for (identity, idx), task in changes.tasks.items():
            row = self.rows[identity]
            before, after = row.tasks[idx], _task_of(task)
            row.tasks[idx] = after
            audit.task(row, idx, before, after)
        for (identity, idx, number), attempt in changes.attempts.items():
            row = self.rows[identity]
            last = row.attempts.get((idx, number))
            now = _attempt_of(attempt)
            audit.attempt(row, (idx, number), last, now)
            if last is None or last[0] is not AttemptState.ENDED:
                row.attempts[idx, number] = now
        self._tell(moved, changes.events)

    def _tell(self, moved: Sequence[tuple[Row, Pipeline]], events: Sequence[Happened]) -> None:
        of: dict[PipelineId, list[Happened]] = {}
        for event in events:
            of.setdefault(event.pipeline, []).append(event)
        for identity, told in of.items():
            row = self.rows[identity]
            row.events += told
            self._audit.events(row, told)
        for row, _ in moved:
            self._audit.pipeline(row)

    def take_over(self, row: Row, owner: object) -> None:
        """From now on nobody else can commit what moves this pipeline."""
        row.owner = owner
        row.fence += 1

    def raise_fences(self, seen: Mapping[PipelineId, int]) -> list[PipelineId]:
        """Above those that are given; the ones that were not there yet."""
        raised = [each for each in seen if self.rows[each].outcome is None and self.rows[each].fence <= seen[each]]
        for each in raised:
            self.rows[each].fence = seen[each] + 1
        return raised

    def put_back(self) -> None:
        """Fences are what they were before others drove: somebody restored rows, and nothing but these had moved."""
        for row in self.rows.values():
            if row.outcome is None:
                row.fence = 1

    def positions(self, ids: Iterable[PipelineId]) -> dict[PipelineId, tuple[int, int]]:
        """Fence and ``seq`` of those that are there."""
        return {each: (self.rows[each].fence, self.rows[each].seq) for each in ids if each in self.rows}

    def final(self, ids: Sequence[PipelineId]) -> list[PipelineId]:
        return [each for each in ids if each not in self.rows or self.rows[each].outcome is not None]

    def delete(self, identity: PipelineId) -> bool:
        """A cleanup of everything; False if the pipeline is not final."""
        row = self.rows.get(identity)
        if row is not None and row.outcome is None:
            return False
        self.rows.pop(identity, None)
        self.tombstones.add(identity)
        return True

    def load(self, row: Row) -> Pipeline:
        """What a start reads back, and nothing that the tables do not have."""
        submission = row.submission
        unmet, children = graph_of(submission.tasks)
        tasks = [Task(idx, spec, unmet[idx]) for idx, spec in enumerate(submission.tasks)]
        for task, kept in zip(tasks, row.tasks, strict=True):
            task.verdict = kept[0] if kept[0] in FINAL else None
            fill(task, TASK[1:], kept[1:])
        for (idx, number), kept in row.attempts.items():
            if kept[0] is not AttemptState.ENDED:
                tasks[idx].attempt = attempt = Attempt(number, 0.0)
                fill(attempt, ATTEMPT, kept)
        pipeline = Pipeline(
            submission.id,
            submission.job,
            submission.version,
            submission.submitted_at,
            tasks,
            children,
            on_failure=submission.on_failure,
            timeout_s=submission.timeout_s,
            fence=row.fence,
            seq=row.seq,
            own_work=bool(submission.rendered),
            username=submission.username,
            rerun_of=submission.rerun_of,
        )
        fill(pipeline, PIPELINE, row.pipeline)
        return restored(pipeline)


def fill(thing: object, names: Sequence[str], values: Sequence[object]) -> None:
    """Give a thing its values by name."""
    for name, value in zip(names, values, strict=True):
        setattr(thing, name, value)
