"""Logs of tasks, whole, in part, or as they come. Source: api.md, "Resources"; reliability.md, F-71, F-72."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, cast

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
from odin.engine.feed import Watcher
from odin.model.errors import NotFound
from odin.model.ids import AttemptId, TaskId, attempt_id, split_resource
from odin.model.states import FINAL, AttemptState
from odin.store.queries import AttemptView, TaskView

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
    if is_pipeline(resource):
        view = await view_of(resource, odin)
        raise NotFound("a pipeline has no log, its tasks have", near=[one.id for one in view.tasks[:3]])
    del container  # a local task is one process; clients name containers for clusters
    _, task, attempts = await task_of(resource, odin)
    number = attempt or split_resource(resource)[2]
    if number is not None and number > max(1, len(attempts)):
        raise NotFound(f"{task.id} has no attempt {number}; it had {len(attempts)}")
    live = follow or "text/plain" in request.headers.get("accept", "")
    if live:
        return Stream(Tail(task.id, number, lines, offset, odin).pieces(), odin, media_type=TEXT)
    return await _once(_name(task, number), lines, offset, odin)


def _name(task: TaskView, number: int | None) -> AttemptId:
    return attempt_id(TaskId(task.id), number or max(1, task.attempt))


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


class Tail:
    """Follows one attempt from before its start to its end: the one named, else the newest when it began."""

    def __init__(self, task: str, number: int | None, lines: int | None, offset: int | None, odin: Context) -> None:
        self._task = task
        self._number = number
        self._lines = lines
        self._offset = offset
        self._odin = odin
        self._over = False

    async def pieces(self) -> AsyncGenerator[bytes]:
        async with self._odin.services.feed.subscribe(split_resource(self._task)[0]) as watcher:
            found = await self._begun(watcher)
            if found is None:
                return
            name = attempt_id(TaskId(self._task), found.number)
            watching = asyncio.get_running_loop().create_task(self._watch(watcher, found.number))
            try:
                async for piece in self._bytes(name):
                    yield piece
            except NotFound:  # it ended without ever writing
                return
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _bytes(self, name: AttemptId) -> AsyncGenerator[bytes]:
        offset = self._offset or 0
        if self._lines is not None:
            offset = (await logtails.read_lines(self._odin.services.logs, name, self._lines)).offset
        source = self._odin.services.logs.follow(name, offset=offset, ended=lambda: self._over)
        async with aclosing(cast(AsyncGenerator[bytes], source)) as pieces:
            async for piece in pieces:
                yield piece

    async def _begun(self, watcher: Watcher) -> AttemptView | None:
        """The attempt once it has begun; None if the task is over, or gone, without one."""
        while True:
            found = await run_sync(self._odin.services.queries.task, self._task)
            if found is None:
                return None
            _, task, attempts = found
            wanted = [one for one in attempts if self._number in (None, one.number)]
            if wanted and wanted[-1].state != AttemptState.PLANNED:
                self._over = wanted[-1].state == AttemptState.ENDED
                return wanted[-1]
            if task.status in FINAL:
                return None
            await watcher.changed()

    async def _watch(self, watcher: Watcher, number: int) -> None:
        while not self._over:
            await watcher.changed()
            found = await run_sync(self._odin.services.queries.task, self._task)
            attempts = found[2] if found else []
            self._over = all(one.state == AttemptState.ENDED for one in attempts if one.number == number)
