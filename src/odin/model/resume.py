"""What a resumed pipeline runs again, what it keeps of the one before it, and why. Pure.

A task is kept where it ended well, is still defined as it was, and its files are there; who waits for one that runs
again runs again too. Source: job-files.md; api.md, ``POST /v1/pipelines/{id}/rerun``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from odin.model.errors import Conflict, NotFound
from odin.model.graph import order
from odin.model.ids import PipelineId
from odin.model.job import TaskSpec
from odin.model.names import nearest, shown
from odin.model.states import TaskStatus

# What a task computes. Another budget, time limit or place to run in is no reason to compute it again.
DEFINING: Final = (
    "command",
    "args",
    "depends",
    "image",
    "env",
    "mounts",
    "num_gpus",
    "num_workers",
    "resource_type",
    "inputs",
    "outputs",
)
DEFINING_IN_CLUSTERS: Final = ("secrets", "config_maps")
_BEFORE: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.FAILED: "it failed",
    TaskStatus.TERMINATED: "it was stopped",
}


class Action(StrEnum):
    KEEP = "keep"
    RUN = "run"
    SKIP = "skip"  # left out by choice


@dataclass(frozen=True, slots=True)
class Choice:
    """What to run again: ``everything``; ``start`` and all behind it; ``only`` one task. None of them: what must."""

    everything: bool = False
    start: str | None = None
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Former:
    """A task of the pipeline that is resumed; ``origin`` is the one that it last ran in, which may be an earlier one.

    ``has_files``: what it wrote has not been removed.
    """

    spec: TaskSpec
    status: TaskStatus
    origin: PipelineId
    has_files: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one task, and why in a few words for people."""

    task: str
    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the job's file. ``gone`` are tasks that the job has no more."""

    steps: tuple[Step, ...]
    gone: tuple[str, ...]

    def of(self, action: Action) -> tuple[str, ...]:
        return tuple(step.task for step in self.steps if step.action is action)


def plan(pipeline: str, formers: Sequence[Former], tasks: Sequence[TaskSpec], choice: Choice) -> Plan:
    """How the ``tasks`` of the job go on from where ``pipeline`` ended.

    Raises NotFound for a chosen task that the job does not have, Conflict where nothing would run, or where ``only``
    cannot stand on what was there before.
    """
    known = {former.spec.name: former for former in formers}
    names = [task.name for task in tasks]
    for chosen in (choice.start, choice.only):
        if chosen is not None and chosen not in names:
            raise NotFound(f"the job has no task {shown(chosen)}", near=nearest(chosen, names))
    own = {task.name: _own_reason(task, known.get(task.name), choice) for task in tasks}
    steps = _alone(tasks, known, own, choice.only) if choice.only else _onwards(tasks, known, own)
    made = Plan(tuple(steps[name] for name in names), tuple(name for name in known if name not in own))
    if not made.of(Action.RUN):
        raise Conflict(
            f"nothing of {pipeline} needs to run again: every task ended well and is defined as it was;"
            f" name a task to run again from (odin-resume --from TASK), or run all of them (--all)"
        )
    return made


def _own_reason(task: TaskSpec, former: Former | None, choice: Choice) -> str | None:
    """Why it runs again, whatever others do; None where it can be kept. Ordered, the first counts."""
    if choice.everything or task.name in (choice.start, choice.only):
        return "asked for"
    if former is None:
        return "new in the job"
    if former.status is not TaskStatus.EXECUTED:
        return _BEFORE.get(former.status, "it did not run")
    if changed := differences(former.spec, task):
        return f"changed: {', '.join(changed)}"
    return None if former.has_files else "its files were removed"


def differences(before: TaskSpec, now: TaskSpec) -> list[str]:
    """The fields by which two definitions compute something else."""
    found = [name for name in DEFINING if getattr(before, name) != getattr(now, name)]
    return found + [name for name in DEFINING_IN_CLUSTERS if before.cluster.get(name) != now.cluster.get(name)]


def _onwards(tasks: Sequence[TaskSpec], known: Mapping[str, Former], own: Mapping[str, str | None]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for idx in order(tasks):
        task = tasks[idx]
        after = next((name for name in task.depends if steps[name].action is Action.RUN), None)
        reason = own[task.name] or (f"follows {after}" if after else None)
        steps[task.name] = Step(task.name, Action.RUN, reason) if reason else _kept(known[task.name])
    return steps


def _kept(former: Former) -> Step:
    return Step(former.spec.name, Action.KEEP, f"kept from {former.origin}")


def _alone(
    tasks: Sequence[TaskSpec], known: Mapping[str, Former], own: Mapping[str, str | None], only: str
) -> dict[str, Step]:
    """One task runs; of the others what can be kept is kept, and the rest left out."""
    depends = next(task.depends for task in tasks if task.name == only)
    missing = [(name, own[name]) for name in depends if own[name] is not None]
    if missing:
        name, why = missing[0]
        raise Conflict(
            f"{shown(only)} cannot run alone: it depends on {shown(name)}, which cannot be kept ({why});"
            f" run again from {shown(name)} instead"
        )
    steps = {only: Step(only, Action.RUN, "asked for")}
    for name, why in own.items():
        if name != only:
            steps[name] = _kept(known[name]) if why is None else Step(name, Action.SKIP, f"left out: {why}")
    return steps
