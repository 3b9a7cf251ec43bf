"""What people and time ask of pipelines: the events of a step that are not reports of an executor."""

from __future__ import annotations

from dataclasses import dataclass

from odin.model.ids import PipelineId
from odin.model.reports import Report
from odin.model.states import Stop
from odin.model.world import Submission


@dataclass(frozen=True, slots=True)
class Submit:
    """Begin a pipeline."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Built:
    """The pipeline's checkout stands, or cannot be made: ``error`` says why."""

    pipeline: PipelineId
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop a pipeline and all that runs in it; ``message`` says who asked."""

    pipeline: PipelineId
    cause: Stop
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Submit | Built | Halt | Tick | Report
