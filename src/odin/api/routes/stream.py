"""``GET /v1/pipelines/{id}/stream``: a pipeline as it moves, by server-sent events.

A snapshot first; then, after each hint of the feed, the rows that moved since, as they are by then: a slow reader
sees fewer, newer states and holds nothing up. Each event's id is the position of the last change it shows, and
events of one reading are in that order, so that ``Last-Event-ID`` resumes without a gap.
Source: api.md, "Pipelines"; https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from odin.api import shapes
from odin.api.answers import ENCODER
from odin.api.routes.pipelines import view_of
from odin.api.routing import router
from odin.api.services import Context, Ctx
from odin.api.streams import EVENTS, Stream
from odin.engine.feed import Watcher
from odin.store.queries import PipelineView, Queries

BEAT_S = 15.0
BEAT = b": still here\n\n"
routes = router()


@routes.get("/v1/pipelines/{pipeline}/stream")
async def stream(pipeline: str, request: Request, odin: Ctx) -> Response:
    """Events ``pipeline``, ``task`` and, at last, ``end``; their data are the REST objects."""
    view = await view_of(pipeline, odin)
    since = _position(request.headers.get("last-event-id", ""), view)
    return Stream(_events(view.id, since, odin), odin, media_type=EVENTS)


def _position(given: str, view: PipelineView) -> int | None:
    """Where to resume; None, for a snapshot, if the position is not one of this pipeline's."""
    return int(given) if given.isdecimal() and len(given) < 19 and 0 < int(given) <= view.seq else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What moved since a position: frames in the order of their ids. ``over`` is true once nothing can follow."""

    frames: list[bytes]
    seq: int
    over: bool
    behind: bool = False


async def _events(pipeline: str, since: int | None, odin: Context) -> AsyncGenerator[bytes]:
    async with odin.services.feed.subscribe(pipeline) as watcher:
        while True:
            reading = await run_sync(_read, odin.services.queries, pipeline, since)
            if reading is None:  # it was cleaned up
                return
            for piece in reading.frames:
                yield piece
            if reading.over:
                return
            since = reading.seq
            while not reading.behind and not await _moved(watcher):
                yield BEAT


async def _moved(watcher: Watcher) -> bool:
    try:
        async with asyncio.timeout(BEAT_S):
            await watcher.changed()
            return True
    except TimeoutError:
        return False


def _read(queries: Queries, pipeline: str, since: int | None) -> Reading | None:
    return _snapshot(queries, pipeline) if since is None else _changes(queries, pipeline, since)


def _snapshot(queries: Queries, pipeline: str) -> Reading | None:
    view = queries.pipeline(pipeline)
    if view is None:
        return None
    frames = [frame("pipeline", view.seq, shapes.pipeline(view))]
    return _ended(frames, view) if view.outcome else Reading(frames, view.seq, over=False)


def _changes(queries: Queries, pipeline: str, since: int) -> Reading | None:
    """Rows, as they are now, of what the history names.

    They may be newer than the history that was read before them, never older; what came between is read next time.
    """
    history = queries.events(pipeline, after_seq=since)
    newest = {row.idx: row.seq for row in history}
    seq = history[-1].seq if history else since
    view, tasks = queries.rows(pipeline, [idx for idx in newest if idx is not None])
    if view is None:
        return None
    frames = [(newest[task.idx], "task", shapes.task(task)) for task in tasks]
    whole = queries.pipeline(pipeline) if None in newest or view.outcome else None
    if whole is not None and None in newest:
        frames.append((newest[None], "pipeline", shapes.pipeline(whole)))
    encoded = [frame(kind, at, data) for at, kind, data in sorted(frames, key=lambda one: one[0])]
    if whole is not None and whole.outcome and whole.seq <= seq:
        return _ended(encoded, whole)
    return Reading(encoded, seq, over=False, behind=view.seq > seq)


def _ended(frames: list[bytes], view: PipelineView) -> Reading:
    return Reading([*frames, frame("end", view.seq, shapes.pipeline(view))], view.seq, over=True)


def frame(event: str, position: int, data: shapes.Shape) -> bytes:
    """One server-sent event; JSON has no line breaks outside strings, and none unescaped in them."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, event.encode(), ENCODER.encode(data))
