"""What a pipeline's tasks are given where they see no checkout: the job's folder and the files at the root.

Read from git's objects, so that no checkout is needed. Rendered files stand in the place of their templates.
Source: kubernetes.md, "Files, values and tokens in pods".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pygit2

from odin.jobs.failures import translated
from odin.jobs.objects import EXECUTABLE, Entry, Git, blob, blob_size, entries, find, tree_of, walk
from odin.jobs.repository import Repository
from odin.jobs.values import TEMPLATE_SUFFIX
from odin.model.errors import NotFound
from odin.model.ids import JobPath, Sha


class Deliveries:
    """Safe to share between threads. Paths are relative to the repository's root."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def sizes(self, version: Sha, job: JobPath, rendered: Mapping[str, str]) -> dict[str, int]:
        """Bytes of each file, without reading it. Raises NotFound, Unavailable."""
        with translated(self._repository.path):
            git = self._git()
            made = _made(job, rendered)
            found = _named(git, version, job, made)
            return {path: len(made[path]) if path in made else blob_size(git, entry.oid) for path, entry in found}

    def files(self, version: Sha, job: JobPath, rendered: Mapping[str, str]) -> dict[str, tuple[bytes, bool]]:
        """Each file's content and whether it is executable; ``sizes`` says before how much that is."""
        with translated(self._repository.path):
            git = self._git()
            made = _made(job, rendered)
            return {
                path: (made[path] if path in made else blob(git, entry.oid), entry.mode == EXECUTABLE)
                for path, entry in _named(git, version, job, made)
            }

    def root_files(self, version: Sha) -> list[str]:
        """The names of the files at the root, in git's order."""
        with translated(self._repository.path):
            git = self._git()
            return [entry.text for entry in entries(git, tree_of(git, version)) if entry.is_file]

    def _git(self) -> Git:
        return pygit2.Repository(str(self._repository.path))


def _made(job: JobPath, rendered: Mapping[str, str]) -> dict[str, bytes]:
    return {f"{job}/{name}": text.encode() for name, text in rendered.items()}


def _named(git: Git, version: Sha, job: JobPath, made: Mapping[str, bytes]) -> Iterator[tuple[str, Entry]]:
    """Every file under the name that it is delivered with."""
    tree = tree_of(git, version)
    folder = find(git, tree, job)
    if folder is None or not folder.is_folder:
        raise NotFound(f"no job {job} in the commit {version}")
    yield from ((entry.text, entry) for entry in entries(git, tree) if entry.is_file)
    for path, entry in walk(git, folder.oid, f"{job}/"):
        if entry.is_file:
            final = path.removesuffix(TEMPLATE_SUFFIX)
            yield (final if final in made else path), entry
