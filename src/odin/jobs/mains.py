"""The main.yml of jobs, parsed, each content once, and what is wrong with a job before it is launched."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

from odin.jobs.objects import Git, blob, blob_sha, blob_size, find
from odin.jobs.templates import Templates
from odin.jobs.values import MAIN, MAX_FILE_BYTES
from odin.model import jobfile
from odin.model.errors import Problem, TooLarge, ValidationFailed
from odin.model.ids import JobPath
from odin.model.job import Job

REMEMBERED = 256
MAX_PROBLEMS = 100


class Mains:
    """Parses main.yml files and remembers the good ones by name and content. Safe to share between threads."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, str], Job] = OrderedDict()

    def parse(self, path: str, content: bytes, oid: str | None = None, *, file: str = MAIN) -> Job:
        """The job whose main.yml has these bytes. Raises ValidationFailed with every problem of ``file``."""
        key = (f"{path}/{file}", oid or blob_sha(content))
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        job = jobfile.parse(content, path=JobPath(path), file=f"{path}/{file}")
        with self._lock:
            self._known[key] = job
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return job

    def stored(self, git: Git, path: str, oid: str) -> Job:
        """The same for a blob of the repository."""
        with self._lock:
            known = self._known.get((f"{path}/{MAIN}", oid))
        if known is not None:
            return known
        if (size := blob_size(git, oid)) > MAX_FILE_BYTES:
            raise TooLarge(f"{path}/{MAIN} has {size} bytes; at most {MAX_FILE_BYTES} are allowed")
        return self.parse(path, blob(git, oid), oid)

    def problems(self, git: Git, jobs: Mapping[str, str]) -> list[Problem]:
        """What is wrong with jobs, given as folder to id of its tree; a main.yml that is a template as far as known."""
        found: list[Problem] = []
        for path, tree in jobs.items():
            main = find(git, tree, MAIN)
            try:
                if main is not None and main.is_file:
                    self.stored(git, path, main.oid)
            except ValidationFailed as error:
                found += error.problems or (Problem(error.detail, file=f"{path}/{MAIN}"),)
            found += self._templates.problems(git, path, tree)
            if len(found) >= MAX_PROBLEMS:
                break
        return found
