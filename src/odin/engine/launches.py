"""From a planned attempt to what an executor is given: variables expanded, environment and folders named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from odin.executors.protocol import Origin, TaskLaunch
from odin.model import retries
from odin.model.ids import JobPath, PipelineId, Sha, TaskId, task_id
from odin.model.job import TaskSpec
from odin.model.variables import expand_task
from odin.model.world import Attempt, Pipeline, Task


class Paths(Protocol):
    """Where a task finds things in one place; ``odin.engine.layout.Layout`` is that of this machine."""

    def values(
        self, pipeline: PipelineId, version: Sha, job: JobPath, task: str, *, own_work: bool = False
    ) -> dict[str, str]:
        """What the variables of job-files.md stand for in a task, without ``TASK_IDS``."""

    def files(self, pipeline: PipelineId, attempt: str) -> dict[str, str]:
        """The files of a pipeline that its tasks are told of."""


@dataclass(frozen=True, slots=True)
class Launches:
    """Builds launches for one place. ``mounts`` maps mount paths of job files to folders of this machine."""

    layout: Paths
    mounts: Mapping[str, str] = field(default_factory=dict)

    def build(self, pipeline: Pipeline, task: Task, attempt: Attempt) -> TaskLaunch:
        """Raises ValidationFailed when an expanded string is too large to be handed to a process."""
        values = self.values(pipeline, task)
        spec = expand_task(retries.grown(task.spec, task.spent), values)
        name = pipeline.attempt_id(task)
        env = {key: self._mapped(value) for key, value in spec.env.items()}
        own = {f"ODIN_{key}": value for key, value in values.items() if key != "TASK_IDS"}
        env |= own | self.layout.files(pipeline.id, name) | {"ODIN_ATTEMPT": str(attempt.number)}
        return TaskLaunch(
            attempt=name,
            fence=pipeline.fence,
            argv=tuple(self._mapped(item) for item in (*spec.command, *spec.args)),
            env=env,
            work=values["TASK_PATH"],
            make=(values["TASK_PATH"],),
            timeout_s=spec.timeout_s,
            grace_s=spec.grace_s,
            spec=spec,
            origin=_origin(pipeline, task, attempt),
            cards=attempt.cards,
        )

    def values(self, pipeline: Pipeline, task: Task) -> dict[str, str]:
        """What the variables of job-files.md stand for in this task."""
        values = self.layout.values(
            pipeline.id, pipeline.version, pipeline.job, task.spec.name, own_work=pipeline.own_work
        )
        if _asks_for_ids(task.spec):
            values["TASK_IDS"] = ",".join(_ids(pipeline))
        return values

    def _mapped(self, text: str) -> str:
        """The text, moved if it is a path at or below a mapped mount path."""
        for path, folder in self.mounts.items():
            if text == path or text.startswith(path + "/"):
                return folder + text[len(path) :]
        return text


def _origin(pipeline: Pipeline, task: Task, attempt: Attempt) -> Origin:
    return Origin(
        pipeline=pipeline.id,
        task=task.spec.name,
        number=attempt.number,
        job=pipeline.job,
        version=pipeline.version,
        user=pipeline.username,
        own_work=pipeline.own_work,
    )


def _asks_for_ids(spec: TaskSpec) -> bool:
    """Only who asks pays for the list: it grows with the pipeline."""
    texts = (*spec.command, *spec.args, *spec.inputs, *spec.env.values(), *spec.outputs.values())
    return any("TASK_IDS" in text for text in texts)


def _ids(pipeline: Pipeline) -> list[TaskId]:
    return [task_id(pipeline.id, task.spec.name) for task in pipeline.tasks]
