"""Commits to the branch, one after the other, each on top of what is there when it lands.

A write is a function from the tree that is there to the tree that shall be: when another commit was first, it is
applied again on top of that one, so neither is lost. Source: reliability.md, F-60 and F-61.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import pygit2

from odin.faults import reach
from odin.jobs.checking import TreeCheck
from odin.jobs.failures import is_full, translated
from odin.jobs.home import signature
from odin.jobs.mains import Mains
from odin.jobs.objects import ATTEMPTS, Blob, Git, edit, tree_of
from odin.jobs.refs import Branch, raced
from odin.jobs.survey import Surveyor
from odin.jobs.values import Author
from odin.model.errors import ValidationFailed
from odin.model.ids import Sha

APPLICATIONS = 11  # the first and ten more


@dataclass(frozen=True, slots=True)
class Edit:
    """Files to place (by path in the repository) or, with None, to remove, and what the commit says."""

    files: dict[str, Blob | None]
    message: str


Plan = Callable[[Git, Sha], Edit]


class Upstream(Protocol):
    """The other repository that must have a commit before the branch moves."""

    def publish(self, git: Git, commit: Sha) -> bool:
        """True when it has taken the commit, False when it was ahead and its commits are fetched now.

        Raises Unavailable with the reason otherwise.
        """


class Writer:
    """The one way in which this process changes the branch. Safe to share between threads."""

    def __init__(
        self,
        folder: Path,
        branch: Branch,
        upstream: Upstream | None,
        *,
        surveyor: Surveyor,
        mains: Mains,
        after: Callable[[], None],
    ) -> None:
        """``after`` is called once a write is over, however it ended; it must not wait."""
        self._folder = folder
        self._branch = branch
        self._upstream = upstream
        self._turn = Lock()  # threads wait here instead of racing one another
        self._surveyor = surveyor
        self._mains = mains
        self._after = after

    def write(self, plan: Plan, author: Author, *, draft: bool = False) -> Sha:
        """Commit what ``plan`` makes of the tip; returns the commit, or the tip where nothing would change.

        ``plan`` may be called several times. Raises what it raises, InvalidInput or TooLarge for the tree,
        ValidationFailed for a job (not with ``draft``), Conflict after ten races, Unavailable and NoSpace.
        """
        try:
            return self._write(plan, author, draft=draft)
        finally:
            self._after()

    def _write(self, plan: Plan, author: Author, *, draft: bool) -> Sha:
        with self._turn, translated(self._folder):
            git = pygit2.Repository(str(self._folder))
            for number in range(APPLICATIONS):
                try:
                    landed = self._apply(git, plan, author, draft=draft)
                except (pygit2.GitError, OSError):
                    # Garbage collection may have removed the folder an object was to go into; see ``store``.
                    if number >= ATTEMPTS or is_full(self._folder):
                        raise
                    landed = None
                if landed is not None:
                    return landed
        raise raced()

    def _apply(self, git: Git, plan: Plan, author: Author, *, draft: bool) -> Sha | None:
        """The commit, or the tip where nothing would change; None where another commit was first."""
        tip = self._branch.tip(git)
        change = plan(git, tip)
        known = tree_of(git, tip)
        tree = edit(git, known, change.files)
        if tree == known:
            return tip
        reach("git:tree-written")
        self._check(git, tree, known, draft=draft)
        commit = self._commit(git, tree, tip, author, change.message)
        return commit if self._land(git, tip, commit) else None

    def _check(self, git: Git, tree: str, known: str, *, draft: bool) -> None:
        check = TreeCheck(git, self._surveyor).compare(tree, known)
        check.raise_for_push()
        problems = [] if draft else self._mains.problems(git, check.jobs)
        if problems:
            raise ValidationFailed(str(problems[0]), problems=problems)

    def _commit(self, git: Git, tree: str, tip: Sha, author: Author, message: str) -> Sha:
        who = signature(author)
        commit = git.create_commit(
            None, who, who, message.replace("\0", ""), pygit2.Oid(hex=tree), [pygit2.Oid(hex=tip)]
        )
        if not git.odb.exists(commit):
            raise OSError("the repository did not keep a commit")
        reach("git:objects-written")
        return Sha(str(commit))

    def _land(self, git: Git, tip: Sha, commit: Sha) -> bool:
        if self._upstream is not None:
            landed = self._upstream.publish(git, commit) and self._branch.advance(git, commit)
        else:
            landed = self._branch.move(git, tip, commit)
        if landed:
            reach("git:ref-moved")
        return landed
