"""What a resumed pipeline keeps of the one before it: the files and logs of the tasks that it does not run.

They are hard links, so that keeping costs no space and outlives the cleanup of either pipeline; where a file system
has none they are copies. Nothing is followed and all is named by descriptors: tasks can write in both folders.
It may be repeated, what is there stays. Nothing runs in the new folder before it is done.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from odin.engine.layout import OUTPUTS, OWN_FOLDER, Layout
from odin.faults import reach
from odin.model.errors import Conflict, Unavailable
from odin.model.ids import PipelineId, task_id
from odin.model.states import TaskStatus
from odin.model.world import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NESTED = 256  # each level holds two descriptors
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS)
Rename = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Keepsakes:
    """``logs`` holds a folder of logs for each pipeline."""

    layout: Layout
    logs: Path

    def bring(self, pipeline: Pipeline, formers: Collection[str]) -> None:
        """Put what is kept of ``pipeline.rerun_of`` into the folders of the pipeline, which stand already.

        ``formers`` are the names of that one's tasks: the folders of those that run again, or are no more, stay
        there; what else its tasks left in its folder comes along. Raises Conflict where it is gone, Unavailable.
        """
        kept = {task.spec.name for task in pipeline.tasks if task.origin and task.verdict is TaskStatus.EXECUTED}
        before = pipeline.rerun_of
        if not kept or before is None:
            return
        left = {OWN_FOLDER, *formers, *(task.spec.name for task in pipeline.tasks)} - kept
        names = _Names(before, pipeline.id, kept)
        old, new = self.layout.run(before), self.layout.run(pipeline.id)
        try:
            _bring(old, new, lambda name: None if name in left else name)
            reach("resume:half-kept")
            _bring(old / OWN_FOLDER / OUTPUTS, new / OWN_FOLDER / OUTPUTS, names.renamed)
            if (self.logs / before).is_dir():  # else no log of it was ever kept on this server
                (self.logs / pipeline.id).mkdir(mode=0o700, parents=True, exist_ok=True)
                _bring(self.logs / before, self.logs / pipeline.id, names.renamed)
        except FileNotFoundError as error:
            raise Conflict(f"what {before} left was removed before it could be kept; resume it again") from error
        except OSError as error:
            said = f"what {before} left could not be kept: {error.filename}: {error.strerror}"
            raise Unavailable(said) from error


@dataclass(frozen=True, slots=True)
class _Names:
    """Files that are called after an attempt of a task that is kept, as the new pipeline calls them."""

    before: PipelineId
    now: PipelineId
    kept: Collection[str]

    def renamed(self, name: str) -> str | None:
        if not name.startswith(f"{self.before}--"):
            return None
        rest = name.removeprefix(f"{self.before}--")
        found = re.match(r"(?P<task>[a-z0-9]+(?:-[a-z0-9]+)*)(?:--\d+)?\.", rest)
        return task_id(self.now, rest) if found and found["task"] in self.kept else None


def _bring(source: Path, target: Path, rename: Rename) -> None:
    with _opened(source) as here, _opened(target) as there:
        _bring_all(here, there, rename, 0)
        _sync(there)


def _sync(folder: int) -> None:
    """On the disk, with all of its file system: folders one by one would take 3 ms each."""
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None or syncfs(folder):
        os.fsync(folder)


def _bring_all(here: int, there: int, rename: Rename, depth: int) -> None:
    if depth > MOST_NESTED:
        raise Conflict(f"folders that are to be kept are nested more than {MOST_NESTED} deep")
    with os.scandir(here) as entries:
        found = list(entries)
    for entry in found:
        name = rename(entry.name)
        if name is None:
            continue
        if entry.is_dir(follow_symlinks=False):
            _bring_folder(here, entry.name, there, name, depth)
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            _bring_file(here, entry.name, there, name)


def _bring_folder(here: int, name: str, there: int, called: str, depth: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(called, 0o700, dir_fd=there)
    with _opened(name, here) as source, _opened(called, there) as target:
        found = os.fstat(source)
        os.fchmod(target, stat.S_IMODE(found.st_mode) | 0o700)
        _bring_all(source, target, str, depth + 1)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
        if os.geteuid() == 0:
            os.fchown(target, found.st_uid, found.st_gid)


def _bring_file(here: int, name: str, there: int, called: str) -> None:
    try:
        os.link(name, called, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(here, name, there, called)


def _copy(here: int, name: str, there: int, called: str) -> None:
    """Whole or not at all."""
    fresh = f".odin-{called}"[:255]
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=there)
    if stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
        os.symlink(os.readlink(name, dir_fd=here), fresh, dir_fd=there)
    else:
        made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            os.fdopen(os.open(name, _FILE, dir_fd=here), "rb") as source,
            os.fdopen(os.open(fresh, made, 0o600, dir_fd=there), "wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
            _resemble(source.fileno(), target.fileno())
    os.rename(fresh, called, src_dir_fd=there, dst_dir_fd=there)


def _resemble(source: int, target: int) -> None:
    found = os.fstat(source)
    if os.geteuid() == 0:
        os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode) & 0o777)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.fsync(target)


@contextmanager
def _opened(path: str | Path, within: int | None = None) -> Iterator[int]:
    folder = os.open(path, _FOLDER, dir_fd=within)
    try:
        yield folder
    finally:
        os.close(folder)
