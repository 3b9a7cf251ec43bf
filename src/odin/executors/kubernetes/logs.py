"""Reads what attempts in a cluster wrote: from the copies on this server's disk, which are made when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from odin.executors.kubernetes.logcopies import part_path
from odin.executors.logs import log_path, read_file
from odin.model.errors import NotFound
from odin.model.ids import AttemptId


class ClusterLogs:
    """``Logs`` over the copies below ``data``; ``fetch`` sees to it that a copy is there."""

    def __init__(self, data: Path, fetch: Callable[[AttemptId], Awaitable[None]]) -> None:
        self._data = data
        self._fetch = fetch

    async def read(self, attempt: AttemptId, *, offset: int, limit: int) -> tuple[bytes, int]:
        path = log_path(self._data, attempt)
        try:
            return await asyncio.to_thread(read_file, path, offset, limit)
        except NotFound:
            await self._fetch(attempt)
        try:
            return await asyncio.to_thread(read_file, part_path(path), offset, limit)
        except NotFound:  # whole by now
            return await asyncio.to_thread(read_file, path, offset, limit)
