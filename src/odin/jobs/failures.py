"""What libgit2 and the disk say when they fail, as Odin's errors.

libgit2 reports a full disk as an error without a number, so the disk itself is asked. Nothing is decided by the
text of a message.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2

from odin.jobs.values import MIB
from odin.model.errors import NoSpace, OdinError, Unavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Turn whatever git or the file system of ``folder`` raises within into an OdinError."""
    try:
        yield
    except (pygit2.GitError, OSError) as error:
        raise failure(error, folder) from error


def failure(error: Exception, folder: Path) -> OdinError:
    if getattr(error, "errno", None) in FULL or is_full(folder):
        return NoSpace(f"no space left on the disk of {folder.name}; free some and try again")
    if isinstance(error, pygit2.NotFoundError):
        return Unavailable(f"an object of the repository is missing or damaged ({error}); git fsck says more")
    return Unavailable(f"the repository cannot be used now: {error or type(error).__name__}")


def is_full(folder: Path) -> bool:
    """Whether not even 1 MiB can be written there now."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(MIB))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in FULL
    return False
