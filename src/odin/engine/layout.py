"""Where things lie that tasks see: ``checkouts/<sha>`` and ``runs/<pipeline id>`` below ``ODIN_SHARED``.

Source: architecture.md, "Folders"; job-files.md, "Variables".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from odin.engine.taskuser import TaskUser, open_run
from odin.model.ids import JobPath, PipelineId, Sha, split_resource, task_id

OWN_FOLDER = ".odin"
TASK_IDS = "task_ids"
OUTPUTS = "outputs"
WORK = "work"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one shared folder; as text where each launch needs them, since ``Path`` costs it 0.3 ms.

    ``task_user`` is whom tasks run as, None where that is the server's user.
    """

    shared: Path
    task_user: TaskUser | None = None

    @property
    def passages(self) -> tuple[Path, ...]:
        """What tasks pass through on their way, outermost first."""
        return self.shared, self.checkouts, self.runs

    @property
    def checkouts(self) -> Path:
        return self.shared / "checkouts"

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

    def task_ids(self, pipeline: PipelineId) -> Path:
        return self.run(pipeline) / OWN_FOLDER / TASK_IDS

    def work(self, pipeline: PipelineId) -> Path:
        """The work folder of a pipeline whose job has templates; others work in the checkout."""
        return self.run(pipeline) / OWN_FOLDER / WORK

    def outputs(self, attempt: str) -> Path:
        """Where what an attempt said in ``$ODIN_OUTPUTS`` is kept."""
        return self.run(split_resource(attempt)[0]) / OWN_FOLDER / OUTPUTS / f"{attempt}.json"

    def values(
        self, pipeline: PipelineId, version: Sha, job: JobPath, task: str, *, own_work: bool = False
    ) -> dict[str, str]:
        """What the variables of job-files.md stand for in a task, without ``TASK_IDS``."""
        shared = str(self.shared)
        run, root = f"{shared}/runs/{pipeline}", f"{shared}/checkouts/{version}"
        return {
            "ROOT_PATH": root,
            "WORK_PATH": f"{run}/{OWN_FOLDER}/{WORK}" if own_work else f"{root}/{job}",
            "DATA_PATH": f"{shared}/runs",
            "RUN_PATH": run,
            "TASK_PATH": f"{run}/{task}",
            "PIPE_ID": str(pipeline),
            "TASK_ID": task_id(pipeline, task),
            "TASK_NAME": task,
        }

    def files(self, pipeline: PipelineId, attempt: str) -> dict[str, str]:
        """The files of a pipeline that its tasks are told of."""
        own = f"{self.shared}/runs/{pipeline}/{OWN_FOLDER}"
        return {
            "ODIN_TASK_IDS_FILE": f"{own}/{TASK_IDS}",
            "ODIN_OUTPUTS": f"{own}/{OUTPUTS}/{attempt}.json",
        }


def begin_run(layout: Layout, pipeline: PipelineId, tasks: Iterable[str], *, is_new: bool = False) -> None:
    """Make a pipeline's folder with the file of its task ids; may be repeated.

    With ``is_new`` FileExistsError if the folder is there: the id was given before.
    """
    layout.run(pipeline).mkdir(exist_ok=not is_new)
    path = layout.task_ids(pipeline)
    path.parent.mkdir(exist_ok=True)
    (path.parent / OUTPUTS).mkdir(exist_ok=True)
    path.write_text("".join(f"{task_id(pipeline, task)}\n" for task in tasks))
    if layout.task_user is not None:
        path.chmod(0o644)
        open_run(layout.run(pipeline), path.parent, path.parent / OUTPUTS, layout.task_user)


def take_back_run(layout: Layout, pipeline: PipelineId) -> None:
    """Remove what ``begin_run`` made, and nothing else: for a pipeline that was never accepted."""
    path = layout.task_ids(pipeline)
    path.unlink(missing_ok=True)
    for folder in (path.parent / OUTPUTS, path.parent, layout.run(pipeline)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
