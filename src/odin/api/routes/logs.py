"""Logs of tasks, whole, in part, or as they come. Source: api.md, "Resources"; reliability.md, F-71, F-72."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from odin.api import logtails
from odin.api.answers import answer
from odin.api.routes.pipelines import view_of
from odin.api.routes.resources import is_pipeline, task_of
from odin.api.routing import router
from odin.api.services import Context, Ctx
from odin.api.streams import TEXT, Stream
from odin.model.errors import NotFound
from odin.model.ids import AttemptId, TaskId, attempt_id, split_resource
from odin.store.queries import Progress

MOST_LINES = 1_000_000_000
LARGEST_OFFSET = 2**53
routes = router()


@routes.get("/v1/resources/{resource}/logs")
async def logs(
    resource: str,
    request: Request,
    odin: Ctx,
    lines: Annotated[int | None, Query(ge=0, le=MOST_LINES)] = None,
    offset: Annotated[int | None, Query(ge=0, le=LARGEST_OFFSET)] = None,
    container: str | None = None,
    attempt: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    follow: bool = False,
) -> Response:
    """What a task wrote; with ``follow``, or asked for as ``text/plain``, as it comes."""
    del container  # a local task is one process; clients name containers for clusters
    task, number = await logged(resource, attempt, odin)
    live = follow or "text/plain" in request.headers.get("accept", "")
    if live:
        follower = odin.tails.follow(task.id, number, lines=lines, offset=offset)
        return Stream(follower.pieces(), odin, media_type=TEXT)
    return await _once(log_name(task, number), lines, offset, odin)


async def logged(resource: str, attempt: int | None, odin: Context) -> tuple[Progress, int | None]:
    """Whose log is meant, and of which attempt if one is named; raises NotFound with the nearest names."""
    if is_pipeline(resource):
        view = await view_of(resource, odin)
        raise NotFound("a pipeline has no log, its tasks have", near=[one.id for one in view.tasks[:3]])
    task = await odin.tails.find(resource)
    if task is None:
        await task_of(resource, odin)  # says what there is
        raise NotFound(f"{resource} was removed just now")
    number = attempt or split_resource(resource)[2]
    tried = len(task.attempts)
    if number is not None and number > max(1, tried):
        raise NotFound(f"{task.id} has no attempt {number}; it had {tried}")
    return task, number


def log_name(task: Progress, number: int | None) -> AttemptId:
    return attempt_id(TaskId(task.id), number or max(1, len(task.attempts)))


async def _once(name: AttemptId, lines: int | None, offset: int | None, odin: Context) -> Response:
    try:
        part = await _part(name, lines, offset, odin)
    except NotFound:  # known, but nothing was written: it has not begun
        return answer({"logs": "", "offset": 0, "size": 0})
    text = await run_sync(logtails.shown, part) if lines is None else part.data.decode(errors="replace")
    return await run_sync(answer, {"logs": text, "offset": part.offset, "size": part.size})


async def _part(name: AttemptId, lines: int | None, offset: int | None, odin: Context) -> logtails.Part:
    if lines is not None:
        return await logtails.read_lines(odin.services.logs, name, lines)
    if offset is not None:
        return await logtails.read_from(odin.services.logs, name, offset)
    return await logtails.read_last(odin.services.logs, name)
