"""Tells the event loop which pipelines have moved, or are gone. A hint: who is told reads the store.

The engine publishes after each commit. Between two wake-ups of the loop all hints become one, so a fast pipeline
costs a slow reader nothing, and nothing is buffered but one number for each pipeline that somebody watches.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

GONE = 2**62  # above every ``seq``: the pipeline's rows were removed


class Watcher:
    """One who waits for a pipeline to move. Used in the event loop."""

    def __init__(self) -> None:
        self._seq = 0
        self._seen = 0
        self._moved = asyncio.Event()

    def tell(self, seq: int) -> None:
        if seq > self._seq:
            self._seq = seq
            self._moved.set()

    def again(self) -> None:
        """It could not be read, or is to be read for others too: return it once more, be it 0."""
        self._seen = -1
        self._moved.set()

    async def changed(self) -> int:
        """The newest committed ``seq`` (``GONE`` after a removal), once it is above the one returned last."""
        while self._seq <= self._seen:
            self._moved.clear()
            await self._moved.wait()
        self._seen = self._seq
        return self._seen


class Lookout:
    """One who waits for any pipeline to move, new ones too. Used in the event loop."""

    def __init__(self) -> None:
        self._news: dict[str, int] = {}
        self._moved = asyncio.Event()

    def tell(self, news: Mapping[str, int]) -> None:
        self._news.update(news)
        self._moved.set()

    async def changed(self) -> dict[str, int]:
        """Every pipeline that moved since the last call, with its newest ``seq``; waits until there is one."""
        await self._moved.wait()
        self._moved.clear()
        news, self._news = self._news, {}
        return news


class Feed:
    """Hints from the engine's thread to watchers in the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._news: dict[str, int] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._lookouts: set[Lookout] = set()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver in this loop from now on."""
        self._loop = loop

    def publish(self, seqs: Mapping[str, int]) -> None:
        """Called from the engine's thread after a commit: pipelines and their new ``seq``."""
        loop = self._loop
        watched = {identity: seq for identity, seq in seqs.items() if self._lookouts or identity in self._watchers}
        if loop is None or not watched or loop.is_closed():
            return
        with self._lock:
            quiet = not self._news
            self._news.update(watched)
        if quiet:
            loop.call_soon_threadsafe(self._deliver)

    def removed(self, pipeline: str) -> None:
        """The rows of a pipeline are gone. From any thread."""
        self.publish({pipeline: GONE})

    def _deliver(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
        for identity, seq in news.items():
            for watcher in self._watchers.get(identity, ()):
                watcher.tell(seq)
        for lookout in self._lookouts:
            lookout.tell(news)

    @contextmanager
    def watch(self, pipeline: str) -> Iterator[Watcher]:
        """Watch a pipeline. Begin to watch, then read what was missed, then wait."""
        watcher = Watcher()
        self._watchers.setdefault(pipeline, set()).add(watcher)
        try:
            yield watcher
        finally:
            others = self._watchers[pipeline]
            others.discard(watcher)
            if not others:
                del self._watchers[pipeline]

    @contextmanager
    def look_out(self) -> Iterator[Lookout]:
        """Watch all pipelines, in the same order."""
        lookout = Lookout()
        self._lookouts.add(lookout)
        try:
            yield lookout
        finally:
            self._lookouts.discard(lookout)
