"""What ends an answer that goes on, whatever it tells: the server stops, or its token has ended.

One look for all of them, and for each token once: thousands of streams cost no more than their tokens.
Source: reliability.md, F-07, A-47.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from odin.api.accounts import Accounts, Session
from odin.api.stopping import Stopping
from odin.api.tokens import Token

CHECK_S = 2.0
TURN = 500
log = logging.getLogger(__name__)


class Endings:
    """All answers of a server that go on. Used from the event loop only."""

    def __init__(self, accounts: Accounts, stopping: Stopping) -> None:
        self._accounts = accounts
        self._stopping = stopping
        self._waiting: dict[asyncio.Future[bool], Callable[[], Session | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, session: Callable[[], Session | None]) -> bool:
        """Return true once the server stops, false once the session, if there is one by then, no longer counts."""
        if self._stopping:
            return True
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()
        self._waiting[ended] = session
        if self._looking is None:
            self._looking = loop.create_task(self._look_on())
        try:
            return await ended
        finally:
            del self._waiting[ended]
            if not self._waiting and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look_on(self) -> None:
        while not self._stopping:
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._stopping.wait()
            except TimeoutError:
                await self._look()
        for ended in self._waiting:
            if not ended.done():
                ended.set_result(True)

    async def _look(self) -> None:
        try:
            await self._end_those_whose_token_has_ended()
        except Exception:  # border: chore
            log.exception("the tokens of open streams could not be looked at")

    async def _end_those_whose_token_has_ended(self) -> None:
        counts: dict[Token, bool] = {}
        for number, (ended, session) in enumerate([*self._waiting.items()], 1):
            known = session()
            if known is not None and known.token is not None:
                if known.token not in counts:
                    counts[known.token] = await self._accounts.counts(known)
                if not counts[known.token] and not ended.done():
                    ended.set_result(False)
            if number % TURN == 0:
                await asyncio.sleep(0)
