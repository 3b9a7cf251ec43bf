"""Reads jobs at a commit: which there are, their files, whether they may run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pygit2

from odin.jobs.births import Births
from odin.jobs.checking import TreeCheck
from odin.jobs.failures import translated
from odin.jobs.mains import Mains
from odin.jobs.objects import EXECUTABLE, Entry, Git, blob, blob_size, commit_of, find, sha_of, tree_of, walk
from odin.jobs.refs import Branch
from odin.jobs.survey import Surveyor
from odin.jobs.templates import Templates
from odin.jobs.values import MAIN, MAINS, MAX_FILE_BYTES, FileEntry, JobFolder, Rendered
from odin.model import names
from odin.model.errors import InvalidInput, NotFound, Problem, TooLarge, ValidationFailed
from odin.model.ids import JobPath, Sha
from odin.model.job import Job


class Reader:
    """The reading half of a repository; ``Repository`` says what holds for all of it."""

    def __init__(self, folder: Path, branch: Branch) -> None:
        self.path = folder
        self.branch = branch
        self._surveyor = Surveyor()
        self._templates = Templates(self._surveyor)
        self._mains = Mains(self._templates)
        self._births = Births()
        self._good_tree: str | None = None  # the last tree that passed whole

    def head(self) -> Sha:
        with translated(self.path):
            return self.branch.tip(self._git())

    def jobs(self, query: str = "", at: Sha | None = None) -> list[JobPath]:
        """Paths of the jobs whose path contains ``query``, sorted."""
        with translated(self.path):
            git = self._git()
            return self._jobs(git, self._version(git, at), query)

    def folder(self, job: str, at: Sha | None = None) -> JobFolder:
        """The job's files and age. Raises NotFound with the nearest names."""
        path = names.job_path(job)
        with translated(self.path):
            git = self._git()
            version = self._version(git, at)
            entry = self._job(git, version, path)
            born = self._births.at(git, self.branch.tip(git)).get(path)
            files = tuple(
                FileEntry(name, blob_size(git, each.oid), each.mode == EXECUTABLE)
                for name, each in walk(git, entry.oid)
                if each.is_file
            )
            return JobFolder(path, born or float(commit_of(git, version).commit_time), version, _sorted(files))

    def read(self, job: str, file: str, at: Sha | None = None) -> bytes:
        """The bytes of a job's file. Raises NotFound with the nearest names."""
        path, file = names.job_path(job), names.file_path(file)
        with translated(self.path):
            git = self._git()
            folder = self._job(git, self._version(git, at), path)
            return content_of(git, file_in(git, folder, path, file), f"{path}/{file}")

    def changes(self, job: str, before: Sha, now: Sha) -> list[str]:
        """The files of a job, by their path in it, that differ between two commits. Raises NotFound."""
        path = names.job_path(job)
        with translated(self.path):
            git = self._git()
            old, new = self._job(git, before, path).oid, self._job(git, now, path).oid
            if old == new:
                return []
            had, has = dict(walk(git, old)), dict(walk(git, new))
            return sorted(name for name in {*had, *has} if had.get(name) != has.get(name))

    def render(
        self, job: str, context: Mapping[str, Any], at: Sha | None = None, *, may_wait: bool = True
    ) -> Rendered | None:
        """The checked job, its templates filled in: the whole tree of the commit is checked, then its main.yml.

        Where there are templates this waits for a child process, and perhaps for its turn; None in that case
        without ``may_wait``. Raises ValidationFailed with every problem (those of a rendered main.yml with its
        lines), NotFound with the nearest names.
        """
        path = names.job_path(job)
        with translated(self.path):
            git = self._git()
            version = self._version(git, at)
            folder = self._job(git, version, path)
            self._check_tree(git, tree_of(git, version))
            if not self._templates.of(git, folder.oid):
                return Rendered(self._mains.stored(git, path, file_in(git, folder, path, MAIN).oid))
            if not may_wait:
                return None
            made = self._templates.render(git, path, folder.oid, context)
            if MAIN in made.files:
                return Rendered(self._main_of(path, made.files[MAIN]), made.files, made.used)
            main = self._mains.stored(git, path, file_in(git, folder, path, MAIN).oid)
            return Rendered(main, made.files, made.used)

    def _main_of(self, path: JobPath, text: str) -> Job:
        """The job of a rendered main.yml. Its errors show their lines: nobody else has seen that file."""
        try:
            return self._mains.parse(path, text.encode(), file=f"{MAIN} (rendered)")
        except ValidationFailed as error:
            problems = [_with_line(problem, text.splitlines()) for problem in error.problems]
            raise ValidationFailed(str(problems[0]) if problems else error.detail, problems=problems) from error

    def check_tree(self, at: Sha) -> None:
        """Whether that commit may be checked out. Raises ValidationFailed with every problem."""
        with translated(self.path):
            git = self._git()
            self._check_tree(git, tree_of(git, at))

    def _git(self) -> Git:
        return pygit2.Repository(str(self.path))

    def _version(self, git: Git, at: Sha | None) -> Sha:
        return self.branch.tip(git) if at is None else sha_of(at)

    def _jobs(self, git: Git, version: Sha, query: str = "") -> list[JobPath]:
        survey = self._surveyor.survey(git, tree_of(git, version))
        return sorted(JobPath(job) for job in survey.jobs if job and query in job)

    def _is_job(self, git: Git, version: Sha, path: JobPath) -> bool:
        mains = (find(git, tree_of(git, version), f"{path}/{name}") for name in MAINS)
        return any(main is not None and main.is_file for main in mains)

    def _job(self, git: Git, version: Sha, path: JobPath) -> Entry:
        """The folder of a job. Raises NotFound with the nearest names."""
        folder = find(git, tree_of(git, version), path) if self._is_job(git, version, path) else None
        if folder is None:
            raise NotFound(f"no job {path}", near=names.nearest(path, self._jobs(git, version)))
        self._surveyor.survey(git, folder.oid)
        return folder

    def _check_tree(self, git: Git, tree: str) -> None:
        if tree == self._good_tree:
            return
        check = TreeCheck(git, self._surveyor).compare(tree, self._good_tree)
        if check.problems:
            raise ValidationFailed(str(check.problems[0]), problems=check.problems)
        self._good_tree = tree


def _with_line(problem: Problem, lines: list[str]) -> Problem:
    if problem.line is None or problem.line > len(lines):
        return problem
    return replace(problem, message=f"{problem.message}; the line reads {names.shown(lines[problem.line - 1].strip())}")


def _sorted(files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
    return tuple(sorted(files, key=lambda file: file.path))


def file_in(git: Git, folder: Entry, path: JobPath, file: str) -> Entry:
    found = find(git, folder.oid, file)
    if found is None or found.is_folder:
        near = names.nearest(file, (name for name, _ in walk(git, folder.oid)))
        raise NotFound(f"the job {path} has no file {file}", near=near)
    if not found.is_file:
        raise InvalidInput(f"{path}/{file} is no regular file")
    return found


def content_of(git: Git, entry: Entry, path: str) -> bytes:
    if (size := blob_size(git, entry.oid)) > MAX_FILE_BYTES:
        raise TooLarge(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are allowed")
    return blob(git, entry.oid)
