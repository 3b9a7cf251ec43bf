"""Server-sent events: a pipeline as it moves, and all pipelines.

A snapshot first; then what moved, as it is by then: a slow reader sees fewer, newer states and holds nothing up.
Each event's id is the position of the last change it shows, so that ``Last-Event-ID`` resumes without a gap.
Source: api.md, "Pipelines"; https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from odin.api.frames import News
from odin.api.routing import router
from odin.api.services import Ctx
from odin.api.streams import EVENTS, Stream
from odin.model.names import decode

routes = router()


@routes.get("/v1/pipelines/{pipeline}/stream")
async def stream(pipeline: str, request: Request, odin: Ctx) -> Response:
    """Events ``pipeline``, ``task`` and, at last, ``end``; their data are the REST objects."""
    position = await odin.channels.position(pipeline, request.headers.get("last-event-id", ""))
    return Stream(_text(odin.channels.follow(pipeline, position)), odin, media_type=EVENTS)


@routes.get("/v1/stream")
async def stream_all(request: Request, odin: Ctx, job: str | None = None, user: str | None = None) -> Response:
    """Events ``pipeline`` (without its tasks), ``removed`` and, behind a list that stands for itself, ``ready``."""
    news = odin.panorama.follow(
        request.headers.get("last-event-id", ""),
        job=decode(job) if job is not None else None,
        user=user.lower() if user is not None else None,
    )
    return Stream(_text(news), odin, media_type=EVENTS)


async def _text(news: AsyncGenerator[News]) -> AsyncGenerator[bytes]:
    async with aclosing(news) as parts:
        async for each in parts:
            yield each.text
