"""What the engine knows of the pipelines in flight, in memory, and what of it has changed.

``odin.model.step`` moves it. Everything here can be made again from committed rows (``World.adopt``); nothing here
is true before its commit. Moments are POSIX seconds as given by the caller: there is no clock in the model.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from odin.model.admission import Pool
from odin.model.ids import AttemptId, JobPath, PipelineId, Sha, attempt_id, task_id
from odin.model.job import TaskSpec
from odin.model.reports import Reason, Recall
from odin.model.states import FINAL, AttemptState, Outcome, PipelineStatus, Stop, TaskStatus


@dataclass(slots=True)
class Attempt:
    """One attempt; ``stop`` is the durable flag that it must end.

    ``node`` is the machine, or machines, that it ran on; ``memory_bytes`` what it asked for, None if nothing.
    """

    number: int
    planned_at: float
    state: AttemptState = AttemptState.PLANNED
    cards: tuple[str, ...] = ()
    stop: Stop | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: Reason | None = None
    message: str = ""
    cpu_s: float | None = None
    rss_kb: int | None = None
    log_bytes: int | None = None
    node: str | None = None
    memory_bytes: int | None = None


@dataclass(slots=True)
class Task:
    """One task. ``attempt`` is the open one, ``number`` that of the newest; ``unmet`` counts parents not done.

    ``origin``, where this pipeline resumes another and does not run the task: the one that what is shown happened in.
    """

    idx: int
    spec: TaskSpec
    unmet: int
    verdict: TaskStatus | None = None
    reason: str | None = None
    attempt: Attempt | None = None
    number: int = 0
    exit_code: int | None = None
    ready_at: float | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    due_at: float | None = None
    spent: dict[str, int] | None = None
    ticket: int = 0
    origin: PipelineId | None = None

    @property
    def status(self) -> TaskStatus:
        """What people see; the stored copy is written from here. Source: architecture.md, "States"."""
        if self.verdict is not None:
            return self.verdict
        if self.attempt is not None:
            begun = self.attempt.state is AttemptState.RUNNING or self.attempt.stop is not None
            return TaskStatus.EXECUTING if begun else TaskStatus.QUEUED
        return TaskStatus.WAITING if self.unmet or self.due_at is not None else TaskStatus.QUEUED


@dataclass(slots=True)
class Pipeline:
    """One pipeline in flight. ``children[i]`` are the tasks that wait for task ``i``.

    ``halted`` means that nothing more is started. ``seq`` counts its events, ``saved_seq`` those committed.
    ``own_work``: the job has templates, so its work folder is not the checkout's but the pipeline's own.
    ``rerun_of`` is the pipeline that this one runs again, or resumes.
    """

    id: PipelineId
    job: JobPath
    version: Sha
    submitted_at: float
    tasks: list[Task]
    children: list[list[int]]
    on_failure: str = "stop"
    timeout_s: float | None = None
    status: PipelineStatus = PipelineStatus.BUILDING
    outcome: Outcome | None = None
    error_message: str | None = None
    completed_at: float | None = None
    stop: Stop | None = None
    stop_message: str | None = None
    halted: bool = False
    unsettled: int = 0
    fence: int = 1
    seq: int = 0
    saved_seq: int = 0
    own_work: bool = False
    username: str = ""
    rerun_of: PipelineId | None = None

    def attempt_id(self, task: Task) -> AttemptId:
        """What the newest attempt of a task is called."""
        return attempt_id(task_id(self.id, task.spec.name), task.number)


@dataclass(frozen=True, slots=True)
class Kept:
    """A task that a resumed pipeline does not run: what it shows happened in ``origin``.

    ``verdict`` is *executed*, with all its attempts; or *skipped*, left out by choice.
    """

    origin: PipelineId
    verdict: TaskStatus
    reason: str
    exit_code: int | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """All that is recorded of a pipeline when it is submitted. ``built`` means that its checkout stands.

    ``context`` is JSON; ``rendered`` are the files that the job's templates became, as (path in the job, text).
    ``kept`` has, by name, the tasks that are not run because ``rerun_of`` did; their files come with the checkout.
    """

    id: PipelineId
    name: str
    job: JobPath
    version: Sha
    username: str
    user_uid: int
    tasks: tuple[TaskSpec, ...]
    submitted_at: float
    on_failure: str = "stop"
    timeout_s: float | None = None
    context: str = "{}"
    warnings: tuple[str, ...] = ()
    rerun_of: PipelineId | None = None
    built: bool = False
    rendered: tuple[tuple[str, str], ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)


class Happened(NamedTuple):
    """One entry of a pipeline's history."""

    pipeline: PipelineId
    seq: int
    at: float
    type: str
    idx: int | None
    attempt: int | None
    message: str | None


@dataclass(slots=True)
class Changes:
    """What one or more steps changed and no commit has yet. Rows are written from the objects as they are then.

    ``urgent`` is false while there is nothing that anybody waits for (a task began to run).
    """

    submitted: list[Submission] = field(default_factory=list)
    pipelines: dict[PipelineId, Pipeline] = field(default_factory=dict)
    tasks: dict[tuple[PipelineId, int], Task] = field(default_factory=dict)
    attempts: dict[tuple[PipelineId, int, int], Attempt] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    urgent: bool = False

    def __bool__(self) -> bool:
        return bool(self.pipelines)

    def without(self, gone: set[PipelineId]) -> Changes:
        """The same less some pipelines."""
        return Changes(
            [each for each in self.submitted if each.id not in gone],
            {key: value for key, value in self.pipelines.items() if key not in gone},
            {key: value for key, value in self.tasks.items() if key[0] not in gone},
            {key: value for key, value in self.attempts.items() if key[0] not in gone},
            [each for each in self.events if each.pipeline not in gone],
            self.urgent,
        )


@dataclass(slots=True)
class Due:
    """Effects that committed state demands and that were not handed over yet; each may be repeated."""

    build: list[Pipeline] = field(default_factory=list)
    launch: list[tuple[Pipeline, Task, Attempt]] = field(default_factory=list)
    stop: list[tuple[Pipeline, Task, Attempt]] = field(default_factory=list)
    recall: dict[AttemptId, Recall] = field(default_factory=dict)
    acknowledge: list[AttemptId] = field(default_factory=list)
    forget: list[PipelineId] = field(default_factory=list)
    finished: list[PipelineId] = field(default_factory=list)


class Timer(NamedTuple):
    """Something to look at again; ``number`` is the attempt that must still be the newest."""

    at: float
    order: int
    kind: str
    pipeline: PipelineId
    idx: int
    number: int


@dataclass(slots=True)
class World:
    """Every pipeline in flight and the place where they run. ``away`` says why the place cannot be reached."""

    pool: Pool
    away: str | None = "the place where tasks run is not connected yet"
    pipelines: dict[PipelineId, Pipeline] = field(default_factory=dict)
    open: dict[AttemptId, tuple[Pipeline, Task, Attempt]] = field(default_factory=dict)
    timers: list[Timer] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    due: Due = field(default_factory=Due)
    queued: list[tuple[Pipeline, Task]] = field(default_factory=list)
    order: int = 0

    def take_changes(self) -> Changes:
        taken, self.changes = self.changes, Changes()
        return taken

    def take_due(self) -> Due:
        taken, self.due = self.due, Due()
        return taken

    def next_timer(self) -> float | None:
        """When the next timer is due, None if there is none."""
        return self.timers[0].at if self.timers else None

    def remind(self, at: float, kind: str, pipeline: Pipeline, task: Task | None = None) -> None:
        """Set a timer. It is looked at when due and ignored if the state has moved on."""
        self.order += 1
        idx, number = (task.idx, task.number) if task else (-1, 0)
        heapq.heappush(self.timers, Timer(at, self.order, kind, pipeline.id, idx, number))

    def adopt(self, pipeline: Pipeline) -> None:
        """Take a pipeline in, new or as its rows say, with everything that it is owed."""
        self.pipelines[pipeline.id] = pipeline
        if pipeline.timeout_s is not None and pipeline.stop is None:
            self.remind(pipeline.submitted_at + pipeline.timeout_s, "timeout", pipeline)
        if pipeline.status is PipelineStatus.BUILDING:
            self.due.build.append(pipeline)
        ready_at = _ready_at(pipeline)
        for task in pipeline.tasks:
            if task.verdict is None:
                self._adopt_task(pipeline, task, ready_at[task.idx])

    def _adopt_task(self, pipeline: Pipeline, task: Task, ready_at: float) -> None:
        if task.attempt is not None:
            self.pool.take(task.spec, task.attempt.cards)
            name = pipeline.attempt_id(task)
            self.open[name] = (pipeline, task, task.attempt)
            self.recall(name)
            task.ready_at = ready_at
            if task.number == 1:
                self.limit_wait(pipeline, task)
        elif task.due_at is not None:
            self.remind(task.due_at, "retry", pipeline, task)
        elif not task.unmet and pipeline.status is PipelineStatus.RUNNING:
            self.offer(pipeline, task, ready_at)

    def recall(self, name: AttemptId) -> None:
        """Ask the place what became of an open attempt."""
        pipeline, task, attempt = self.open[name]
        self.due.recall[name] = Recall(pipeline.fence, task.spec.resource_type, attempt.planned_at)

    def offer(self, pipeline: Pipeline, task: Task, ready_at: float) -> None:
        """Queue a task that may start now; ``ready_at`` is when it became so."""
        if task.ready_at is None:
            task.ready_at = ready_at
            if not task.number:
                self.limit_wait(pipeline, task)
        task.ticket = self.pool.offer(pipeline.id, task.idx, task.spec)

    def limit_wait(self, pipeline: Pipeline, task: Task) -> None:
        """``pending_timeout`` counts from when the task could start, to the start of its first attempt."""
        if task.spec.pending_timeout_s is not None and task.ready_at is not None:
            self.remind(task.ready_at + task.spec.pending_timeout_s, "pending", pipeline, task)

    def drop(self, pipeline: PipelineId) -> None:
        """Forget a pipeline whose rows moved without us; it is adopted again from them."""
        dropped = self.pipelines.pop(pipeline, None)
        for task in dropped.tasks if dropped else ():
            if task.attempt is not None and dropped is not None:
                self.open.pop(dropped.attempt_id(task), None)
                self.pool.give_back(task.spec, task.attempt.cards)
        self.due.build = [each for each in self.due.build if each.id != pipeline]
        self.due.launch = [each for each in self.due.launch if each[0].id != pipeline]
        self.due.stop = [each for each in self.due.stop if each[0].id != pipeline]
        self.due.forget = [each for each in self.due.forget if each != pipeline]

    def record(self, pipeline: Pipeline, at: float, type_: str, task: Task | None, message: str | None) -> None:
        """Add one entry to the pipeline's history and mark what it is about as changed."""
        pipeline.seq += 1
        changes = self.changes
        changes.pipelines[pipeline.id] = pipeline
        if task is None:
            changes.events.append(Happened(pipeline.id, pipeline.seq, at, type_, None, None, message))
            return
        changes.tasks[pipeline.id, task.idx] = task
        if task.attempt is not None:
            changes.attempts[pipeline.id, task.idx, task.number] = task.attempt
        number = task.number or None
        changes.events.append(Happened(pipeline.id, pipeline.seq, at, type_, task.idx, number, message))


def _ready_at(pipeline: Pipeline) -> list[float]:
    """When each task could start, as far as its parents are done."""
    ready_at = [pipeline.submitted_at] * len(pipeline.tasks)
    for task in pipeline.tasks:
        if task.completed_at is not None:
            for child in pipeline.children[task.idx]:
                ready_at[child] = max(ready_at[child], task.completed_at)
    return ready_at


def graph_of(specs: Sequence[TaskSpec]) -> tuple[list[int], list[list[int]]]:
    """For each task the number of its parents, and for each the tasks that wait for it."""
    index = {spec.name: idx for idx, spec in enumerate(specs)}
    children: list[list[int]] = [[] for _ in specs]
    for idx, spec in enumerate(specs):
        for parent in spec.depends:
            children[index[parent]].append(idx)
    return [len(spec.depends) for spec in specs], children


def fresh(submission: Submission) -> Pipeline:
    """The pipeline that a submission begins."""
    unmet, children = graph_of(submission.tasks)
    tasks = [Task(idx, spec, unmet[idx]) for idx, spec in enumerate(submission.tasks)]
    for task in tasks:
        if (kept := submission.kept.get(task.spec.name)) is not None:
            _keep(task, kept)
    status = PipelineStatus.RUNNING if submission.built else PipelineStatus.BUILDING
    pipeline = Pipeline(
        submission.id,
        submission.job,
        submission.version,
        submission.submitted_at,
        tasks,
        children,
        on_failure=submission.on_failure,
        timeout_s=submission.timeout_s,
        status=status,
        own_work=bool(submission.rendered),
        username=submission.username,
        rerun_of=submission.rerun_of,
    )
    return _counted(pipeline)


def _keep(task: Task, kept: Kept) -> None:
    task.verdict, task.reason, task.origin = kept.verdict, kept.reason, kept.origin
    task.number = kept.attempts[-1].number if kept.attempts else 0
    task.exit_code = kept.exit_code
    task.submitted_at, task.started_at, task.completed_at = kept.submitted_at, kept.started_at, kept.completed_at


def _counted(pipeline: Pipeline) -> Pipeline:
    """Derive the counters of what is not done."""
    for task in pipeline.tasks:
        if task.verdict is TaskStatus.EXECUTED:
            for child in pipeline.children[task.idx]:
                pipeline.tasks[child].unmet -= 1
    pipeline.unsettled = sum(task.verdict not in FINAL for task in pipeline.tasks)
    return pipeline


def restored(pipeline: Pipeline) -> Pipeline:
    """Derive what is not stored (counters, ``halted``) of a pipeline read from its rows."""
    _counted(pipeline)
    failed = any(task.verdict is TaskStatus.FAILED for task in pipeline.tasks)
    pipeline.halted = pipeline.stop is not None or (failed and pipeline.on_failure == "stop")
    pipeline.saved_seq = pipeline.seq
    return pipeline
