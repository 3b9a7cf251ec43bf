"""Builds what tests are about: tasks, pipelines in a world, and a world that is driven by hand."""

from __future__ import annotations

from typing import Any

from odin.model.admission import Pool
from odin.model.commands import Built, Event, Halt, Submit, Tick
from odin.model.ids import AttemptId, JobPath, PipelineId, Sha
from odin.model.job import TaskSpec
from odin.model.reports import Absent, Away, Back, Ended, Reason, Started
from odin.model.states import Stop
from odin.model.step import step
from odin.model.world import Pipeline, Submission, Task, World

SHA = Sha("a" * 40)


def spec(name: str, *depends: str, **fields: Any) -> TaskSpec:
    return TaskSpec(name, ("/bin/true",), depends=depends, **fields)


def submission(*specs: TaskSpec, id: str = "job-00000001", built: bool = True, **fields: Any) -> Submission:
    return Submission(
        PipelineId(id), "job", JobPath("job"), SHA, "ada", 1, specs, fields.pop("at", 1000.0), built=built, **fields
    )


class Sim:
    """One world under a clock that moves when told. Tasks are named; the newest pipeline is meant."""

    def __init__(self, *, cpus: float = 16, cards: tuple[str, ...] = (), here: bool = True) -> None:
        self.now = 1000.0
        self.world = World(Pool(int(cpus * 1000), cards))
        self.launched: list[AttemptId] = []
        self.stopped: list[AttemptId] = []
        self.pipelines: dict[str, Pipeline] = {}
        if here:
            self.send(Back())

    def send(self, *events: Event) -> None:
        step(self.world, events, self.now)
        due = self.world.take_due()
        self.due = due
        self.launched += [pipeline.attempt_id(task) for pipeline, task, _ in due.launch]
        self.stopped += [pipeline.attempt_id(task) for pipeline, task, _ in due.stop]

    def submit(self, *specs: TaskSpec, **fields: Any) -> Pipeline:
        made = submission(*specs, at=self.now, **fields)
        self.send(Submit(made))
        pipeline = self.world.changes.pipelines[made.id]
        self.pipeline = self.pipelines[made.id] = pipeline
        return pipeline

    def built(self, error: str | None = None) -> None:
        self.send(Built(self.pipeline.id, error))

    def task(self, name: str) -> Task:
        return next(task for task in self.pipeline.tasks if task.spec.name == name)

    def attempt(self, name: str) -> AttemptId:
        return self.pipeline.attempt_id(self.task(name))

    def start(self, *names: str) -> None:
        self.send(*(Started(self.attempt(name), self.now) for name in names))

    def end(self, name: str, code: int | None = 0, reason: Reason = Reason.EXIT, message: str = "") -> None:
        self.send(Ended(self.attempt(name), code, reason, self.now, message, started_at=self.now))

    def absent(self, name: str) -> None:
        self.send(Absent(self.attempt(name)))

    def away(self) -> None:
        self.send(Away("the runner is gone"))

    def back(self) -> None:
        self.send(Back())

    def halt(self, cause: Stop = Stop.CANCEL) -> None:
        self.send(Halt(self.pipeline.id, cause, "cancelled by ada"))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.send(Tick())

    def statuses(self) -> dict[str, str]:
        return {task.spec.name: task.status.value for task in self.pipeline.tasks}

    def history(self) -> list[str]:
        """Types of the newest pipeline's events, with the task's name."""
        names = {task.idx: task.spec.name for task in self.pipeline.tasks}
        return [
            f"{event.type} {names[event.idx]}" if event.idx is not None else event.type
            for event in self.world.changes.events
            if event.pipeline == self.pipeline.id
        ]
