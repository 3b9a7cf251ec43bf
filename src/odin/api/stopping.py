"""Whether the server is stopping: new work is refused then, and streams end with a hint to come back."""

from __future__ import annotations

import asyncio


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
