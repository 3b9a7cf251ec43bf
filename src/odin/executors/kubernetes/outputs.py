"""Keeps what a task said in ``$ODIN_OUTPUTS`` where tasks may write too: nothing there is followed (F-94)."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import ExitStack, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
log = logging.getLogger("odin.kubernetes")


def keep(path: Path, text: str) -> None:
    """Write ``runs/<pipeline>/…/<attempt>.json``, whole or not at all; what a task left under that name goes.

    Where a task made a link or a file of a folder on the way, nothing is written. Raises OSError where it may help to
    try again.
    """
    try:
        _write(path, text)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        log.warning("the outputs of %s are not kept, a task put something in the way: %s", path.stem, error.strerror)


def _write(path: Path, text: str) -> None:
    runs, *names = path.parents[3], *path.parts[-4:-1]
    with ExitStack() as opened:
        folder = _opened(opened, os.fspath(runs), None)
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
            folder = _opened(opened, name, folder)
        fresh = f".{path.name}"
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=folder)
        with os.fdopen(os.open(fresh, _NEW, 0o600, dir_fd=folder), "wb") as file:
            file.write(text.encode(errors="replace"))
        os.replace(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def _opened(opened: ExitStack, name: str, within: int | None) -> int:
    folder = os.open(name, _FOLDER, dir_fd=within)
    opened.callback(os.close, folder)
    return folder
