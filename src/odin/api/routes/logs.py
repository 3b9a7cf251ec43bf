"""Logs of tasks, whole, in part, or as they come. Source: api.md, "Resources"; reliability.md, F-71, F-72."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from odin.api import logtails
from odin.api.accounts import Session
from odin.api.answers import answer
from odin.api.routes.pipelines import view_of
from odin.api.routes.resources import admit_foreign, is_foreign, is_pipeline, task_of
from odin.api.routing import router
from odin.api.services import Context, Ctx, Who
from odin.api.streams import TEXT, Stream
from odin.executors.protocol import Logs
from odin.model.errors import InvalidInput, NoContainer, NotFound, Unavailable
from odin.model.ids import AttemptId, TaskId, attempt_id, split_resource
from odin.store.queries import PipelineView, Progress

MOST_LINES = 1_000_000_000
LARGEST_OFFSET = 2**53
MOST_TASKS = 500  # of a pipeline in one answer
routes = router()


@routes.get("/v1/resources/{resource:path}/logs")
async def logs(
    resource: str,
    request: Request,
    odin: Ctx,
    who: Who,
    lines: Annotated[int | None, Query(ge=0, le=MOST_LINES)] = None,
    offset: Annotated[int | None, Query(ge=0, le=LARGEST_OFFSET)] = None,
    container: str | None = None,
    attempt: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    previous: bool = False,
    follow: bool = False,
) -> Response:
    """What a task wrote, or each task of a pipeline; with ``follow``, or asked for as ``text/plain``, as it comes.

    Of a pipeline only ``lines`` can be asked for. ``previous`` is the attempt before the newest, or before the one
    that is named; ``container`` a container, or a pod of several, where a task has such.
    """
    if is_foreign(resource):
        return await _foreign(resource, container, lines, odin, who, follow=follow)
    live = follow or "text/plain" in request.headers.get("accept", "")
    if is_pipeline(resource) and not live and offset is None and attempt is None:
        return await _of_each(await view_of(resource, odin), lines, odin)
    task, number = await logged(resource, attempt, odin, previous=previous)
    chosen = odin.services.logs.of(container)
    if live:
        await check(chosen, task, number, container)
        follower = odin.tails.follow(task, number, lines=lines, offset=offset, container=container)
        return Stream(follower.pieces(), odin, media_type=TEXT)
    return await _once(chosen, log_name(task, number), lines, offset)


async def _foreign(
    resource: str, container: str | None, lines: int | None, odin: Context, who: Session | None, *, follow: bool
) -> Response:
    """Of an object that is not Odin's: its pods' last lines, as they are now."""
    await admit_foreign(resource, odin, who.user if who else None)
    told = await odin.services.resources.log(resource, container=container, lines=lines)
    if follow:
        raise InvalidInput("the logs of tasks can be followed; of other resources ask for lines")
    said = await run_sync(lambda: told.decode(errors="replace"))
    return await run_sync(answer, {"logs": said, "offset": 0, "size": len(told)})


async def logged(
    resource: str, attempt: int | None, odin: Context, *, previous: bool = False
) -> tuple[Progress, int | None]:
    """Whose log is meant, and of which attempt if one is named; raises NotFound with the nearest names."""
    if is_pipeline(resource):
        view = await view_of(resource, odin)
        raise NotFound("a pipeline has no log of its own, its tasks have", near=[one.id for one in view.tasks[:3]])
    task = await odin.tails.find(resource)
    if task is None:
        await task_of(resource, odin)  # says what there is
        raise NotFound(f"{resource} was removed just now")
    number = attempt or split_resource(resource)[2]
    tried = len(task.attempts)
    if number is not None and number > max(1, tried):
        raise NotFound(f"{task.id} has no attempt {number}; it had {tried}")
    return task, before(task, number) if previous else number


def before(task: Progress, number: int | None) -> int:
    """The attempt before an attempt, or before the newest. Raises NotFound for the first."""
    number = number or max(1, len(task.attempts))
    if number == 1:
        raise NotFound(f"{task.id} has no previous attempt: attempt {number} is its first")
    return number - 1


async def check(logs: Logs, task: Progress, number: int | None, container: str | None) -> None:
    """Raise NoContainer now: once a stream has begun, it could not be said any more."""
    if container is None:
        return
    try:
        await logs.read(log_name(task, number), offset=0, limit=0)
    except NoContainer:
        raise
    except (NotFound, Unavailable):  # it has not begun, or cannot be read now: the stream waits
        return


def log_name(task: Progress, number: int | None) -> AttemptId:
    return attempt_id(TaskId(task.id), number or max(1, len(task.attempts)))


async def _once(logs: Logs, name: AttemptId, lines: int | None, offset: int | None) -> Response:
    try:
        part = await part_of(logs, name, lines, offset)
    except NoContainer:
        raise
    except NotFound:  # known, but nothing was written: it has not begun
        return answer({"logs": "", "offset": 0, "size": 0})
    text = await run_sync(logtails.shown, part) if lines is None else part.data.decode(errors="replace")
    return await run_sync(answer, {"logs": text, "offset": part.offset, "size": part.size})


async def _of_each(view: PipelineView, lines: int | None, odin: Context) -> Response:
    """The newest attempts of the tasks that have begun, in the file's order, each under its id; 10 MiB in all."""
    begun = [task for task in view.tasks if task.attempt]
    shown = begun[-MOST_TASKS:]
    texts = [f"[odin: {len(begun) - len(shown)} tasks before these are left out]\n"] if len(shown) < len(begun) else []
    for task in shown:
        name = attempt_id(TaskId(task.id), task.attempt)
        texts.append(f"==> {task.id} <==\n{await _text(name, lines, logtails.MOST // len(shown), odin)}")
    return await run_sync(answer, {"logs": "\n".join(texts)})


async def _text(name: AttemptId, lines: int | None, most: int, odin: Context) -> str:
    """Up to its end, which is a line's; empty if nothing was written."""
    try:
        if lines is None:
            text = logtails.shown(await logtails.read_last(odin.services.logs, name, most))
        else:
            text = (await logtails.read_lines(odin.services.logs, name, lines, most)).data.decode(errors="replace")
    except NotFound:
        return ""
    return text if text.endswith("\n") or not text else text + "\n"


async def part_of(
    logs: Logs, name: AttemptId, lines: int | None, offset: int | None, most: int = logtails.MOST
) -> logtails.Part:
    """The last lines, what begins at a byte, or the end. Raises NotFound."""
    if lines is not None:
        return await logtails.read_lines(logs, name, lines, most)
    if offset is not None:
        return await logtails.read_from(logs, name, offset, most)
    return await logtails.read_last(logs, name, most)
