"""Many who wait for the same thing. They are told in turns, so that the rest of the server gets its turns as well."""

from __future__ import annotations

import asyncio

TURN = 10  # how many are told before others get a turn
PACE_S = 0.000_1  # after telling, for each who was told: sending to them takes about half of that


class Crowd:
    """Used in the event loop. Whoever leaves while waiting is forgotten at the next telling."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[bool]] = []

    async def moved(self) -> bool:
        """Wait until told; false if that was only a sign of life."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    async def tell(self, *, moved: bool) -> None:
        """Tell all who wait now, and rest long enough for them to act on it."""
        waiting, self._waiting = self._waiting, []
        for count, each in enumerate(waiting, 1):
            if not each.done():
                each.set_result(moved)
            if count % TURN == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(PACE_S * len(waiting))
