"""From a pipeline that is over to the one that goes on from it: what is kept, as the new one's rows will have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from odin.engine.layout import Layout
from odin.jobs.repository import Repository
from odin.jobs.values import MAINS, Rendered
from odin.model import resume
from odin.model.errors import Conflict, NotFound
from odin.model.ids import PipelineId, Sha
from odin.model.job import TaskSpec
from odin.model.reports import Reason
from odin.model.resume import Action, Choice, Former, Plan
from odin.model.states import AttemptState, Stop, TaskStatus
from odin.model.world import Attempt, Kept
from odin.store.queries import AttemptView, PipelineView, Queries, TaskView

HEAD = "HEAD"
MOST_FILES = 5  # that a sentence names


@dataclass(frozen=True, slots=True)
class Again:
    """How to go on. ``at``: the job as it was then (None), as it is now (``HEAD``), or as at a commit.

    ``context`` is put over the earlier one.
    """

    choice: Choice = field(default_factory=Choice)
    at: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def version(self, view: PipelineView) -> Sha | None:
        """None is the newest commit."""
        return None if self.at == HEAD else Sha(self.at or view.version)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a resumption would do; ``warnings`` are sentences for who asks."""

    pipeline: str
    job: str
    version: str
    plan: Plan
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resumption:
    """One pipeline that is resumed."""

    view: PipelineView
    again: Again
    layout: Layout
    queries: Queries
    repository: Repository

    def plan(self, tasks: Sequence[TaskSpec]) -> Plan:
        """Raises as ``resume.plan``."""
        view = self.view
        has_files = self.layout.run(PipelineId(view.id)).is_dir()
        formers = [Former(task.spec, TaskStatus(task.status), _origin(view, task), has_files) for task in view.tasks]
        return resume.plan(view.id, formers, tasks, self.again.choice)

    def kept(self, plan: Plan) -> dict[str, Kept]:
        """What the new pipeline's rows say, by name, of the tasks that it does not run."""
        known = {task.name: task for task in self.view.tasks}
        attempts = self.queries.attempts(self.view.id) if plan.of(Action.KEEP) else {}
        found: dict[str, Kept] = {}
        for step in plan.steps:
            if step.action is Action.KEEP:
                task = known[step.task]
                found[step.task] = _kept(self.view, task, step.why, attempts.get(task.idx, ()))
            elif step.action is Action.SKIP:
                found[step.task] = Kept(PipelineId(self.view.id), TaskStatus.SKIPPED, step.why)
        return found

    def notes(self, plan: Plan, at: Sha, rendered: Rendered) -> list[str]:
        """What people should know of files that have changed; definitions of tasks are compared by the plan."""
        then, job = Sha(self.view.version), self.view.job
        found = []
        if plan.of(Action.KEEP):
            before = self.queries.rendered(self.view.id)
            files = {*self.repository.changes(job, then, at), *_differing(before, rendered.files)}.difference(MAINS)
            if files:
                found.append(f"the tasks that are kept ran with other versions of {_listed(files)}")
        if self.again.at is None:
            with suppress(NotFound):  # there is no such job any more
                if changed := self.repository.changes(job, then, self.repository.head()):
                    found.append(f"this runs the job as it was; since then {_listed(changed)} changed (--at HEAD)")
        return found


def check_over(view: PipelineView) -> None:
    """Raises Conflict for a pipeline that still runs, or is being removed."""
    if view.outcome is None:
        raise Conflict(f"the pipeline {view.id} still runs; wait for its end, or cancel it first")
    if view.deleting is not None:
        raise Conflict(f"the pipeline {view.id} is being cleaned up; try again when that is done")


def _origin(view: PipelineView, task: TaskView) -> PipelineId:
    return PipelineId(task.origin or view.id)


def _kept(view: PipelineView, task: TaskView, why: str, attempts: Sequence[AttemptView]) -> Kept:
    return Kept(
        _origin(view, task),
        TaskStatus(task.status),
        why,
        exit_code=task.exit_code,
        submitted_at=task.submitted_at,
        started_at=task.started_at,
        completed_at=task.completed_at,
        attempts=tuple(map(_attempt, attempts)),
    )


def _attempt(view: AttemptView) -> Attempt:
    return Attempt(
        view.number,
        view.planned_at,
        state=AttemptState(view.state),
        cards=view.cards,
        stop=Stop(view.stop) if view.stop else None,
        started_at=view.started_at,
        ended_at=view.ended_at,
        exit_code=view.exit_code,
        reason=Reason(view.reason) if view.reason else None,
        message=view.message or "",
        cpu_s=view.cpu_s,
        rss_kb=view.rss_kb,
        log_bytes=view.log_bytes,
        node=view.node,
        memory_bytes=view.memory_bytes,
    )


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _listed(files: set[str] | list[str]) -> str:
    shown = sorted(files)
    more = f" and {len(shown) - MOST_FILES} more" if len(shown) > MOST_FILES else ""
    return ", ".join(shown[:MOST_FILES]) + more
