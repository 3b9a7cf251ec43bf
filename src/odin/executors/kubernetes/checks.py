"""What a cluster says of a job before it is launched: its tasks are composed as they will be, and judged.

Source: job-files.md; reliability.md, F-37 and A-90 to A-95.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from odin.executors.kubernetes import delivery, paths, podspec
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.paths import PodPaths
from odin.executors.kubernetes.site import Site
from odin.executors.protocol import Origin, TaskLaunch
from odin.model.errors import OdinError, Problem, Unavailable, ValidationFailed
from odin.model.ids import SUFFIX_LENGTH, JobPath, Sha, attempt_id, pipeline_id, task_id
from odin.model.job import Job, TaskSpec
from odin.model.variables import expand_task

NO_SUFFIX = "0" * SUFFIX_LENGTH
Sizes = Callable[[Sha, JobPath, Mapping[str, str]], Mapping[str, int]]


class ClusterCheck:
    """``sizes`` are those of the files that a job's pods are given, ``root_files`` the names of those at the root."""

    def __init__(
        self, site: Site, manifests: Manifests, sizes: Sizes, root_files: Callable[[Sha], Sequence[str]]
    ) -> None:
        self._site = site
        self._manifests = manifests
        self._sizes = sizes
        self._root_files = root_files

    def waits(self) -> str | None:
        return None if self._manifests.is_told else "the cluster has not told yet what it serves"

    def __call__(
        self, job: Job, version: Sha, rendered: Mapping[str, str], lacks: Callable[[TaskSpec], str | None]
    ) -> Sequence[str]:
        del lacks  # a cluster may grow
        if why := self.waits():
            raise Unavailable(f"no job can be launched now: {why}")
        problems = list(self._of_tasks(job, version))
        if self._site.data_claim is None:
            problems += paths.refusals(job, self._root_files(version))
        if problems:
            raise ValidationFailed(problems[0].message, problems=problems)
        if self._site.data_claim is None:
            delivery.check(self._sizes(version, JobPath(job.path), rendered), self._site.delivered_bytes)
            delivery.check_ids((task.name for task in job.tasks), f"{pipeline_id(job.name, NO_SUFFIX)}--")
        idle = sorted({name for task in job.tasks for name in podspec.unheeded(task)})
        strangers = podspec.strangers(job.tasks, self._site)
        return [*self._manifests.said(job), *strangers, *([f"a cluster ignores: {', '.join(idle)}"] if idle else [])]

    def _of_tasks(self, job: Job, version: Sha) -> Iterator[Problem]:
        """Tasks that differ in nothing that is judged are judged once."""
        good: set[str] = set()
        for idx, task in enumerate(job.tasks):
            key = _judged(task)
            if key not in good:
                found = list(self._of_task(job, version, idx, task))
                yield from found
                if not found:
                    good.add(key)

    def _of_task(self, job: Job, version: Sha, idx: int, task: TaskSpec) -> Iterator[Problem]:
        place = f"tasks[{idx}]"
        found = podspec.refusals(task, self._site)
        yield from (Problem(message, path=place, file="main.yml") for message in found)
        if found:
            return
        try:
            self._manifests.compose(_drafted(job, version, task, self._site), None)
        except Unavailable:
            raise
        except OdinError as error:
            if not error.problems:
                yield Problem(error.detail, path=place, file="main.yml")
            yield from (Problem(f"{each.path}: {each.message}", path=place, file="main.yml") for each in error.problems)


def _judged(task: TaskSpec) -> str:
    """All of a task that a finding may depend on: its words are handed on as they are, whatever they say."""
    env = dict.fromkeys(task.env, "")
    return repr(replace(task, name="", depends=(), command=("",), args=(), env=env, inputs=(), outputs={}))


def _drafted(job: Job, version: Sha, task: TaskSpec, site: Site) -> TaskLaunch:
    """The task as it would be launched, for a pipeline that is none."""
    pipeline = pipeline_id(job.name, NO_SUFFIX)
    folders = PodPaths(has_claim=site.data_claim is not None)
    values = folders.values(pipeline, version, JobPath(job.path), task.name) | {"TASK_IDS": ""}
    spec = expand_task(task, values)
    return TaskLaunch(
        attempt_id(task_id(pipeline, task.name), 1),
        0,
        (*spec.command, *spec.args),
        dict(spec.env),
        values["TASK_PATH"],
        (),
        spec.timeout_s,
        spec.grace_s,
        spec,
        Origin(pipeline, task.name, 1, JobPath(job.path), version, "nobody"),
    )
