"""Pipelines, tasks, events and their data as clients see them. Names and JSON types are fixed by api.md."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from odin.api.answers import moment
from odin.model.admission import DEFAULT_CPU_M
from odin.model.happenings import Happening
from odin.model.ids import TaskId, attempt_id
from odin.model.states import PipelineStatus, TaskStatus

if TYPE_CHECKING:
    from odin.engine.cleanup import Cleanup
    from odin.engine.resuming import Planned
    from odin.store.queries import AttemptView, EventRow, PipelineView, TaskView

Shape = dict[str, Any]

WARNINGS = frozenset({"failed", "terminated", "lost", "refused"})


def pipeline(view: PipelineView) -> Shape:
    return summary(view) | {"tasks": [task(one, built=is_built(view)) for one in view.tasks]}


def summary(view: PipelineView) -> Shape:
    """A pipeline without its tasks."""
    return {
        "id": view.id,
        "name": view.name,
        "job": view.job,
        "version": view.version,
        "user": view.username,
        "context": view.context,
        "status": view.status,
        "outcome": view.outcome,
        "errorMessage": view.error_message,
        "warnings": list(view.warnings),
        "rerunOf": view.rerun_of,
        "submitTime": moment(view.submitted_at),
        "completionTime": moment(view.completed_at),
    }


def glance(view: PipelineView, counts: Mapping[str, int]) -> Shape:
    """A pipeline without its tasks, but how many there are in which status, and where its history is."""
    return summary(view) | {"taskCounts": dict(counts), "position": view.seq}


def task(view: TaskView, *, built: bool = True) -> Shape:
    """``built``: whether its pipeline has its folder, so that tasks may start."""
    return {
        "id": view.id,
        "task": view.id,
        "name": view.name,
        "command": command(view),
        "image": view.spec.image,
        "resourceType": view.spec.resource_type,
        "resourceId": resource_id(view),
        "status": view.status,
        "reason": reason(view, built=built),
        "attempt": view.attempt,
        "exitCode": view.exit_code,
        "depends": list(view.spec.depends),
        "keptFrom": kept_from(view),
        "submitTime": moment(view.submitted_at),
        "startTime": moment(view.started_at),
        "completionTime": moment(view.completed_at),
    }


def kept_from(view: TaskView) -> str | None:
    """The pipeline that it ran in, where this one only keeps it."""
    return view.origin if view.status == TaskStatus.EXECUTED else None


def is_built(view: PipelineView) -> bool:
    return view.status != PipelineStatus.BUILDING


def reason(view: TaskView, *, built: bool) -> str | None:
    """Why it failed, was skipped or waits; one that could start and has not had its turn waits for room."""
    if built and view.reason is None and view.status == TaskStatus.QUEUED and not view.attempt:
        return f"waits for {room(view.spec.cpu_m, view.spec.num_gpus)}"
    return view.reason


@lru_cache(maxsize=256)
def room(cpu_m: int | None, gpus: int) -> str:
    """What a task takes, in words. Who does not say takes one CPU."""
    cpus = (DEFAULT_CPU_M if cpu_m is None else cpu_m) / 1000
    wanted = [(gpus, "GPU"), (cpus, "CPU")]
    return " and ".join(f"{number:g} {thing}{'s' * (number > 1)}" for number, thing in wanted if number) or "its turn"


def command(view: TaskView) -> str:
    """The command with its arguments as one line, as a shell would take it."""
    return _line(view.spec.command + view.spec.args)


@lru_cache(maxsize=1024)
def _line(argv: tuple[str, ...]) -> str:
    return shlex.join(argv)


def resource_id(view: TaskView) -> str:
    """What the newest attempt is called where it runs."""
    return attempt_id(TaskId(view.id), max(1, view.attempt))


def pipeline_data(view: PipelineView) -> Shape:
    """The pipeline's data; task lists hold ids, in the file's order."""

    def ids(*statuses: TaskStatus) -> list[str]:
        return [one.id for one in view.tasks if one.status in statuses]

    return {
        "label": view.id,
        "job": view.job,
        "version": view.version,
        "status": view.status,
        "submit_time": moment(view.submitted_at),
        "completion_time": moment(view.completed_at),
        "executed": ids(TaskStatus.EXECUTED),
        "executing": ids(TaskStatus.EXECUTING),
        "waiting": ids(TaskStatus.WAITING, TaskStatus.QUEUED),
        "jobs": [one.id for one in view.tasks],
        "parent": None,
        "error_message": view.error_message,
        "outcome": view.outcome,
        "user": view.username,
        "context": view.context,
        "rerun_of": view.rerun_of,
    }


def task_data(parent: PipelineView, view: TaskView, attempts: Sequence[AttemptView]) -> Shape:
    spec = view.spec
    return {
        "label": view.id,
        "parent": parent.id,
        "name": view.name,
        "command": shlex.join(spec.command),
        "args": list(spec.args),
        "image": spec.image,
        "resource_type": spec.resource_type,
        "resource_id": resource_id(view),
        "num_gpus": spec.num_gpus,
        "node_selector": spec.cluster.get("node_selector"),
        "pull_policy": spec.cluster.get("pull_policy"),
        "inputs": list(spec.inputs),
        "outputs": dict(spec.outputs),
        "submit_time": moment(view.submitted_at),
        "completion_time": moment(view.completed_at),
        "attempts": [attempt(view, one) for one in attempts],
        "status": view.status,
        "reason": reason(view, built=is_built(parent)),
        "exit_code": view.exit_code,
        "start_time": moment(view.started_at),
        "kept_from": kept_from(view),
    }


def attempt(of: TaskView, view: AttemptView) -> Shape:
    return {
        "number": view.number,
        "resource_id": attempt_id(TaskId(of.id), view.number),
        "state": view.state,
        "submit_time": moment(view.planned_at),
        "start_time": moment(view.started_at),
        "completion_time": moment(view.ended_at),
        "exit_code": view.exit_code,
        "reason": view.reason,
        "message": view.message,
        "cards": list(view.cards),
        "cpu_s": view.cpu_s,
        "rss_kb": view.rss_kb,
        "log_bytes": view.log_bytes,
        "node": view.node,
        "resources": {"cpu_m": of.spec.cpu_m, "memory_bytes": view.memory_bytes, "gpus": of.spec.num_gpus},
    }


def planned(one: Planned) -> Shape:
    """What a resumption would do, task by task in the order of the job's file."""
    steps = [{"name": step.task, "action": step.action, "why": step.why} for step in one.plan.steps]
    made: Shape = {"pipeline": one.pipeline, "job": one.job, "version": one.version, "tasks": steps}
    return {"plan": made | {"gone": list(one.plan.gone)}, "warnings": list(one.warnings)}


def cleanup(one: Cleanup) -> Shape:
    words = ("No", "Yes")
    return {
        "taskId": one.task_id,
        "cleanedFromK8s": words[one.cleaned],
        "purgedFromDb": words[one.purged],
        "removedFromFs": words[one.removed],
    }


def happening(of: str, idx: int, number: int, told: Happening, names: Sequence[str]) -> Shape:
    """One event of the cluster, about an attempt of a task of the pipeline ``of`` or about something made of it."""
    name = names[idx] if idx < len(names) else ""
    whole = attempt_id(TaskId(f"{of}--{name}"), number)
    about = "" if told.name == whole else f"{told.kind} {told.name.removeprefix(whole).lstrip('-')}: "
    again = f" ({told.count} times)" if told.count > 1 else ""
    return {
        "id": f"{of}.{told.uid}",
        "eventType": told.type,
        "reason": told.reason,
        "source": told.source,
        "message": f"{name}: {about}{told.message}{again}",
        "timestamp": moment(told.at),
    }


def foreign_event(told: Happening) -> Shape:
    """One event of an object that is not Odin's."""
    again = f" ({told.count} times)" if told.count > 1 else ""
    return {
        "id": told.uid,
        "eventType": told.type,
        "reason": told.reason,
        "source": told.source,
        "message": told.message + again,
        "timestamp": moment(told.at),
    }


def event(of: str, row: EventRow, names: Sequence[str]) -> Shape:
    """One entry of the history of the pipeline ``of``, whose tasks are called ``names``."""
    about = f"{names[row.idx]}: " if row.idx is not None and row.idx < len(names) else ""
    again = f" (attempt {row.attempt})" if row.attempt and row.attempt > 1 else ""
    return {
        "id": f"{of}.{row.seq}",
        "eventType": "Warning" if row.type in WARNINGS else "Normal",
        "reason": row.type,
        "source": "odin",
        "message": f"{about}{row.message or row.type}{again}",
        "timestamp": moment(row.at),
    }
