"""The step: events in, changes and obligations out. Pure but for the world that it moves.

``step`` costs in proportion to what changes, never to the size of a pipeline, but for a stop or a halt, which
happens to a pipeline once. Source: architecture.md, "States" and "The loop".
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from odin.model import retries
from odin.model.commands import Built, Event, Halt, Submit, Tick
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.quantities import written_bytes
from odin.model.reports import Absent, Away, Back, Ended, Held, Placed, Reason, Started
from odin.model.states import AttemptState, Move, Outcome, PipelineStatus, Stop, TaskStatus, move
from odin.model.world import Attempt, Pipeline, Submission, Task, World, fresh

NEXT_ONE = "; the next one in "


def step(world: World, events: Iterable[Event], now: float) -> None:
    """Apply events in order, then give what is free to whose turn it is.

    What changed waits in ``world.changes`` for its commit, what must be done after that in ``world.due``.
    ``now`` is POSIX seconds and never goes back.
    """
    for event in events:
        _HANDLERS[type(event)](world, event, now)
    admit(world, now)
    _tell_queued(world, now)


def admit(world: World, now: float) -> None:
    """Plan attempts of queued tasks as far as the place has room; nothing while it is away."""
    if world.away is not None:
        return

    def wanted(pipeline: PipelineId, idx: int, ticket: int) -> bool:
        found = world.pipelines.get(pipeline)
        tasks = found.tasks if found is not None else ()  # of another job, where the id was asked for a second time
        return idx < len(tasks) and tasks[idx].ticket == ticket

    for identity, idx, cards in world.pool.admit(wanted):
        pipeline = world.pipelines[identity]
        _plan(world, pipeline, pipeline.tasks[idx], cards, now)


def _tell_queued(world: World, now: float) -> None:
    """Tasks whose wait for others is over and that found no room in the same step: people see that they queue."""
    for pipeline, task in world.queued:
        if task.ticket and task.verdict is None:
            world.record(pipeline, now, "queued", task, None)
    world.queued.clear()


def _plan(world: World, pipeline: Pipeline, task: Task, cards: tuple[str, ...], now: float) -> None:
    task.ticket = 0
    task.number += 1
    task.reason = None
    task.submitted_at = task.submitted_at or now
    memory_bytes = retries.grown(task.spec, task.spent).memory_bytes
    task.attempt = Attempt(task.number, now, cards=cards, memory_bytes=memory_bytes)
    world.open[pipeline.attempt_id(task)] = (pipeline, task, task.attempt)
    world.record(pipeline, now, "planned", task, None)
    world.changes.urgent = True
    if task.number == 1:
        world.limit_wait(pipeline, task)
    world.due.launch.append((pipeline, task, task.attempt))


# --- what people ask


def _submit(world: World, event: Submit, now: float) -> None:
    pipeline = fresh(event.submission)
    world.changes.submitted.append(event.submission)
    world.changes.urgent = True
    world.record(pipeline, now, "submitted", None, _said(event.submission))
    for task in pipeline.tasks:
        if (kept := event.submission.kept.get(task.spec.name)) is not None:
            world.record(pipeline, now, "kept" if task.verdict is TaskStatus.EXECUTED else "skipped", task, kept.reason)
            for attempt in kept.attempts:
                world.changes.attempts[pipeline.id, task.idx, attempt.number] = attempt
    world.adopt(pipeline)
    if pipeline.status is PipelineStatus.RUNNING:
        _judge_place(world, pipeline, now)


def _said(submission: Submission) -> str:
    said = f"{submission.job} at {submission.version[:12]}"
    return f"{said}, again after {submission.rerun_of}" if submission.rerun_of else said


def _built(world: World, event: Built, now: float) -> None:
    pipeline = world.pipelines.get(event.pipeline)
    if pipeline is None or pipeline.status is not PipelineStatus.BUILDING:
        return
    world.changes.urgent = True
    if event.error is not None:
        pipeline.error_message = event.error
        _halt(world, pipeline, event.error, now)
        return
    pipeline.status = PipelineStatus.RUNNING
    world.record(pipeline, now, "built", None, None)
    for task in pipeline.tasks:
        if task.verdict is None and not task.unmet:
            world.offer(pipeline, task, now)
    _judge_place(world, pipeline, now)


def _judge_place(world: World, pipeline: Pipeline, now: float) -> None:
    """Fail tasks that this place can never run: it has changed since the launch was checked."""
    for task in pipeline.tasks:
        if task.verdict is None and task.attempt is None and (lack := world.pool.lacks(task.spec)) is not None:
            _fail(world, pipeline, task, lack, now)


def _halted(world: World, event: Halt, now: float) -> None:
    pipeline = world.pipelines.get(event.pipeline)
    if pipeline is not None and (pipeline.stop is None or event.cause is Stop.CLEANUP):
        _stop(world, pipeline, event.cause, event.message, now)


def _stop(world: World, pipeline: Pipeline, cause: Stop, message: str, now: float) -> None:
    """Flag everything that is open and settle the rest; the pipeline ends when the open ones are proven over."""
    pipeline.stop, pipeline.stop_message, pipeline.halted = cause, message, True
    if cause is Stop.TIMEOUT and pipeline.error_message is None:
        pipeline.error_message = message
    world.changes.urgent = True
    world.record(pipeline, now, "stopping", None, message)
    for task in pipeline.tasks:
        if task.attempt is not None:
            _flag(world, pipeline, task, cause)
        elif task.verdict is None:
            _settle(world, pipeline, task, _unstarted(task, cause), message, now)
    _finish_if_over(world, pipeline, now)


def _unstarted(task: Task, cause: Stop) -> TaskStatus:
    """What a task without an open attempt becomes when its pipeline stops."""
    if cause is not Stop.TIMEOUT:
        return TaskStatus.TERMINATED
    return TaskStatus.FAILED if task.number else TaskStatus.SKIPPED


def _flag(world: World, pipeline: Pipeline, task: Task, cause: Stop) -> None:
    attempt = task.attempt
    if attempt is None or attempt.stop is not None:
        return
    attempt.stop = cause
    world.changes.tasks[pipeline.id, task.idx] = task
    world.changes.attempts[pipeline.id, task.idx, task.number] = attempt
    world.changes.pipelines[pipeline.id] = pipeline
    world.due.stop.append((pipeline, task, attempt))


# --- what time brings


def _tick(world: World, _event: Tick, now: float) -> None:
    """Timers only remind: whether something is over, the state says. An id may come back with another job's tasks."""
    while world.timers and world.timers[0].at <= now:
        timer = heapq.heappop(world.timers)
        pipeline = world.pipelines.get(timer.pipeline)
        if pipeline is not None and timer.idx < len(pipeline.tasks):
            task = pipeline.tasks[timer.idx] if timer.idx >= 0 else None
            if task is None or (task.verdict is None and task.number == timer.number):
                _TIMERS[timer.kind](world, pipeline, task, now)


def _retry_due(world: World, pipeline: Pipeline, task: Task, now: float) -> None:
    if task.due_at is not None and task.due_at <= now:
        task.due_at = None
        task.reason = None
        world.offer(pipeline, task, now)
        world.queued.append((pipeline, task))


def _pending_over(world: World, pipeline: Pipeline, task: Task, now: float) -> None:
    """``pending_timeout`` has passed since the task could start; one that runs is left alone."""
    longest_s, ready_at = task.spec.pending_timeout_s, task.ready_at
    if longest_s is None or ready_at is None or now < ready_at + longest_s:
        return
    message = f"waited longer than its pending_timeout of {longest_s:g} s"
    if task.attempt is None:
        _fail(world, pipeline, task, message, now)
    elif task.attempt.state is not AttemptState.RUNNING:
        task.reason = message
        world.record(pipeline, now, "stopping", task, message)
        _flag(world, pipeline, task, Stop.TIMEOUT)


def _time_over(world: World, pipeline: Pipeline, _task: None, now: float) -> None:
    if pipeline.stop is None and pipeline.timeout_s is not None and pipeline.submitted_at + pipeline.timeout_s <= now:
        _stop(world, pipeline, Stop.TIMEOUT, f"the pipeline's timeout of {pipeline.timeout_s:g} s has passed", now)


# --- what executors report


def _back(world: World, _event: Back, now: float) -> None:
    """Whatever was handed over may be lost: ask after every open attempt before anything is started."""
    world.away = None
    for pipeline in list(world.pipelines.values()):
        _judge_place(world, pipeline, now)
    for name in world.open:
        world.recall(name)


def _away(world: World, event: Away, _now: float) -> None:
    world.away = event.message


def _absent(world: World, event: Absent, now: float) -> None:
    found = world.open.get(event.attempt)
    if found is None:
        return
    pipeline, task, attempt = found
    if event.fence is not None and event.fence != pipeline.fence:
        return  # another server has launched it since, perhaps
    if attempt.stop is not None:
        world.due.stop.append((pipeline, task, attempt))
    elif attempt.state is AttemptState.PLANNED:
        world.due.launch.append((pipeline, task, attempt))
    else:
        # It was seen to begin, so its place has lost what it knew: never start it again under this number.
        _ended(world, Ended(event.attempt, None, Reason.LOST, now), now)


def _placed(world: World, event: Placed, now: float) -> None:
    found = world.open.get(event.attempt)
    if found is None:
        return
    pipeline, task, attempt = found
    if attempt.state is AttemptState.PLANNED:
        attempt.state = move(attempt.state, Move.PLACE)
        world.record(pipeline, now, "placed", task, None)
    _stop_again(world, pipeline, task, attempt)


def _held(world: World, event: Held, now: float) -> None:
    found = world.open.get(event.attempt)
    if found is None:
        return
    pipeline, task, attempt = found
    why = event.why or None
    if attempt.state is AttemptState.RUNNING and not event.runs:
        attempt.state = move(attempt.state, Move.SUSPEND)
        attempt.started_at = task.started_at = None
        task.reason = why
        world.record(pipeline, now, "suspended", task, why)
    elif why != task.reason and attempt.stop is None:
        task.reason = why
        world.record(pipeline, now, "held", task, why)


def _started(world: World, event: Started, now: float) -> None:
    found = world.open.get(event.attempt)
    if found is None:
        return
    pipeline, task, attempt = found
    if attempt.state is not AttemptState.RUNNING:
        attempt.state = move(attempt.state, Move.START)
        # Clocks differ, and a cluster tells whole seconds: nothing begins before it was planned, or later than now.
        attempt.started_at = task.started_at = min(max(event.at, attempt.planned_at), now)
        attempt.node = event.node or attempt.node
        if event.cards and event.cards != attempt.cards:
            world.pool.exchange(attempt.cards, event.cards)
            attempt.cards = event.cards
        if attempt.stop is None:
            task.reason = None
        world.record(pipeline, now, "started", task, None)
    _stop_again(world, pipeline, task, attempt)


def _stop_again(world: World, pipeline: Pipeline, task: Task, attempt: Attempt) -> None:
    """What is told may answer a recall, and then the place may not have heard of the stop."""
    if attempt.stop is not None:
        world.due.stop.append((pipeline, task, attempt))


def _ended(world: World, event: Ended, now: float) -> None:
    found = world.open.pop(event.attempt, None)
    if found is not None or _is_known(world, event.attempt):
        world.due.acknowledge.append(event.attempt)
    if found is None:
        return
    pipeline, task, attempt = found
    world.changes.urgent = True
    _note_end(task, attempt, event, now)
    world.changes.attempts[pipeline.id, task.idx, task.number] = attempt
    world.pool.give_back(task.spec, attempt.cards)
    task.attempt = None
    _conclude(world, pipeline, task, attempt, now)
    _finish_if_over(world, pipeline, now)


def _is_known(world: World, name: AttemptId) -> bool:
    """Of a pipeline in flight here: whether it had this attempt. If not, another server has taken it over."""
    identity, task_name, number = split_resource(name)
    pipeline = world.pipelines.get(identity)
    if pipeline is None:
        return True  # the rows know
    return any(task.spec.name == task_name and task.number >= (number or 1) for task in pipeline.tasks)


def _note_end(task: Task, attempt: Attempt, event: Ended, now: float) -> None:
    attempt.state = move(attempt.state, Move.END)
    if attempt.started_at is None and event.started_at is not None:
        attempt.started_at = min(max(event.started_at, attempt.planned_at), now)
    attempt.ended_at = min(max(event.ended_at, attempt.started_at or attempt.planned_at), now)
    attempt.exit_code, attempt.reason, attempt.message = event.code, event.reason, event.message
    attempt.cpu_s, attempt.rss_kb, attempt.log_bytes = event.cpu_s, event.rss_kb, event.log_bytes
    attempt.node = event.node or attempt.node
    task.exit_code = event.code
    task.started_at = attempt.started_at or task.started_at


def _conclude(world: World, pipeline: Pipeline, task: Task, attempt: Attempt, now: float) -> None:
    """Ordered rules, first match wins: what an ended attempt makes of its task."""
    ended_at = attempt.ended_at or now
    if attempt.reason is Reason.EXIT and attempt.exit_code == 0:
        _settle(world, pipeline, task, TaskStatus.EXECUTED, None, now, at=ended_at)
        _release_children(world, pipeline, task, now)
        return
    why = explain(attempt)
    if attempt.stop in (Stop.CANCEL, Stop.CLEANUP):
        _settle(world, pipeline, task, TaskStatus.TERMINATED, _stopped_by(pipeline, task, attempt), now, at=ended_at)
    elif attempt.stop is Stop.TIMEOUT:
        _fail(world, pipeline, task, _stopped_by(pipeline, task, attempt) or why, now, at=ended_at)
    elif not _retry(world, pipeline, task, attempt, why, now):
        _fail(world, pipeline, task, why, now, at=ended_at)


def _stopped_by(pipeline: Pipeline, task: Task, attempt: Attempt) -> str | None:
    """Who or what stopped the attempt; its place repeats that and adds whether force was needed."""
    carried_out = attempt.message if attempt.reason in (Reason.STOPPED, Reason.VOID) else ""
    return carried_out or pipeline.stop_message or task.reason


def _retry(world: World, pipeline: Pipeline, task: Task, attempt: Attempt, why: str, now: float) -> bool:
    """Plan to try again if the pipeline goes on and the budget of the cause allows it."""
    if pipeline.halted or attempt.reason is None:
        return False
    spent = dict(task.spent or {})
    cause = retries.allowed(task.spec, attempt.reason, spent)
    if cause is None:
        return False
    spent[cause] = spent.get(cause, 0) + 1
    wait_s = retries.delay_s(task.spec, pipeline.attempt_id(task), spent[cause])
    task.spent, task.due_at = spent, now + wait_s
    task.reason = f"attempt {task.number} failed: {why}{NEXT_ONE}{wait_s:.0f} s{_more(task, cause)}"
    world.record(pipeline, now, "retrying", task, task.reason)
    world.remind(task.due_at, "retry", pipeline, task)
    return True


def _more(task: Task, cause: str) -> str:
    grown = retries.grown(task.spec, task.spent).memory_bytes if cause == "oom" else None
    return f", with {written_bytes(grown)} of memory" if grown is not None else ""


def explain(attempt: Attempt) -> str:
    """One sentence on a failed attempt for people. Source: reliability.md, P13."""
    if attempt.message:
        return attempt.message
    return {
        Reason.TIMEOUT: "it ran longer than its timeout",
        Reason.LOST: "lost: it may have run, and how it ended cannot be known",
        Reason.STOPPED: "it was stopped",
        Reason.VOID: "it was stopped before it started",
        Reason.REFUSED: "the place where tasks run refused it",
        Reason.SIGNAL: f"killed by signal {(attempt.exit_code or 128) - 128}",
    }.get(attempt.reason or Reason.EXIT, f"exit code {attempt.exit_code}")


# --- how tasks and pipelines come to their end


def _settle(
    world: World,
    pipeline: Pipeline,
    task: Task,
    verdict: TaskStatus,
    reason: str | None,
    now: float,
    *,
    at: float | None = None,
) -> None:
    """Give a task its final status; ``at`` is when it was over, if that is not now."""
    task.verdict, task.reason, task.due_at, task.ticket = verdict, reason, None, 0
    task.completed_at = at if at is not None else now
    pipeline.unsettled -= 1
    if verdict is TaskStatus.FAILED and pipeline.error_message is None:
        pipeline.error_message = f'task "{task.spec.name}" failed: {reason}'
    world.record(pipeline, now, verdict.value, task, reason)


def _release_children(world: World, pipeline: Pipeline, task: Task, now: float) -> None:
    for idx in pipeline.children[task.idx]:
        child = pipeline.tasks[idx]
        child.unmet -= 1
        if not child.unmet and child.verdict is None:
            world.offer(pipeline, child, now)
            world.queued.append((pipeline, child))


def _fail(world: World, pipeline: Pipeline, task: Task, reason: str, now: float, *, at: float | None = None) -> None:
    """A task has failed for good: start nothing more, or skip what waits for it."""
    _settle(world, pipeline, task, TaskStatus.FAILED, reason, now, at=at)
    why = f'task "{task.spec.name}" failed'
    if pipeline.on_failure == "continue":
        _skip_descendants(world, pipeline, task, why, now)
    elif not pipeline.halted:
        _halt(world, pipeline, why, now)
    _finish_if_over(world, pipeline, now)


def _halt(world: World, pipeline: Pipeline, why: str, now: float) -> None:
    """Start nothing more; what runs goes on to its own end."""
    pipeline.halted = True
    for task in pipeline.tasks:
        if task.verdict is None and task.attempt is None:
            verdict = TaskStatus.FAILED if task.number else TaskStatus.SKIPPED
            _settle(world, pipeline, task, verdict, _given_up(task, why) if task.number else why, now)
    _finish_if_over(world, pipeline, now)


def _given_up(task: Task, why: str) -> str:
    """What is said of a task that would have been tried again: the next attempt will not come."""
    failed = (task.reason or f"attempt {task.number} failed").partition(NEXT_ONE)[0]
    return f"{failed}; not tried again: {why}"


def _skip_descendants(world: World, pipeline: Pipeline, task: Task, why: str, now: float) -> None:
    waiting = list(pipeline.children[task.idx])
    while waiting:
        child = pipeline.tasks[waiting.pop()]
        if child.verdict is None:
            _settle(world, pipeline, child, TaskStatus.SKIPPED, why, now)
            waiting.extend(pipeline.children[child.idx])


def _finish_if_over(world: World, pipeline: Pipeline, now: float) -> None:
    if pipeline.unsettled or pipeline.outcome is not None:
        return
    pipeline.outcome = _outcome(pipeline)
    done = pipeline.outcome is Outcome.SUCCEEDED
    pipeline.status = PipelineStatus.DONE if done else PipelineStatus.TERMINATED
    pipeline.completed_at = now
    world.changes.urgent = True
    world.record(pipeline, now, pipeline.outcome.value, None, pipeline.error_message or pipeline.stop_message)
    world.pipelines.pop(pipeline.id, None)
    world.due.forget.append(pipeline.id)
    world.due.finished.append(pipeline.id)


def _outcome(pipeline: Pipeline) -> Outcome:
    if all(task.verdict is TaskStatus.EXECUTED or task.origin is not None for task in pipeline.tasks):
        return Outcome.SUCCEEDED
    cancelled = pipeline.stop in (Stop.CANCEL, Stop.CLEANUP)
    return Outcome.CANCELLED if cancelled else Outcome.FAILED


_TIMERS: dict[str, Callable[[World, Pipeline, Any, float], None]] = {
    "retry": _retry_due,
    "pending": _pending_over,
    "timeout": _time_over,
}

_HANDLERS: dict[type, Callable[[World, Any, float], None]] = {
    Submit: _submit,
    Built: _built,
    Halt: _halted,
    Tick: _tick,
    Back: _back,
    Away: _away,
    Absent: _absent,
    Placed: _placed,
    Held: _held,
    Started: _started,
    Ended: _ended,
}
