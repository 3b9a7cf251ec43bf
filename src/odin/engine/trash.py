"""Ways out of a folder that Odin keeps: into a trash that is emptied, or aside, where nothing is ever removed.

By descriptor and under one parent alone: a link that somebody put there is renamed itself, and never followed. Both
places lie beside the parent, on its file system. Source: reliability.md, P10 and A-06.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from odin.faults import reach

TRASH = ".trash"
ASIDE = "lost+found"
log = logging.getLogger("odin.cleanup")


def trash_of(parent: Path) -> Path:
    return parent.parent / TRASH


def discard(parent: Path, name: str) -> None:
    """Rename ``parent/name`` into the trash, if it is a real folder there; nothing there is fine."""
    if not parent.is_dir():
        return
    above = _opened(parent)
    try:
        if _is_folder(above, name):
            with suppress(FileNotFoundError):  # another server finishes the same cleanup
                _move(above, parent, name, trash_of(parent))
    finally:
        os.close(above)


def aside_of(parent: Path) -> Path:
    return parent.parent / ASIDE


def set_aside(parent: Path, name: str, into: Path) -> Path:
    """Rename whatever is at ``parent/name`` into a folder of the same file system; where it is now."""
    above = _opened(parent)
    try:
        return _move(above, parent, name, into)
    finally:
        os.close(above)


def empty(trash: Path) -> None:
    """Unlink what is in a trash; what cannot go now is left for the next time."""
    if not trash.is_dir():
        return
    for entry in trash.iterdir():
        try:
            _unlink_all(entry)
        except FileNotFoundError:
            continue  # another cleanup empties the same trash
        except OSError as error:
            log.warning("%s in the trash could not be removed yet: %s", entry.name, error.strerror)


def _opened(parent: Path) -> int:
    return os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _move(above: int, parent: Path, name: str, to: Path) -> Path:
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = to / f"{parent.name}-{name}-{time.time_ns()}"
    os.rename(name, there, src_dir_fd=above)
    return there


def _is_folder(above: int, name: str) -> bool:
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError:
        return False
    os.close(inner)
    return True


def _unlink_all(path: Path) -> None:
    """Unlink a tree by descriptors, never through a link; folders that forbid writing are opened up first."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for _, _, _, folder in os.fwalk(path, follow_symlinks=False):
        os.fchmod(folder, 0o700)
        reach("cleanup:half-opened")
    shutil.rmtree(path)
