"""START: run a job and tell of its tasks as they are submitted and finish.

The pipeline belongs to the server from its first reply on: it runs on whatever becomes of the socket. What is told
is read off the pipeline's channel, so a slow client hears less and holds nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing

import msgspec
from anyio.to_thread import run_sync

from odin.api.frames import Frame
from odin.api.sockets.ask import Ask, Replies
from odin.api.sockets.messages import END, OK, Reply, text
from odin.model.states import FINAL, TaskStatus

LARGE = 64 * 1024  # bytes of a frame that is read beside the event loop


class Task(msgspec.Struct):
    """What matters here of a task as the REST tier shows it."""

    id: str
    status: str
    attempt: int
    reason: str | None


class Pipeline(msgspec.Struct, rename="camel"):
    """What moved in a pipeline, or all of it."""

    tasks: list[Task]
    outcome: str | None = None
    error_message: str | None = None


async def start(ask: Ask) -> Replies:
    """OK with the pipeline's id, OK for each task that is submitted or over, END with the id.

    ``position`` beside a line is one of ``GET /v1/pipelines/{id}/stream``, from which a client can go on. Beside END
    stand ``outcome`` and ``error_message``; ``outcome`` is null where the pipeline was cleaned up before.
    """
    job = text(ask.request, "the request of START, a job,")
    ref = await ask.odin.services.commands.launch(job, ask.actor)
    yield Reply(OK, ref.id, bookmark=bookmark(ref.id, 0))
    ask.follow()
    known: dict[str, Task] = {}
    position = 0
    last = Pipeline([])
    async with aclosing(ask.odin.channels.follow(ref.id, None)) as news:
        async for each in news:
            for frame in each.frames:
                last = await shown(frame)
                lines = list(progress(known, last.tasks))
                for count, line in enumerate(lines, 1):
                    if count == len(lines):  # a position stands for all that was told of it
                        position = frame.position
                    yield Reply(OK, line, {"position": position}, bookmark(ref.id, position))
    yield Reply(END, ref.id, {"outcome": last.outcome, "error_message": last.error_message})


def bookmark(pipeline: str, position: int) -> str:
    return f"it runs on: GET /v1/pipelines/{pipeline}/stream, Last-Event-ID: {position}"


async def shown(frame: Frame) -> Pipeline:
    """What a frame shows: one task, or the pipeline with all of them."""
    if frame.event == "task":
        return Pipeline([msgspec.json.decode(frame.data, type=Task)])
    if len(frame.text) < LARGE:
        return _pipeline(frame)
    return await run_sync(_pipeline, frame)


def _pipeline(frame: Frame) -> Pipeline:
    return msgspec.json.decode(frame.data, type=Pipeline)


def progress(known: dict[str, Task], tasks: Sequence[Task]) -> Iterator[str]:
    """What is new in these tasks, as lines; ``known`` is brought up to date."""
    for task in tasks:
        before = known.get(task.id) or Task(task.id, TaskStatus.WAITING, 0, None)
        known[task.id] = task
        if task.attempt > before.attempt:
            yield f"{task.id} is submitted" + (f" again (attempt {task.attempt})" if task.attempt > 1 else "")
        if task.status in FINAL and before.status not in FINAL:
            yield f"{task.id} is {task.status}" + (f": {task.reason}" if task.reason else "")
