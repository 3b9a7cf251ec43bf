"""Work folders of pipelines whose job has templates: the job's folder with the rendered files in their place.

Such a folder lies where tasks can write, beside what they made. It is reached by descriptors and through no link,
and everything in it can be made again: from the commit, and from the rows that hold the rendered files. So it is not
synced, like a checkout: after a restart of the machine it is compared with them before anything uses it again.
Source: architecture.md, "Jobs"; reliability.md, A-05.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pygit2

from odin.faults import reach
from odin.jobs.failures import translated
from odin.jobs.folders import FOLDER, remove, same_content, write_folder
from odin.jobs.objects import find, tree_of
from odin.jobs.repository import Repository
from odin.jobs.values import TEMPLATE_SUFFIX
from odin.model.errors import NotFound
from odin.model.ids import JobPath, Sha

HALF_MADE = "work.new"


class WorkFolders:
    """Makes them, one at a time: a pipeline that was read back may be built twice at once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._turn = Lock()

    def ensure(self, version: Sha, job: JobPath, rendered: Mapping[str, str], path: Path, *, below: Path) -> None:
        """Make the folder ``path``, whose parent exists and lies below ``below``; may be repeated.

        It stands whole or not at all, read-only. One that stands already stays if it is what it should be, else it
        goes, even if no other can take its place.
        Raises NotFound for a job that the commit does not have, Unavailable, NoSpace.
        """
        instead = {f"{name}{TEMPLATE_SUFFIX}": text.encode() for name, text in rendered.items()}
        with self._turn, translated(below), _opened(below, path.parent) as parent:
            git = pygit2.Repository(str(self._repository.path))
            folder = find(git, tree_of(git, version), job)
            if folder is None or not folder.is_folder:
                raise NotFound(f"no job {job} in the commit {version}")
            if same_content(git, folder.oid, parent, path.name, instead=instead):
                return
            for name in (path.name, HALF_MADE):
                remove(name, parent)
            write_folder(git, folder.oid, parent, HALF_MADE, instead=instead)
            reach("work:half-made")
            os.rename(HALF_MADE, path.name, src_dir_fd=parent, dst_dir_fd=parent)
            reach("work:done")


@contextmanager
def _opened(below: Path, path: Path) -> Iterator[int]:
    """The folder ``path`` as a descriptor; none of its names below ``below`` may be a link."""
    descriptor = os.open(below, FOLDER)
    try:
        for name in path.relative_to(below).parts:
            inner = os.open(name, FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)
