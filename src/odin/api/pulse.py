"""How far the tasks of a pipeline are, for those who wait for their logs to begin or to end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import ExitStack

from anyio.to_thread import run_sync

from odin.api.crowd import Crowd
from odin.engine.feed import Feed
from odin.model.errors import OdinError
from odin.store.queries import Progress, Queries

GAP_S = 0.02
RETRY_S = 1.0
log = logging.getLogger(__name__)


class Pulse:
    """How far those tasks of one pipeline are whose logs are followed.

    One reading for all of them after each move, and one for all who come at the same time.
    """

    def __init__(self, pipeline: str, queries: Queries, feed: Feed) -> None:
        self.pipeline = pipeline
        self.wanted: Counter[int] = Counter()
        self._queries = queries
        self._held = ExitStack()
        self._watcher = self._held.enter_context(feed.watch(pipeline))
        self._seen: dict[int, Progress] = {}
        self._seen_of: frozenset[int] = frozenset()  # whom the last reading was for
        self._crowd = Crowd()
        self._reader = asyncio.get_running_loop().create_task(self._read_on())

    async def first(self, idx: int) -> Progress | None:
        """How far a task is that is wanted already, once the store answers; what comes then is told by ``next``."""
        if idx in self._seen_of:
            return self._seen.get(idx)
        self._watcher.again()
        return await self.next(idx)

    async def next(self, idx: int) -> Progress | None:
        """The same after the next move."""
        while True:
            await self._crowd.moved()
            if idx in self._seen_of:
                return self._seen.get(idx)

    def close(self) -> None:
        self._held.close()
        self._reader.cancel()

    async def _read_on(self) -> None:
        while True:
            await self._watcher.changed()
            wanted = frozenset(self.wanted)
            try:
                seen = await run_sync(self._queries.progress, self.pipeline, [*wanted])
            except OdinError as error:
                log.warning("%s cannot be read for those who follow its logs: %s", self.pipeline, error)
                await asyncio.sleep(RETRY_S)
                self._watcher.again()
                continue
            self._seen, self._seen_of = seen, wanted
            if not wanted.issuperset(self.wanted):
                self._watcher.again()  # who came meanwhile may have been told what an earlier reading said
            await self._crowd.tell(moved=True)
            await asyncio.sleep(GAP_S)
