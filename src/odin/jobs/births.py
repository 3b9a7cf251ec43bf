"""Since when each job exists: the time of the commit that brought its main.yml (or the template of one).

Found by following first parents, each commit once: what is known up to one tip is carried on to the next.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from pygit2.enums import DeltaStatus

from odin.jobs.objects import Git, commit_of
from odin.jobs.values import MAINS
from odin.model.ids import Sha


class Births:
    """Times in POSIX seconds, by job folder. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tip: Sha | None = None
        self._times: dict[str, float] = {}

    def at(self, git: Git, tip: Sha) -> dict[str, float]:
        """The jobs at that commit, each with its time. Meant for the branch's tip: a step back reads all again."""
        with self._lock:
            if tip != self._tip:
                self._times = self._follow(git, tip)
                self._tip = tip
            return self._times

    def _follow(self, git: Git, tip: Sha) -> dict[str, float]:
        newer, known = self._since(git, tip)
        times = dict(self._times) if known else {}
        for commit in reversed(newer):
            came, went = _jobs(commit)
            for folder in went - came:
                times.pop(folder, None)
            for folder in came:
                times.setdefault(folder, float(commit.commit_time))
        return times

    def _since(self, git: Git, tip: Sha) -> tuple[list[Any], bool]:
        """Commits newer than the known tip, newest first, and whether that tip was met."""
        newer = []
        commit = commit_of(git, tip)
        while str(commit.id) != self._tip:
            newer.append(commit)
            if not commit.parents:
                return newer, False
            commit = commit.parents[0]
        return newer, True


def _jobs(commit: Any) -> tuple[set[str], set[str]]:
    """Folders that got a main.yml or its template, and folders that lost one; in both where it changed its kind."""
    came: set[str] = set()
    went: set[str] = set()
    for delta in _changes(commit):
        folder, slash, name = delta.new_file.path.rpartition("/")
        if slash and name in MAINS:
            of = {DeltaStatus.ADDED: came, DeltaStatus.DELETED: went}.get(delta.status)
            if of is not None:
                of.add(folder)
    return came, went


def _changes(commit: Any) -> Any:
    if not commit.parents:
        return commit.tree.diff_to_tree(swap=True).deltas
    return commit.parents[0].tree.diff_to_tree(commit.tree).deltas
