"""The whole jobs repository as one file that git itself can read: every ref, pins included, and what they need.

Source: https://git-scm.com/docs/git-bundle.
"""

from __future__ import annotations

from pathlib import Path

import pygit2

from odin.jobs import child
from odin.jobs.failures import translated
from odin.jobs.home import configure
from odin.model.errors import NotFound, Unavailable

LIMIT_S = 3600.0


def write(folder: Path, file: Path) -> None:
    """Bundle the repository in ``folder``; others may write to it meanwhile. Raises NotFound, Unavailable."""
    if not (folder / "HEAD").is_file():
        raise NotFound(f"there is no jobs repository at {folder}")
    _git(folder, "bundle", "create", "--quiet", str(file), "--all", what="the jobs repository cannot be copied")


def read(file: Path, folder: Path, branch: str = "main") -> None:
    """Make the repository ``folder``, which is not there yet, of a bundle. Raises NoSpace, Unavailable."""
    configure()
    with translated(folder.parent):
        pygit2.init_repository(str(folder), bare=True, initial_head=branch)
    _git(
        folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        "--", str(file.absolute()), "+refs/*:refs/*", what="the jobs in the backup cannot be read",
    )  # fmt: skip


def _git(folder: Path, *arguments: str, what: str) -> None:
    options = [f"--git-dir={folder}", "-c", "core.fsync=all", "-c", "core.hooksPath=/dev/null"]
    done = child.run([*options, *arguments], env=child.environment(folder), timeout_s=LIMIT_S)
    if done.code != 0:
        raise Unavailable(f"{what}: {done.reason}")
