"""What the variables of job files stand for inside a pod, and which tasks need a data claim for theirs.

With a claim that holds ``ODIN_SHARED`` every pod has its commit's checkout at ``/odin/root`` and its pipeline's folder
at ``/odin/run``; without, the delivered files at ``/odin/root`` and a ``/odin/run`` that begins empty and ends with the
pod. Source: kubernetes.md, "Files, values and tokens in pods"; job-files.md, "Variables".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from odin.model.errors import Problem
from odin.model.ids import JobPath, PipelineId, Sha, task_id
from odin.model.job import Job, TaskSpec
from odin.model.names import shown

OWN: Final = "/odin"
ROOT: Final = f"{OWN}/root"
RUN: Final = f"{OWN}/run"
DATA: Final = f"{OWN}/data"
OUTPUTS: Final = f"{OWN}/outputs"  # the termination message: 4,096 bytes that the kubelet reads when the task ends
OWN_FOLDER: Final = ".odin"
TASK_IDS: Final = f"{OWN_FOLDER}/task_ids"
WORK: Final = f"{OWN_FOLDER}/work"
REMEDY: Final = "set ODIN_DATA_CLAIM to a claim that all pods can mount"

_NAMED: Final = re.compile(
    r"\$(?:\$|\{(?:ODIN_)?(?P<braced>ROOT|WORK|DATA|RUN|TASK)_PATH\}|(?:ODIN_)?(?P<bare>ROOT|WORK|DATA|RUN|TASK)_PATH\b)"
    r"(?P<rest>(?:/[^\s/:;,|&<>()\"'`$]*)*)"
)


@dataclass(frozen=True, slots=True)
class PodPaths:
    """As ``odin.engine.layout.Layout`` for this machine. ``has_claim``: the shared folder is on a claim."""

    has_claim: bool

    def values(
        self,
        pipeline: PipelineId,
        version: Sha,  # noqa: ARG002 - each pod sees one checkout alone
        job: JobPath,
        task: str,
        *,
        own_work: bool = False,
    ) -> dict[str, str]:
        """What the variables stand for in a task, without ``TASK_IDS``."""
        return {
            "ROOT_PATH": ROOT,
            "WORK_PATH": f"{RUN}/{WORK}" if own_work and self.has_claim else f"{ROOT}/{job}",
            "DATA_PATH": DATA,
            "RUN_PATH": RUN,
            "TASK_PATH": f"{RUN}/{task}",
            "PIPE_ID": str(pipeline),
            "TASK_ID": task_id(pipeline, task),
            "TASK_NAME": task,
        }

    def files(self, pipeline: PipelineId, attempt: str) -> dict[str, str]:  # noqa: ARG002 - a pod has its own
        """The files that a task is told of."""
        return {
            "ODIN_TASK_IDS_FILE": f"{RUN if self.has_claim else ROOT}/{TASK_IDS}",
            "ODIN_OUTPUTS": OUTPUTS,
        }


def texts(task: TaskSpec) -> Iterator[str]:
    """All that may name a path."""
    yield from task.command
    yield from task.args
    yield from task.env.values()
    yield from task.inputs
    yield from task.outputs.values()
    yield from (mount.path for mount in task.mounts)


def names_data(task: TaskSpec) -> bool:
    """Whether an expanded task names the folder of all pipelines."""
    return any(DATA in text or "ODIN_DATA_PATH" in text for text in texts(task))


def refusals(job: Job, root_files: Collection[str]) -> list[Problem]:
    """What cannot run without a data claim, each with the remedy; of the job as written, variables in place.

    ``root_files`` are the names of the files at the repository's root: they are delivered with the job's folder.
    """
    tasks = {task.name for task in job.tasks}
    wants = [list(dict.fromkeys(_wants(task, job.path))) for task in job.tasks]
    sharing = sum(any(want.is_shared_by(tasks) for want in of) for of in wants)
    found: list[Problem] = []
    for idx, (task, of) in enumerate(zip(job.tasks, wants, strict=True)):
        faults = (want.fault(tasks, job.path, root_files, sharing) for want in of)
        found += (
            Problem(f'task "{task.name}" {fault}; {REMEDY}', path=f"tasks[{idx}]", file="main.yml")
            for fault in dict.fromkeys(faults)
            if fault
        )
    return found


@dataclass(frozen=True, slots=True)
class _Want:
    """A path that a task names: ``below`` is normal and relative to the folder of ``variable`` (ROOT, RUN, DATA)."""

    task: str
    written: str
    variable: str
    below: str

    def is_shared_by(self, tasks: set[str]) -> bool:
        """Whether it names a part of the run folder that is no task's."""
        return self.variable == "RUN" and self._first != self.task and self._first not in tasks

    def fault(self, tasks: set[str], job: str, root_files: Collection[str], sharing: int) -> str | None:
        if self.variable == "DATA" or self._first == "..":
            return f"names {shown(self.written)}, which no pod has"
        if self.variable == "RUN":
            return self._run_fault(tasks, sharing)
        if self._is_delivered(job, root_files):
            return None
        return f"names {shown(self.written)}, which is neither in the job's folder nor a file at the repository's root"

    def _run_fault(self, tasks: set[str], sharing: int) -> str | None:
        if self._first == self.task:
            return None
        if self._first in tasks:
            return f'names {shown(self.written)}, a folder of the task "{self._first}", which ends with its pod'
        if sharing > 1:
            return f"names {shown(self.written)} as other tasks do, but each pod has its own, which ends with it"
        return None

    def _is_delivered(self, job: str, root_files: Collection[str]) -> bool:
        inside = f"{self.below}/".startswith(f"{job}/") or f"{job}/".startswith(f"{self.below}/")
        return self.below == "." or inside or self.below in root_files

    @property
    def _first(self) -> str:
        return self.below.split("/", 1)[0]


def _wants(task: TaskSpec, job: str) -> Iterator[_Want]:
    starts = {"ROOT": ("ROOT", ""), "WORK": ("ROOT", job), "DATA": ("DATA", ""), "RUN": ("RUN", "")}
    starts["TASK"] = ("RUN", task.name)
    for text in texts(task):
        if "$" not in text:
            continue
        for found in _NAMED.finditer(text):
            named = found["braced"] or found["bare"]
            if named:
                variable, start = starts[named]
                yield _Want(task.name, found[0], variable, posixpath.normpath(f"./{start}{found['rest']}"))
