"""Giving way: whoever sends many things one after another lets others run in between. Source: reliability.md, F-71."""

from __future__ import annotations

import asyncio

PIECES = 64
TURN_S = 0.010


class Turns:
    """Counts what one task does; used from the event loop only."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._count = 0
        self._since = self._now()

    async def done(self) -> None:
        """One more piece is done: suspends after 64 pieces or 10 ms, whichever comes first."""
        self._count += 1
        if self._count >= PIECES or self._now() - self._since > TURN_S:
            await asyncio.sleep(0)
            self._count, self._since = 0, self._now()
