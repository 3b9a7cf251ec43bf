"""Reads what attempts on this machine wrote: one file for each, as it came.

Files are read in threads, so that a slow disk never holds the event loop.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from odin.model.errors import NotFound
from odin.model.ids import AttemptId, split_resource

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def log_path(data: Path, attempt: AttemptId) -> Path:
    """Where the runner has an attempt write; its folder is that of the pipeline."""
    return data / "logs" / split_resource(attempt)[0] / f"{attempt}.log"


class LocalLogs:
    """``Logs`` over the files below ``data``."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def of(self, container: str | None) -> LocalLogs:  # noqa: ARG002 - a local task is one process
        return self

    async def read(self, attempt: AttemptId, *, offset: int, limit: int) -> tuple[bytes, int]:
        return await asyncio.to_thread(read_file, log_path(self._data, attempt), offset, limit)


def read_file(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """As ``Logs.read``; never through a link."""
    with os.fdopen(_open(path), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size + offset) if offset < 0 else offset
        return os.pread(file.fileno(), max(0, min(limit, size - start)), start), size


def _open(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise NotFound(f"{path.stem} has no log") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotFound(f"{path.stem} has no log")
    return fd
