"""The remote repository, where there is one: nothing is acknowledged before it has it, nothing is ever forced.

Reached by the git program, which knows ssh, proxies and certificates, and can be killed when its time is up.
Source: reliability.md, F-61 and F-62.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import pygit2

from odin.jobs import address, child
from odin.jobs.failures import translated
from odin.jobs.objects import Git
from odin.jobs.refs import REMOTE_TIP, Branch
from odin.model.errors import OdinError, Unavailable
from odin.model.ids import Sha

CALL_LIMIT_S = 30.0


class Remote:
    """Fetches from and pushes to one branch of one URL. Safe to share between threads."""

    def __init__(self, folder: Path, url: str, branch: Branch) -> None:
        self._folder = folder
        self._address = address.parse(url)
        self._url = url
        self._branch = branch
        self._turn = Lock()
        self._asked_at = 0.0
        self._answer: str | None = None
        self.owner: int | None = None  # a descriptor that git inherits; see home

    def environment(self) -> dict[str, str]:
        """What a hook needs to find this remote: the URL with its password, and the branch."""
        return {"ODIN_JOBS_REMOTE": self._url, "ODIN_JOBS_BRANCH": self._branch.name}

    def publish(self, git: Git, commit: Sha, *, quarantine: Mapping[str, str] | None = None) -> bool:
        """True when the remote has taken the commit; False when it was ahead and the branch has caught up.

        Never by force. ``quarantine`` is git's environment within a hook, where new objects lie apart.
        Raises Unavailable with the reason: away, refused, or diverged.
        """
        pushed = self._push(commit, quarantine or {})
        if pushed.code == 0:
            return True
        tip = self._fetch(git, CALL_LIMIT_S) if pushed.code is not None else None
        if tip is None:
            raise Unavailable(f"the remote {self._address.url} cannot be reached: {pushed.reason}", retry_after_s=10)
        if tip == commit or git.descendant_of(tip, commit):
            return True
        if git.descendant_of(commit, tip):
            raise Unavailable(f"the remote {self._address.url} refused the commit: {pushed.reason}", retry_after_s=10)
        if not self._branch.advance(git, tip):
            raise Unavailable(self._diverged(git, tip), retry_after_s=60)
        return False

    def _push(self, commit: Sha, quarantine: Mapping[str, str]) -> child.Outcome:
        target = f"{commit}:{self._branch.ref}"
        return self._git(
            "push", "--porcelain", "--no-verify", "--", self._address.url, target,
            timeout_s=CALL_LIMIT_S, extra=quarantine,
        )  # fmt: skip

    def refresh(self, timeout_s: float) -> str | None:
        """Bring the branch up to the remote's; a sentence for people where that is not possible now.

        Those who ask while a fetch is under way share the next one.
        """
        asked_at = time.monotonic()
        if not self._turn.acquire(timeout=timeout_s):
            return f"the remote {self._address.url} is slow; this is the state of the last fetch"
        try:
            if self._asked_at < asked_at:
                self._asked_at = time.monotonic()
                self._answer = self._caught_up(timeout_s)
            return self._answer
        finally:
            self._turn.release()

    def _caught_up(self, timeout_s: float) -> str | None:
        try:
            with translated(self._folder):
                git = pygit2.Repository(str(self._folder))
                fetched = self._fetch_outcome(timeout_s)
                if fetched.code != 0:
                    return f"the remote {self._address.url} cannot be fetched: {fetched.reason}"
                tip = _remote_tip(git)
                return None if tip is None or self._branch.advance(git, tip) else self._diverged(git, tip)
        except OdinError as error:
            return f"the remote's commits cannot be taken over: {error}"

    def _fetch(self, git: Git, timeout_s: float) -> Sha | None:
        """The remote's tip, with its commits; None where it cannot be fetched."""
        return _remote_tip(git) if self._fetch_outcome(timeout_s).code == 0 else None

    def _fetch_outcome(self, timeout_s: float) -> child.Outcome:
        return self._git(
            "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance",
            "--no-write-fetch-head", "--", self._address.url, f"+{self._branch.ref}:{REMOTE_TIP}",
            timeout_s=timeout_s, extra={},
        )  # fmt: skip

    def _git(self, *arguments: str, timeout_s: float, extra: Mapping[str, str]) -> child.Outcome:
        env = child.environment(self._folder, self._address.settings) | dict(extra)
        options = [f"--git-dir={self._folder}", "-c", "core.hooksPath=/dev/null"]
        keep = [self.owner] if self.owner is not None else []
        return child.run([*options, *arguments], env=env, timeout_s=timeout_s, keep=keep)

    def _diverged(self, git: Git, tip: Sha) -> str:
        here = self._branch.tip(git)
        where = f"git --git-dir={self._folder.name}"
        return (
            f"the remote {self._address.url} has another history: it is at {tip}, {self._branch.name} here at {here}. "
            f"Keep the remote's with `{where} update-ref {self._branch.ref} {tip} {here}`, "
            f"or this one with `{where} push --force-with-lease={self._branch.ref}:{tip} "
            f"{self._address.url} {here}:{self._branch.ref}`"
        )


def _remote_tip(git: Git) -> Sha | None:
    found = git.references.get(REMOTE_TIP)
    return Sha(str(found.target)) if found is not None else None
