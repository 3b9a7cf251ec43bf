"""What a job asks for that this machine cannot give: refused at launch, with what it has. Source: job-files.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from odin.model.errors import NotSupported, Problem, ValidationFailed
from odin.model.ids import Sha
from odin.model.job import Job, TaskSpec

Lacks = Callable[[TaskSpec], str | None]


class Check(Protocol):
    """What a place says of a job before it is launched. May block."""

    def waits(self) -> str | None:
        """Why no job can be judged yet; None once one can."""

    def __call__(self, job: Job, version: Sha, rendered: Mapping[str, str], lacks: Lacks) -> Sequence[str]:
        """Warnings. Raises ValidationFailed naming what it cannot give, Unavailable while that is not known.

        ``rendered`` is what templates became.
        """


@dataclass(frozen=True, slots=True)
class Machine:
    """The check of this machine; ``mounts`` as in ``Launches``."""

    mounts: Mapping[str, str] = field(default_factory=dict)

    def waits(self) -> str | None:
        return None

    def __call__(self, job: Job, version: Sha, rendered: Mapping[str, str], lacks: Lacks) -> Sequence[str]:
        del version, rendered  # a machine has all of the checkout
        check_place(job, self.mounts, lacks)
        return ignored(job)


def check_job(job: Job) -> None:
    """Raises ValidationFailed for a job without tasks, NotSupported for what Odin cannot do yet."""
    if not job.tasks:
        raise ValidationFailed(f'the job "{job.path}" has no tasks; add some to its main.yml')
    if job.unsupported:
        first = job.unsupported[0]
        raise NotSupported(f"Odin cannot do this yet: {first.message}", problems=job.unsupported)


def check_place(job: Job, mounts: Mapping[str, str], lacks: Lacks) -> None:
    """Raises ValidationFailed naming each task that asks for more than the machine has."""
    problems = [
        Problem(message, path=f"tasks[{idx}]", file="main.yml")
        for idx, task in enumerate(job.tasks)
        for message in _lacking(task, mounts, lacks)
    ]
    if problems:
        raise ValidationFailed(problems[0].message, problems=problems)


def _lacking(task: TaskSpec, mounts: Mapping[str, str], lacks: Lacks) -> Iterator[str]:
    if task.num_workers > 1:
        yield (
            f'task "{task.name}" is a {task.resource_type} of {task.num_workers} workers and one machine runs one; '
            f"set num_workers to 1, or run the job in a cluster"
        )
    lack = lacks(task)
    if lack is not None:
        yield f'task "{task.name}" cannot run here: {lack}'
    for what, path in _paths(task):
        if not _there(path, mounts):
            yield (
                f'task "{task.name}" needs the {what} at {path}, which this machine does not have; '
                f"make that folder, or map it in odin.toml under [local.mounts]"
            )


def _paths(task: TaskSpec) -> Iterator[tuple[str, str]]:
    for mount in task.mounts:
        if mount.claim is not None:
            yield f'mount "{mount.name}"', mount.path
    for listed, what in (("secrets", "secret"), ("config_maps", "config map")):
        for entry in task.cluster.get(listed) or ():
            yield f'{what} "{_field(entry, "name")}"', _field(entry, "path")


def _field(entry: Any, name: str) -> str:
    return str(entry.get(name, "")) if isinstance(entry, Mapping) else ""


def _there(path: str, mounts: Mapping[str, str]) -> bool:
    mapped = any(path == mount or path.startswith(mount + "/") for mount in mounts)
    return mapped or "$" in path or Path(path).exists()


def ignored(job: Job) -> list[str]:
    """One warning for all that only a cluster knows and this machine ignores."""
    names = {name for task in job.tasks for name in task.cluster if name not in ("secrets", "config_maps")}
    if any(task.image for task in job.tasks):
        names.add("image")
    if any(task.resource_type != "Pod" for task in job.tasks):
        names.add("resource_type")
    if not names:
        return []
    return [f"this machine runs commands as they are and ignores: {', '.join(sorted(names))}"]
