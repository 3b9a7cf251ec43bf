"""Reading for many at once: who asks while a reading is under way shares the next one.

So one thread reads however many ask, the store is asked once for all of them, and everybody's answer is read after
they asked. Used from the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

from anyio.to_thread import run_sync

MOST = 100  # keys of one reading, so that whoever comes next does not wait for long

K = TypeVar("K")
V = TypeVar("V")


class Batch(Generic[K, V]):
    """What will be read at once."""

    def __init__(self, key: K) -> None:
        self.keys = {key}
        self.reading: asyncio.Task[Mapping[K, V]]


class Gathering(Generic[K, V]):
    """Answers by key. ``read`` is called in a thread, with one key at least; a key it leaves out has no answer."""

    def __init__(self, read: Callable[[Collection[K]], Mapping[K, V]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._next: Batch[K, V] | None = None

    async def get(self, key: K) -> V | None:
        """The answer as of now, None if there is none. Raises what ``read`` raises."""
        batch = self._next
        if batch is None or len(batch.keys) >= MOST:
            batch = self._next = Batch(key)
            batch.reading = asyncio.get_running_loop().create_task(self._answer(batch))
        batch.keys.add(key)
        return (await asyncio.shield(batch.reading)).get(key)

    async def _answer(self, batch: Batch[K, V]) -> Mapping[K, V]:
        async with self._turn:
            if self._next is batch:
                self._next = None
            return await run_sync(self._read, batch.keys)
