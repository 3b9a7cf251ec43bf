"""What the jobs repository and its checkouts hold, read without changing anything, beside whoever works there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pygit2

from odin.jobs import child, home, refs
from odin.jobs.checkouts import COMMIT, LEFTOVER
from odin.jobs.failures import translated
from odin.jobs.folders import FOLDER, same_content
from odin.jobs.objects import tree_of
from odin.model.errors import OdinError
from odin.model.ids import Sha

LIMIT_S = 3600.0
MOST_LINES = 20


class Inspection:
    """Of the repository in ``folder`` and the checkouts below ``root``. Raises Unavailable where git cannot read."""

    def __init__(self, folder: Path, root: Path) -> None:
        home.configure()
        self.folder = folder
        self.root = root

    def is_there(self) -> bool:
        return (self.folder / "HEAD").is_file()

    def damage(self) -> list[str]:
        """What git's own check finds: none of a repository that is whole."""
        options = [f"--git-dir={self.folder}", "-c", "core.hooksPath=/dev/null"]
        env = child.environment(self.folder)
        checked = child.run([*options, "fsck", "--full", "--no-dangling", "--no-progress"], env=env, timeout_s=LIMIT_S)
        lines = [line for line in checked.error.splitlines() if not line.startswith(("notice:", "dangling", "warning"))]
        return (lines[:MOST_LINES] or [checked.reason]) if checked.code != 0 else []

    def pins(self) -> list[Sha]:
        with translated(self.folder):
            return refs.pins(pygit2.Repository(str(self.folder)))

    def missing(self, versions: Iterable[Sha]) -> list[Sha]:
        """Those that the repository does not have as commits."""
        with translated(self.folder):
            git = pygit2.Repository(str(self.folder))
            return [version for version in versions if not isinstance(git.get(version), pygit2.Commit)]

    def checkouts(self) -> list[Sha]:
        return [Sha(path.name) for path in self._entries() if COMMIT.fullmatch(path.name)]

    def strangers(self) -> list[Path]:
        """What lies among the checkouts and is nothing that Odin makes."""
        known = {".locks", ".seals"}
        return [
            path
            for path in self._entries()
            if path.name not in known and not COMMIT.fullmatch(path.name) and not LEFTOVER.fullmatch(path.name)
        ]

    def is_changed(self, version: Sha) -> bool:
        """Whether a checkout that is there is not what the commit says. False where git cannot tell."""
        try:
            with translated(self.root):
                git = pygit2.Repository(str(self.folder))
                root = os.open(self.root, FOLDER)
                try:
                    return not same_content(git, tree_of(git, version), root, version)
                finally:
                    os.close(root)
        except OdinError:
            return False

    def half_made(self) -> list[Path]:
        """Checkouts that were being made or removed when something died, and half-written seals."""
        seals = self.root / ".seals"
        drafts = seals.iterdir() if seals.is_dir() else ()
        return [path for path in self._entries() if LEFTOVER.fullmatch(path.name)] + [
            path for path in drafts if not COMMIT.fullmatch(path.name)
        ]

    def leftovers(self) -> list[Path]:
        """Lock files and drafts of dead writers; none while somebody has the repository."""
        return [] if self._is_owned() else sorted(set(home.leftovers(self.folder)))

    def _entries(self) -> list[Path]:
        return sorted(self.root.iterdir()) if self.root.is_dir() else []

    def _is_owned(self) -> bool:
        with suppress(FileNotFoundError):
            owner = os.open(self.folder / "odin.lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(owner)
        return False
