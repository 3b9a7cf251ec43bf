"""The user that tasks run as, when that is not the server's: what it may enter, and what it must not be able to change.

The server is root then. Tasks pass through the shared folder without listing it, read the checkouts and their
pipeline's folder, and write in what belongs to them; all else belongs to the server. A start is refused where that
user could change or read what is the server's. Source: reliability.md, A-08, A-102 and A-105.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from odin.model.errors import Conflict, Problem, ValidationFailed

PRIVATE = 0o700
PASSABLE = 0o711  # whoever knows a name in it gets there
LISTED = 0o755


@dataclass(frozen=True, slots=True)
class TaskUser:
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def named(cls, name: str) -> TaskUser:
        """Raises ValidationFailed for a user that this machine does not have, and where tasks cannot run as it."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise _refused(f"this machine has no user {name}") from None
        if os.geteuid() != 0:
            raise _refused(f"only a server started by root can run tasks as {name}; leave it out, or start it as root")
        if entry.pw_uid == 0:
            raise _refused(f"{name} is the server's own user; name another one, or leave it out")
        return cls(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))

    def enters(self, folder: Path) -> bool:
        return self._may(folder, os.X_OK)

    def reads(self, file: Path) -> bool:
        return self._may(file, os.R_OK)

    def changes(self, folder: Path) -> bool:
        """Whether this user can replace what lies in it: of a sticky folder only what is the user's own."""
        found = folder.stat()
        return found.st_uid == self.uid or (not found.st_mode & stat.S_ISVTX and self._may(folder, os.W_OK))

    def _may(self, path: Path, how: int) -> bool:
        """The kernel's answer, which knows of access lists."""
        with self._acting():
            return os.access(path, how, effective_ids=True)

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """Of the whole process, so only before it has threads."""
        uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)


def _refused(sentence: str) -> ValidationFailed:
    problem = Problem(f"ODIN_TASK_USER: {sentence}")
    return ValidationFailed(str(problem), problems=[problem])


def make_folders(data: Path, shared: Iterable[Path], user: TaskUser | None) -> None:
    """The data folder and those that tasks pass through, outermost first; all of them private without ``user``."""
    if user is None:
        for folder in (data, *shared):
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        return
    for folder in shared:
        _make_passable(folder)
        folder.chmod(PASSABLE)
    data.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    data.chmod(PRIVATE)


def _make_passable(folder: Path) -> None:
    """With those above it that are missing; what stands keeps its mode."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=PRIVATE)
            each.chmod(PASSABLE)


def open_run(run: Path, own: Path, outputs: Path, user: TaskUser) -> None:
    """A pipeline's folder: tasks list it and pass through ``own`` in it, and only ``outputs`` there is theirs."""
    run.chmod(LISTED)
    own.chmod(PASSABLE)
    os.chown(outputs, user.uid, user.gid, follow_symlinks=False)


def refuse_dangers(data: Path, shared: Iterable[Path], database: Path | None, user: TaskUser) -> None:
    """Raises Conflict where tasks could change or read what is the server's, or not reach what is theirs.

    ``database`` is the file of one that is one.
    """
    shared = tuple(shared)
    for folder in (data, *([database.parent] if database else []), *shared):
        _refuse_changes(folder, user)
    for above in _way(shared[-1]):
        if not user.enters(above):
            raise Conflict(
                f"{user.name}, as whom tasks run, cannot pass through {above} to the shared folder;"
                f" run: chmod o+x {above}, or choose another --shared"
            )
    if user.enters(data):
        raise Conflict(f"{user.name}, as whom tasks run, can enter the data folder {data}: its access list says so")
    if database is not None and user.reads(database):
        raise Conflict(f"{user.name}, as whom tasks run, can read the database; run: chmod 600 {database}")


def _refuse_changes(folder: Path, user: TaskUser) -> None:
    *above, own = _way(folder)
    for each in above:
        if user.changes(each):
            raise Conflict(
                f"{user.name}, as whom tasks run, could put another folder in the place of {folder}:"
                f" {each} belongs to that user or may be written by it; choose another place"
            )
    if user.changes(own):
        raise Conflict(
            f"{user.name}, as whom tasks run, could change what the server keeps in {own};"
            f" run: chown -R root {own} && chmod go-w {own}, or choose another place"
        )


def _way(folder: Path) -> tuple[Path, ...]:
    """Every folder from the root to this one that exists."""
    whole = folder.resolve()
    return tuple(each for each in (*reversed(whole.parents), whole) if each.is_dir())
