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
    """How far those tasks of one pipeline are whose logs are followed: one reading for all of them after each move."""

    def __init__(self, pipeline: str, queries: Queries, feed: Feed) -> None:
        self.pipeline = pipeline
        self.wanted: Counter[int] = Counter()
        self._queries = queries
        self._held = ExitStack()
        self._watcher = self._held.enter_context(feed.watch(pipeline))
        self._seen: dict[int, Progress] = {}
        self._crowd = Crowd()
        self._reader = asyncio.get_running_loop().create_task(self._read_on())

    async def first(self, idx: int) -> Progress | None:
        """How far a task is now; one that is wanted already."""
        return (await run_sync(self._queries.progress, self.pipeline, [idx])).get(idx)

    async def surely(self, idx: int) -> Progress | None:
        """The same, even if the store has to be waited for."""
        while True:
            try:
                return await self.first(idx)
            except OdinError:
                await asyncio.sleep(RETRY_S)

    async def next(self, idx: int) -> Progress | None:
        """The same after the next move."""
        await self._crowd.moved()
        return self._seen.get(idx)

    def close(self) -> None:
        self._held.close()
        self._reader.cancel()

    async def _read_on(self) -> None:
        while True:
            await self._watcher.changed()
            try:
                self._seen = await run_sync(self._queries.progress, self.pipeline, [*self.wanted])
            except OdinError as error:
                log.warning("%s cannot be read for those who follow its logs: %s", self.pipeline, error)
                await asyncio.sleep(RETRY_S)
                self._watcher.again()
                continue
            await self._crowd.tell(moved=True)
            await asyncio.sleep(GAP_S)
