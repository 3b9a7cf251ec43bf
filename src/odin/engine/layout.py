"""Where things lie that tasks see: ``checkouts/<sha>`` and ``runs/<pipeline id>`` below ``ODIN_SHARED``.

Source: architecture.md, "Folders"; job-files.md, "Variables".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from odin.model.ids import JobPath, PipelineId, Sha, TaskId, task_id

OWN_FOLDER = ".odin"
TASK_IDS = "task_ids"
OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one shared folder."""

    shared: Path

    @property
    def runs(self) -> Path:
        return self.shared / "runs"

    @property
    def trash(self) -> Path:
        return self.shared / ".trash"

    def run(self, pipeline: PipelineId) -> Path:
        return self.runs / pipeline

    def task(self, pipeline: PipelineId, task: str) -> Path:
        return self.run(pipeline) / task

    def checkout(self, version: Sha) -> Path:
        return self.shared / "checkouts" / version

    def work(self, version: Sha, job: JobPath) -> Path:
        return self.checkout(version) / job

    def task_ids(self, pipeline: PipelineId) -> Path:
        return self.run(pipeline) / OWN_FOLDER / TASK_IDS

    def outputs(self, pipeline: PipelineId, attempt: str) -> Path:
        return self.run(pipeline) / OWN_FOLDER / OUTPUTS / f"{attempt}.json"


def begin_run(layout: Layout, pipeline: PipelineId, tasks: Iterable[str]) -> list[TaskId]:
    """Make a pipeline's folder with the file of its task ids; may be repeated."""
    ids = [task_id(pipeline, task) for task in tasks]
    path = layout.task_ids(pipeline)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    (path.parent / OUTPUTS).mkdir(exist_ok=True)
    path.write_text("".join(f"{each}\n" for each in ids))
    return ids


def take_back_run(layout: Layout, pipeline: PipelineId) -> None:
    """Remove what ``begin_run`` made, and nothing else: for a pipeline that was never accepted."""
    path = layout.task_ids(pipeline)
    path.unlink(missing_ok=True)
    for folder in (path.parent / OUTPUTS, path.parent, layout.run(pipeline)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
