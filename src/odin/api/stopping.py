"""Whether the server is stopping: new work is refused then, and streams end with a hint to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from odin.model.errors import Unavailable

T = TypeVar("T")
STOPPING_RETRY_S = 2


class Stopping:
    """Set once; may be awaited by any number of streams. Used from the event loop only."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` gives; Unavailable as soon as the server stops, for work that may wait for long."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Unavailable("the server is stopping; try again", retry_after_s=STOPPING_RETRY_S)
        finally:
            stopping.cancel()
            working.cancel()
