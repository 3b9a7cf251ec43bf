"""The branch that all writers share, moved by compare-and-swap, and the refs that pin commits.

Between processes only git's own ref locks count: a push by git and a write of this server meet there.
"""

from __future__ import annotations

import time
from pathlib import Path

import pygit2

from odin.jobs.failures import failure, is_full
from odin.jobs.objects import EMPTY_TREE, Git, commit_of
from odin.model.errors import Conflict, InvalidInput, NoSpace, Unavailable
from odin.model.ids import Sha

LOCK_WAIT_S = 5.0
LOCK_POLL_S = 0.02
PINS = "refs/odin/pins/"
REMOTE_TIP = "refs/odin/remote"


class Branch:
    """The one branch of the repository in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.ref = f"refs/heads/{name}"
        if name.startswith("-") or not pygit2.reference_is_valid_name(self.ref):
            raise InvalidInput(f'"{name}" cannot be the name of a branch')
        self._folder = folder
        self._lock = folder / f"{self.ref}.lock"

    def tip(self, git: Git) -> Sha:
        found = git.references.get(self.ref)
        if found is None:
            raise Unavailable(f"the repository has no branch {self.name}")
        return Sha(str(found.target))

    def move(self, git: Git, expected: Sha, new: Sha) -> bool:
        """Compare-and-swap: False when the branch is no longer at ``expected``.

        Waits a while for another writer's lock. Raises Unavailable when it stays, NoSpace on a full disk.
        """
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            found = git.references.get(self.ref)
            if found is None or str(found.target) != expected:
                return False
            try:
                found.set_target(pygit2.Oid(hex=new))
            except (pygit2.GitError, OSError) as error:
                self._wait(error, deadline)
            else:
                return True

    def advance(self, git: Git, new: Sha) -> bool:
        """Move forward to ``new`` if that loses nothing; True when the branch then has it.

        A repository that never had a commit of anybody takes any history.
        """
        while True:
            tip = self.tip(git)
            if tip == new or git.descendant_of(tip, new):
                return True
            if not git.descendant_of(new, tip) and not _is_pristine(git, tip):
                return False
            if self.move(git, tip, new):
                return True

    def _wait(self, error: Exception, deadline: float) -> None:
        if is_full(self._folder):
            raise NoSpace("no space left for the jobs repository; free some and try again") from error
        if time.monotonic() > deadline:
            if self._lock.exists():
                locked = f"the jobs repository is locked: {self._lock.name} stays; remove it if no git runs there"
                raise Unavailable(locked) from error
            raise failure(error, self._folder) from error
        time.sleep(LOCK_POLL_S)


def _is_pristine(git: Git, tip: Sha) -> bool:
    commit = commit_of(git, tip)
    return not commit.parents and str(commit.tree_id) == EMPTY_TREE


def pin(git: Git, version: Sha) -> None:
    """Keep a commit reachable whatever becomes of the branch; may be repeated. Raises NotFound."""
    commit_of(git, version)
    name = PINS + version
    if git.references.get(name) is None:
        try:
            git.references.create(name, pygit2.Oid(hex=version))
        except pygit2.AlreadyExistsError:
            return


def pins(git: Git) -> list[Sha]:
    """The commits that are kept."""
    return [Sha(name.removeprefix(PINS)) for name in git.listall_references() if name.startswith(PINS)]


def unpin(git: Git, version: Sha) -> None:
    """Let a commit go; may be repeated."""
    found = git.references.get(PINS + version)
    if found is not None:
        found.delete()


def raced() -> Conflict:
    return Conflict("others changed the repository again and again in the meantime; try once more")
