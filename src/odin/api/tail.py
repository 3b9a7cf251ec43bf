"""The end of a log that somebody follows: one reader, a window that all share, and cursors into it.

Source: reliability.md, F-72.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from odin.api import logtails
from odin.api.crowd import Crowd
from odin.model.errors import NotFound, OdinError
from odin.model.ids import AttemptId

if TYPE_CHECKING:
    from odin.executors.protocol import Logs

PIECE = 64 << 10
WINDOW = 256 << 10
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 0.1
RETRY_S = 1.0
log = logging.getLogger(__name__)


class Tail:
    """The end of one attempt's log."""

    def __init__(self, logs: Logs, attempt: AttemptId) -> None:
        self.attempt = attempt
        self.followers = 0
        self.longest_wait_s = LONGEST_WAIT_S
        self._over = asyncio.Event()  # the attempt is: what is there now is all
        self._logs = logs
        self._pieces: list[tuple[int, bytes]] = []
        self._start = 0
        self._end = -1  # until the first look
        self._done = False
        self._crowd = Crowd()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, ended: Callable[[], Awaitable[object]]) -> None:
        """Read; ``ended`` returns once the attempt is over."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read_on()), loop.create_task(self._wait_for(ended))]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def start_of_lines(self, lines: int) -> int:
        """Where the last lines begin. Raises NotFound while there is no log."""
        return (await logtails.read_lines(self._logs, self.attempt, lines)).offset

    async def follow(self, offset: int) -> AsyncGenerator[bytes]:
        while True:
            if offset >= self._end or self._end < 0:
                if self._done:
                    return
                await self._crowd.moved()
                continue
            piece = self._shared(offset) if offset >= self._start else await self._read(offset)
            if not piece:  # it was removed
                return
            offset += len(piece)
            yield piece

    async def _read_on(self) -> None:
        """The reader; returns once the attempt is over and all is read."""
        try:
            await self._look_until_over()
        except Exception:  # border: chore
            log.exception("the reader of %s failed; its followers are sent away", self.attempt)
        self._done = True
        await self._crowd.tell(moved=True)

    async def _wait_for(self, ended: Callable[[], Awaitable[object]]) -> None:
        await ended()
        self._over.set()

    async def _look_until_over(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            over, before = self._over.is_set(), self._end
            full = await self._look()
            if full is None:
                await asyncio.sleep(RETRY_S)
                continue
            if self._end != before:
                wait_s = FIRST_WAIT_S
                await self._crowd.tell(moved=True)
            elif over:
                return
            if not full:
                await self._rest(wait_s)
                wait_s = min(2 * wait_s, self.longest_wait_s)

    async def _look(self) -> bool | None:
        """Take what is new; whether there is more, None if that cannot be known now."""
        known = self._end >= 0
        try:
            data, size = await self._logs.read(self.attempt, offset=max(0, self._end), limit=WINDOW if known else 0)
        except NotFound:  # not written yet, or never
            data, size = b"", 0
        except OdinError as error:
            log.warning("the log of %s cannot be read: %s", self.attempt, error)
            return None
        if not known or size - self._end > 2 * WINDOW:  # far behind: begin anew near the end
            self._pieces, self._start = [], size
            self._end = size
            return False
        for start in range(0, len(data), PIECE):
            self._pieces.append((self._end + start, data[start : start + PIECE]))
        self._end += len(data)
        self._trim()
        return self._end < size

    def _trim(self) -> None:
        count = 0
        while count < len(self._pieces) and self._end - self._pieces[count][0] > WINDOW:
            count += 1
        del self._pieces[:count]
        self._start = self._pieces[0][0] if self._pieces else self._end

    async def _rest(self, wait_s: float) -> None:
        if self._over.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._over.wait()

    def _shared(self, offset: int) -> bytes:
        start, piece = self._pieces[bisect_right(self._pieces, offset, key=lambda one: one[0]) - 1]
        return piece[offset - start :]

    async def _read(self, offset: int) -> bytes:
        try:
            return (await self._logs.read(self.attempt, offset=offset, limit=PIECE))[0]
        except NotFound:
            return b""
