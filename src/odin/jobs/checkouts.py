"""Immutable checkouts of commits, shared by the pipelines that run on them.

One folder for each commit, written from git's objects into a temporary folder and then renamed, so it is there
whole or not at all. Not synced: after a restart of the machine its content is compared with git before it is used
again, which a sync would cost at every launch. A folder that a task has changed is replaced. Locks on files let
several servers share the root. Source: architecture.md, "Jobs"; reliability.md, A-04, A-08, F-63.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pygit2

from odin.faults import reach
from odin.jobs.failures import translated
from odin.jobs.folders import FOLDER, remove, same_content, write_folder
from odin.jobs.objects import Git, sha_of, tree_of
from odin.jobs.repository import Repository
from odin.jobs.seals import Seals
from odin.model.ids import Sha

COMMIT = re.compile(r"[0-9a-f]{40}")
LEFTOVER = re.compile(r"(?:tmp|trash)-([0-9a-f]{40})-[0-9a-f]{8}")
log = logging.getLogger(__name__)


class Checkouts:
    """The checkouts beneath one folder. Safe to share between threads, and the folder between processes."""

    def __init__(self, repository: Repository, root: Path) -> None:
        self._repository = repository
        self._root = root.absolute()
        self._locks = self._root / ".locks"
        with translated(self._root.parent):
            self._locks.mkdir(mode=0o755, parents=True, exist_ok=True)
        with translated(self._root):
            self._seals = Seals(self._root / ".seals")
            self._remove_leftovers()

    def ready(self, version: Sha) -> Path | None:
        """The checkout, if it stands and was sound when last looked at since this machine started."""
        path = self._root / sha_of(version)
        return path if self._seals.holds(version) and path.is_dir() else None

    def ensure(self, version: Sha) -> Path:
        """The checkout, made if it is missing or not what the commit says; may be repeated.

        Raises NotFound for an unknown commit, ValidationFailed for a tree that must not be checked out, NoSpace,
        and Unavailable where an object is missing.
        """
        path = self._root / sha_of(version)
        with translated(self._root), self.hold(version), self._locked(f"{version}.make", fcntl.LOCK_EX):
            git = pygit2.Repository(str(self._repository.path))
            if self._is_sound(git, version, path):
                return path
            self._repository.check_tree(version)
            self._make(git, version, path)
        reach("checkout:done")
        return path

    @contextmanager
    def hold(self, version: Sha) -> Iterator[None]:
        """While this lasts, nobody collects that checkout."""
        with self._locked(f"{sha_of(version)}.hold", fcntl.LOCK_SH):
            yield

    def kept(self) -> list[Sha]:
        """Every commit that has a checkout or a pin, wanted or left over; in order."""
        with translated(self._root):
            made = {Sha(path.name) for path in self._root.iterdir() if COMMIT.fullmatch(path.name)}
        return sorted(made.union(self._repository.pins()))

    def collect(self, version: Sha, in_use: Callable[[], bool]) -> bool:
        """Remove a checkout and let its commit go, unless it is held or ``in_use()``; may be repeated.

        ``in_use`` is asked under the lock. False where the checkout stays.
        """
        name = f"{sha_of(version)}.hold"
        alone = self._locked(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with translated(self._root), suppress(BlockingIOError), alone:
            if in_use():
                return False
            self._discard(version)
            reach("collect:checkout-removed")
            self._repository.unpin(version)
            reach("collect:unpinned")
            for lock in (f"{version}.make", name):
                (self._locks / lock).unlink(missing_ok=True)
            return True
        return False

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        """Hold a lock file that may be removed by the one who has it alone."""
        path = self._locks / name
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, how)
                if _is_there(path, descriptor):
                    yield
                    return
            finally:
                os.close(descriptor)

    def _is_sound(self, git: Git, version: Sha, path: Path) -> bool:
        if not path.is_dir() or path.is_symlink():
            return False
        if self._seals.unbroken(version, path):
            return True
        root = os.open(self._root, FOLDER)
        try:
            sound = same_content(git, tree_of(git, version), root, version)
        finally:
            os.close(root)
        if sound:
            self._seals.close(version, path)
            return True
        log.warning("checkout %s was changed and is made again", version)
        return False

    def _make(self, git: Git, version: Sha, path: Path) -> None:
        self._discard(version)
        reach("checkout:begun")
        temporary = f"tmp-{version}-{secrets.token_hex(4)}"
        root = os.open(self._root, FOLDER)
        try:
            write_folder(git, tree_of(git, version), root, temporary)
            reach("checkout:half-made")
            os.rename(temporary, path.name, src_dir_fd=root, dst_dir_fd=root)
        except BaseException:
            remove(temporary, root)
            raise
        finally:
            os.close(root)
        reach("checkout:renamed")
        self._seals.close(version, path)

    def _discard(self, version: Sha) -> None:
        """Rename away, then remove: nobody ever sees half a checkout."""
        self._seals.open(version)
        root = os.open(self._root, FOLDER)
        try:
            trash = f"trash-{version}-{secrets.token_hex(4)}"
            with suppress(FileNotFoundError):
                os.rename(version, trash, src_dir_fd=root, dst_dir_fd=root)
                remove(trash, root)
        finally:
            os.close(root)

    def _remove_leftovers(self) -> None:
        """What a dead server had begun to make or to remove; the living hold the lock of what they work on."""
        for path in self._root.iterdir():
            found = LEFTOVER.fullmatch(path.name)
            if found is None:
                continue
            with suppress(BlockingIOError), self._locked(f"{found[1]}.hold", fcntl.LOCK_EX | fcntl.LOCK_NB):
                root = os.open(self._root, FOLDER)
                try:
                    remove(path.name, root)
                finally:
                    os.close(root)


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
