"""Reads what attempts in a cluster wrote: from the copies on this server's disk, which are made when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from odin.executors.kubernetes.copyfile import part_path
from odin.executors.logs import log_path, read_file
from odin.model.errors import NotFound
from odin.model.ids import AttemptId

Fetch = Callable[[AttemptId, str | None], Awaitable[Path]]


class ClusterLogs:
    """``Logs`` over the copies below ``data``.

    ``fetch`` sees to it that a copy of the attempt's log, or of one container's, is there, and says where. Raises
    NotFound, Unavailable.
    """

    def __init__(self, data: Path, fetch: Fetch, container: str | None = None) -> None:
        self._data = data
        self._fetch = fetch
        self._container = container

    def of(self, container: str | None) -> ClusterLogs:
        return ClusterLogs(self._data, self._fetch, container)

    async def read(self, attempt: AttemptId, *, offset: int, limit: int) -> tuple[bytes, int]:
        path = log_path(self._data, attempt)
        if self._container is None:
            with suppress(NotFound):
                return await asyncio.to_thread(read_file, path, offset, limit)
            with suppress(NotFound):  # a part may be all that is left
                await self._fetch(attempt, None)
        else:
            path = await self._fetch(attempt, self._container)
        try:
            return await asyncio.to_thread(read_file, part_path(path), offset, limit)
        except NotFound:  # whole by now
            return await asyncio.to_thread(read_file, path, offset, limit)
