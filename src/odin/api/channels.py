"""Channels: one reader for each watched pipeline, however many watch it.

The reader is woken by the feed, reads what moved once, encodes each frame once and puts it into a ring of bounded
size, in the order of positions. Who watches is only a cursor: a position in the history. A cursor that fell out of
the ring gets a snapshot, which is shared as well; one that comes back with an older position makes the ring reach
further back, so that it gets exactly what it missed. The reader ends when nobody watches. For HTTP streams and
WebSockets alike:

    position = await channels.position(pipeline, given)     # raises NotFound; None where a snapshot is due
    async with aclosing(channels.follow(pipeline, position)) as news:
        async for each in news:                             # ends after the frame "end", or when it was cleaned up
            each.text                                       # server-sent events, ready to be sent
            each.frames                                     # the same as frames (position, event, data); none in a beat

Every frame shows a row as it was at its position or later. So a cursor at p has everything once it has all frames
above p, and frames of changes that came close together may be one. Source: api.md, "Pipelines"; reliability.md, F-72.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass
from functools import partial

from anyio.to_thread import run_sync
from msgspec import Raw

from odin.api import shapes
from odin.api.crowd import Crowd
from odin.api.frames import BEAT, Frame, News, Ring, encode
from odin.api.gathering import Gathering
from odin.api.portraits import Portrait, Portraits
from odin.engine.feed import Feed, Watcher
from odin.model.errors import NotFound, OdinError
from odin.model.names import shown
from odin.store import moves
from odin.store.moves import Moves, Place
from odin.store.queries import PipelineView, Queries

BEAT_S = 15.0
RING_BYTES = 256 << 10  # of one pipeline,
RING_BYTES_LEAST = 16 << 10  # or as little as this when many are watched:
RINGS_BYTES = 32 << 20  # all rings together
REACH = 500  # positions that a ring is made to reach back by at least
FAR = 1_000  # further behind than this a snapshot costs less
SNAPSHOT_S = 2.0  # for how long one is shared
SNAPSHOT_GAP_S = 0.25
RETRY_S = 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole pipeline at a position; ``end`` is there if nothing can follow."""

    position: int
    news: News
    end: News | None
    read_at: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What moved up to ``head``; ``behind`` if there is more, ``end`` if nothing can follow."""

    frames: list[Frame]
    head: int
    behind: bool
    end: News | None


class Channel:
    """One watched pipeline: the ring, who waits for it, and its reader."""

    def __init__(self, pipeline: str, readings: Readings, feed: Feed) -> None:
        self.pipeline = pipeline
        self.room = RING_BYTES
        self.watchers = 0
        self.gone = False
        self.ring: Ring | None = None  # until it is known where to begin
        self._end: News | None = None
        self._readings = readings
        self._held = ExitStack()
        self._watcher = self._held.enter_context(feed.watch(pipeline))
        self._crowd = Crowd()
        self._reader: asyncio.Task[None] | None = None
        self._snapshot: Snapshot | None = None
        self._reading: asyncio.Task[Snapshot | None] | None = None
        self._reaching = asyncio.Lock()

    async def follow(self, position: int | None) -> AsyncGenerator[News]:
        """News after a position, or from a snapshot on."""
        ring = await self._reach(position) if position is not None else self.ring
        while True:
            if position is None or ring is None or position < ring.floor:
                snapshot = await self._shared_snapshot()
                if snapshot is None:
                    return
                ring = self._begin(snapshot.position, snapshot.end)
                position = snapshot.position
                yield snapshot.news
            elif position < ring.head:
                news = ring.after(position)
                position = news.frames[-1].position
                yield news
            elif self._end is not None:
                yield self._end
                return
            elif self.gone:
                return
            elif not await self._crowd.moved():
                yield BEAT

    def close(self) -> None:
        self._held.close()
        for task in (self._reader, self._reading):
            if task is not None:
                task.cancel()

    def _begin(self, position: int, end: News | None = None) -> Ring:
        """The ring; if this is the first to need one, it begins at the position."""
        if self.ring is None:
            self.ring = Ring(position, self.room)
            self._end = end
            if end is None:
                self._reader = asyncio.get_running_loop().create_task(self._read_on())
        return self.ring

    async def _reach(self, position: int) -> Ring:
        """The ring, reaching back to a position if that is not too long ago."""
        ring = self._begin(position)
        async with self._reaching:
            floor = ring.floor
            if not floor - FAR < position < floor:
                return ring
            back = max(0, min(position, floor - REACH))
            reading = await self._readings.moves.get((self.pipeline, back))
            if reading is not None and ring.floor == floor:
                ring.reach_back([frame for frame in reading.frames if frame.position <= floor], back)
        return ring

    # The reader

    async def _read_on(self) -> None:
        try:
            assert self.ring is not None
            while not (self.gone or self._end):
                await self._read(self.ring)
        except Exception:  # border: chore
            log.exception("the reader of %s failed; its streams are ended", self.pipeline)
            self.gone = True
        await self._crowd.tell(moved=True)

    async def _read(self, ring: Ring) -> None:
        try:
            reading = await self._readings.moves.get((self.pipeline, ring.head))
        except OdinError as error:
            log.warning("%s cannot be read for its streams: %s", self.pipeline, error)
            await asyncio.sleep(RETRY_S)
            return
        if reading is None:
            self.gone = True
            return
        ring.room = self.room
        ring.add(reading.frames, reading.head)
        self._end = reading.end
        if reading.end is None and reading.frames:
            await self._crowd.tell(moved=True)
        while reading.end is None and not reading.behind and not await _moved(self._watcher):
            await self._crowd.tell(moved=False)

    # Snapshots

    async def _shared_snapshot(self) -> Snapshot | None:
        """One that the ring goes on from: the last one for two seconds, else a new one; None if it was cleaned up."""
        now = asyncio.get_running_loop().time()
        kept, floor = self._snapshot, self.ring.floor if self.ring else 0
        if kept is not None and kept.position >= floor and now < kept.read_at + SNAPSHOT_S:
            return kept
        if self._reading is None or self._reading.done():
            wait_s = kept.read_at + SNAPSHOT_GAP_S - now if kept is not None else 0.0
            self._reading = asyncio.get_running_loop().create_task(self._read_snapshot(max(0.0, wait_s)))
        return await asyncio.shield(self._reading)

    async def _read_snapshot(self, wait_s: float) -> Snapshot | None:
        await asyncio.sleep(wait_s)
        portrait = await self._readings.portraits.get(self.pipeline)
        if portrait is None:
            return None
        loop = asyncio.get_running_loop()
        self._snapshot = snapshot = _snapshot(portrait, loop.time())
        loop.call_later(SNAPSHOT_S, self._drop, snapshot)
        return snapshot

    def _drop(self, snapshot: Snapshot) -> None:
        if self._snapshot is snapshot:
            self._snapshot = None


class Readings:
    """What all channels read, gathered: however many are watched, one reading at a time."""

    def __init__(self, queries: Queries, portraits: Portraits) -> None:
        self.portraits = portraits
        self.positions = Gathering(queries.positions)
        self.moves = Gathering(partial(_read, queries))


class Channels:
    """All channels of a server. Used from the event loop only."""

    def __init__(self, queries: Queries, feed: Feed, portraits: Portraits) -> None:
        self._queries = queries
        self._readings = Readings(queries, portraits)
        self._feed = feed
        self._channels: dict[str, Channel] = {}

    async def position(self, pipeline: str, given: str = "") -> int | None:
        """The position that a client gave, None if it is not one of this pipeline's. Raises NotFound."""
        wanted = int(given) if given.isdecimal() and len(given) < 19 else 0
        channel = self._channels.get(pipeline)
        if channel is None or channel.gone or channel.ring is None or wanted > channel.ring.head:
            newest = await self._readings.positions.get(pipeline)
            if newest is None:
                near = await run_sync(self._queries.nearest, pipeline)
                raise NotFound(f"there is no pipeline {shown(pipeline)}", near=near)
            wanted = wanted if wanted <= newest else 0
        return wanted or None

    async def follow(self, pipeline: str, position: int | None) -> AsyncGenerator[News]:
        """What happens after a position, or from a snapshot on; see the module."""
        channel = self._enter(pipeline)
        try:
            async with aclosing(channel.follow(position)) as news:
                async for each in news:
                    yield each
        finally:
            self._leave(channel)

    def _enter(self, pipeline: str) -> Channel:
        channel = self._channels.get(pipeline)
        if channel is None or channel.gone:
            channel = self._channels[pipeline] = Channel(pipeline, self._readings, self._feed)
        channel.room = max(RING_BYTES_LEAST, min(RING_BYTES, RINGS_BYTES // len(self._channels)))
        channel.watchers += 1
        return channel

    def _leave(self, channel: Channel) -> None:
        channel.watchers -= 1
        if not channel.watchers:
            channel.close()
            if self._channels.get(channel.pipeline) is channel:
                del self._channels[channel.pipeline]


async def _moved(watcher: Watcher) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(BEAT_S):
            await watcher.changed()
            return True
    return False


def _read(queries: Queries, places: Collection[Place]) -> dict[Place, Reading]:
    return {place: _reading(found) for place, found in moves.read(queries, places).items()}


def _reading(found: Moves) -> Reading:
    view = found.pipeline
    behind = found.seq < view.seq
    return Reading(_frames(found), found.seq, behind, None if behind or view.outcome is None else _end(view))


def _frames(found: Moves) -> list[Frame]:
    """A frame for each row that moved, in the order of the positions of their last changes."""
    newest = found.newest
    frames = [_frame("task", newest[task.idx], shapes.task(task)) for task in found.tasks if task.idx in newest]
    if None in newest:
        frames.append(_frame("pipeline", newest[None], shapes.pipeline(found.pipeline)))
    return sorted(frames, key=lambda frame: frame.position)


def _snapshot(portrait: Portrait, now: float) -> Snapshot:
    news = News((_frame("pipeline", portrait.position, portrait.data),))
    end = News((_frame("end", portrait.position, portrait.data),)) if portrait.is_over else None
    return Snapshot(portrait.position, news, end, now)


def _end(view: PipelineView) -> News:
    return News((_frame("end", view.seq, shapes.pipeline(view)),))


def _frame(event: str, position: int, data: shapes.Shape | Raw) -> Frame:
    return Frame(position, event, encode(position, event, data))
