"""The main.yml of jobs, parsed, each content once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from odin.jobs.objects import Git, blob, blob_sha, blob_size, entries
from odin.jobs.values import MAIN, MAX_FILE_BYTES, TEMPLATE_SUFFIX
from odin.model import jobfile
from odin.model.errors import Problem, TooLarge, ValidationFailed
from odin.model.ids import JobPath
from odin.model.job import Job

REMEMBERED = 256
MAX_PROBLEMS = 100


class Mains:
    """Parses main.yml files and remembers the good ones by folder and content. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, str], Job] = OrderedDict()

    def parse(self, path: str, content: bytes, oid: str | None = None) -> Job:
        """The job whose main.yml has these bytes. Raises ValidationFailed with every problem of the file."""
        key = (path, oid or blob_sha(content))
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        job = jobfile.parse(content, path=JobPath(path), file=f"{path}/{MAIN}")
        with self._lock:
            self._known[key] = job
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return job

    def stored(self, git: Git, path: str, oid: str) -> Job:
        """The same for a blob of the repository."""
        with self._lock:
            known = self._known.get((path, oid))
        if known is not None:
            return known
        if (size := blob_size(git, oid)) > MAX_FILE_BYTES:
            raise TooLarge(f"{path}/{MAIN} has {size} bytes; at most {MAX_FILE_BYTES} are allowed")
        return self.parse(path, blob(git, oid), oid)

    def problems(self, git: Git, jobs: dict[str, str]) -> list[Problem]:
        """What is wrong with jobs, given as folder to id of its main.yml."""
        found: list[Problem] = []
        for path, oid in jobs.items():
            try:
                self.stored(git, path, oid)
            except ValidationFailed as error:
                found += error.problems or (Problem(error.detail, file=f"{path}/{MAIN}"),)
            if len(found) >= MAX_PROBLEMS:
                break
        return found


def with_templates(job: Job, git: Git, folder: str, prefix: str) -> Job:
    """The job, with each ``.jinja2`` file of its folder named as unsupported. Source: job-files.md, "Templates"."""
    files = [path for path in _templates(git, folder, prefix)]
    problems = tuple(
        Problem(f"templates ({TEMPLATE_SUFFIX}) are not supported yet: {file}", file=file) for file in files
    )
    return replace(job, unsupported=(*job.unsupported, *problems)) if problems else job


def _templates(git: Git, folder: str, prefix: str) -> list[str]:
    """Paths of templates in a job's folder, those of jobs nested in it left out."""
    here = entries(git, folder)
    found = [prefix + each.text for each in here if each.is_file and each.text.endswith(TEMPLATE_SUFFIX)]
    for each in here:
        if each.is_folder and not _is_job(git, each.oid):
            found += _templates(git, each.oid, f"{prefix}{each.text}/")
    return found


def _is_job(git: Git, folder: str) -> bool:
    return any(each.is_file and each.name == MAIN.encode() for each in entries(git, folder))
