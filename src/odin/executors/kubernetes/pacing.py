"""Who may ask the API server when: so many calls a second, and pipelines in turn. Source: reliability.md, F-28."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limiter:
    """A token bucket, first come first served; ``pause`` keeps everybody waiting for a while."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._free_at = 0.0  # when the next token is there, if the bucket is empty
        self._closed_until = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        self._free_at = max(self._free_at, now - self._burst / self._per_s) + 1 / self._per_s
        mine = self._free_at
        while (wait_s := max(mine, self._closed_until) - time.monotonic()) > 0:  # noqa: ASYNC110 - a moment, no event
            await asyncio.sleep(wait_s)

    def pause(self, seconds: float) -> None:
        """Nobody's turn comes before this is over, also not of those that wait already."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)


class Turns:
    """Lets a few in at once; of those that wait, one of each owner in turn, so that no owner starves another."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            owner, places = next(iter(self._waiting.items()))
            place = places.popleft()
            del self._waiting[owner]
            if places:
                self._waiting[owner] = places  # last in the turn now
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class Lull:
    """Tells when nothing has happened for ``calm_s``. Of one event loop."""

    def __init__(self, calm_s: float) -> None:
        self._calm_s = calm_s
        self._stirred_at = 0.0
        self._calm = asyncio.Event()
        self._calm.set()

    def stir(self) -> None:
        """Something happened."""
        loop = asyncio.get_running_loop()
        self._stirred_at = loop.time()
        if self._calm.is_set():
            self._calm.clear()
            loop.call_later(self._calm_s, self._look)

    async def calm(self) -> None:
        """Until then."""
        await self._calm.wait()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if (wait_s := self._stirred_at + self._calm_s - loop.time()) > 0:
            loop.call_later(wait_s, self._look)
        else:
            self._calm.set()
