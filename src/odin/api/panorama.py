"""All pipelines as they move: one reader, however many watch. What they share lies in a ring, as in a channel.

An event is a pipeline without its tasks, ``removed``, or ``ready`` behind a list that stands for itself. Its id is a
moment: milliseconds of the store's clock, before the reading that it comes from. Who comes back with one gets all
that is under way, and what ended or was removed since ten seconds before it; some of that was seen already, so a
client leaves out what it knows by id and position. Source: api.md, "Pipelines".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from anyio.to_thread import run_sync

from odin.api import channels, shapes
from odin.api.crowd import Crowd
from odin.api.frames import BEAT, Frame, News, Ring, encode
from odin.engine.feed import Feed
from odin.model.errors import OdinError
from odin.store.overview import Glance, Listed, Overview
from odin.store.queries import Queries

RING_BYTES = 1 << 20
PAGE = 200  # pipelines that are read and encoded at once
GAP_S = 0.25  # so that a client gets at most four states of a pipeline a second
SHARED_S = 2.0
MARGIN_S = 10.0  # an end is committed a little after its moment
ROUND_S = 5  # so that those who come back after a cut share what is read for them
RETRY_S = 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight(Frame):
    """An event with what it can be chosen by; None where that is not known."""

    moment: int
    job: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Pipelines, as they were when the ring was at ``position`` or later."""

    position: int
    news: list[News]
    moment: int
    read_at: float


class View:
    """The ring, who waits for it, and its reader; there while somebody watches."""

    def __init__(self, overview: Overview, feed: Feed, now: Callable[[], int]) -> None:
        self.watchers = 0
        self._now = now
        self._overview = overview
        self._held = ExitStack()
        self._lookout = self._held.enter_context(feed.look_out())
        self._ring = Ring(0, RING_BYTES)
        self._crowd = Crowd()
        self._failed = False
        self._listings: dict[int | None, asyncio.Task[Listing]] = {}
        self._reader = asyncio.get_running_loop().create_task(self._read_on())

    async def follow(self, since: int | None) -> AsyncGenerator[News]:
        while True:
            listing = await self._listed(since)
            for each in listing.news:
                yield each
            position, since = listing.position, listing.moment
            while position >= self._ring.floor:
                if self._failed:
                    return
                if position < self._ring.head:
                    news = self._ring.after(position)
                    position, since = news.frames[-1].position, _moment(news.frames[-1])
                    yield news
                elif not await self._crowd.moved():
                    yield BEAT

    def close(self) -> None:
        self._held.close()
        for task in (self._reader, *self._listings.values()):
            task.cancel()

    # The reader

    async def _read_on(self) -> None:
        try:
            while True:
                await self._read(await self._moved())
        except Exception:  # border: chore
            log.exception("the reader of all pipelines failed; its streams are ended")
        self._failed = True
        await self._crowd.tell(moved=True)

    async def _moved(self) -> list[str]:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(channels.BEAT_S):
                    return [*await self._lookout.changed()]
            await self._crowd.tell(moved=False)

    async def _read(self, ids: list[str]) -> None:
        begun, moment = time.monotonic(), self._now()
        for first in range(0, len(ids), PAGE):
            self._add(await self._moves(ids[first : first + PAGE], moment))
        await self._crowd.tell(moved=True)
        await asyncio.sleep(max(0.0, begun + GAP_S - time.monotonic()))

    async def _moves(self, ids: list[str], moment: int) -> list[Sight]:
        while True:
            try:
                return await run_sync(_moves, self._overview, ids, moment)
            except OdinError as error:
                log.warning("pipelines cannot be read for their streams: %s", error)
                await asyncio.sleep(RETRY_S)

    def _add(self, sights: Iterable[Sight]) -> None:
        head = self._ring.head
        placed = [
            Sight(head + count, one.event, one.text, one.moment, one.job, one.user)
            for count, one in enumerate(sights, 1)
        ]
        self._ring.add(placed, head + len(placed))

    # Lists

    async def _listed(self, since: int | None) -> Listing:
        """What is there to begin with, shared by those who come within two seconds."""
        since = since if since is None else since - since % (ROUND_S * 1000)
        task = self._listings.get(since)
        if task is None or not _fresh(task, self._ring.floor):
            loop = asyncio.get_running_loop()
            task = self._listings[since] = loop.create_task(self._list(since))
            loop.call_later(SHARED_S, self._drop, since, task)
        return await asyncio.shield(task)

    def _drop(self, since: int | None, task: asyncio.Task[Listing]) -> None:
        if self._listings.get(since) is task:
            del self._listings[since]

    async def _list(self, since: int | None) -> Listing:
        position, moment, loop = self._ring.head, self._now(), asyncio.get_running_loop()
        listed = None if since is None else await run_sync(self._overview.since, since / 1000 - MARGIN_S)
        anew = listed is None
        if listed is None:
            listed = await run_sync(self._overview.current)
        news = [
            await run_sync(_page, self._overview, listed.numbers[first : first + PAGE], moment)
            for first in range(0, len(listed.numbers), PAGE)
        ]
        news.append(News((*_removed(listed, moment), *([_ready(moment)] if anew else []))))
        return Listing(position, [each for each in news if each.frames], moment, loop.time())


class Panorama:
    """All pipelines of a server. Used from the event loop only. ``clock`` dates what happens to them."""

    def __init__(self, queries: Queries, feed: Feed, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._overview = Overview(queries)
        self._feed = feed
        self._view: View | None = None

    async def follow(self, given: str = "", *, job: str | None = None, user: str | None = None) -> AsyncGenerator[News]:
        """News since a moment, an id that a client gave; else from a list of what is there. See the module."""
        since = int(given) if given.isdecimal() and len(given) < 16 and int(given) <= self._now() else None
        view = self._view
        if view is None:
            view = self._view = View(self._overview, self._feed, self._now)
        view.watchers += 1
        now = asyncio.get_running_loop().time
        said_at = now()
        try:
            async for news in view.follow(since):
                chosen = _chosen(news, job, user)
                if chosen is None and now() >= said_at + channels.BEAT_S:  # all that moves is others'
                    chosen = BEAT
                if chosen is not None:
                    said_at = now()
                    yield chosen
        finally:
            view.watchers -= 1
            if not view.watchers:
                view.close()
                self._view = None

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _chosen(news: News, job: str | None, user: str | None) -> News | None:
    if (job is None and user is None) or not news.frames:
        return news
    frames = tuple(one for one in news.frames if _fits(one, job, user))
    return News(frames) if frames else None


def _fits(frame: Frame, job: str | None, user: str | None) -> bool:
    """Whether a client wants it. Of what was removed neither is known: all are told."""
    assert isinstance(frame, Sight)
    if frame.job is None:
        return True
    return job in (None, frame.job) and user in (None, frame.user)


def _fresh(task: asyncio.Task[Listing], floor: int) -> bool:
    """Whether the ring goes on from this list; one that is being read still may."""
    if not task.done():
        return True
    return not task.cancelled() and task.exception() is None and task.result().position >= floor


def _moment(frame: Frame) -> int:
    assert isinstance(frame, Sight)
    return frame.moment


def _moves(overview: Overview, moved: Collection[str], moment: int) -> list[Sight]:
    found = {glance.pipeline.id: _sight(glance, moment) for glance in overview.by_id(moved)}
    return [found.get(id_) or _gone(id_, moment) for id_ in moved]


def _page(overview: Overview, numbers: Collection[int], moment: int) -> News:
    return News(tuple(_sight(glance, moment) for glance in overview.by_number(numbers)))


def _removed(listed: Listed, moment: int) -> list[Sight]:
    return [_gone(id_, moment) for id_ in listed.removed]


def _sight(glance: Glance, moment: int) -> Sight:
    view = glance.pipeline
    text = encode(moment, "pipeline", shapes.glance(view, glance.counts))
    return Sight(0, "pipeline", text, moment, view.job, view.username)


def _gone(id_: str, moment: int) -> Sight:
    return Sight(0, "removed", encode(moment, "removed", {"id": id_}), moment)


def _ready(moment: int) -> Sight:
    return Sight(0, "ready", encode(moment, "ready", {}), moment)
