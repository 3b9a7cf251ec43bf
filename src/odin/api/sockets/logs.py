"""LOGS: what a task wrote, in one reply, or line by line as it comes.

Beside each line stand ``attempt`` and ``offset``, the byte after the line. A request with both goes on there, after
a stop of the server or a cut connection alike.
"""

from __future__ import annotations

from contextlib import aclosing

from anyio.to_thread import run_sync

from odin.api import logtails
from odin.api.answers import ENCODER
from odin.api.logtails import Part
from odin.api.routes.logs import LARGEST_OFFSET, MOST_LINES, check, log_name, logged, part_of
from odin.api.routes.resources import admit_foreign, is_foreign
from odin.api.sockets.ask import Ask, Replies
from odin.api.sockets.messages import END, OK, Fields, Reply
from odin.api.tails import Follower
from odin.executors.protocol import Logs
from odin.model.errors import NoContainer, NotFound
from odin.model.ids import AttemptId

EXAMPLE = '{"resource": "<task>", "follow": true}'
LONGEST_LINE = 64 * 1024  # bytes; a longer one comes in pieces
LARGEST_REPLY = 1_000_000  # bytes: what common clients take at most in one message


async def logs(ask: Ask) -> Replies:
    fields = Fields.read(ask.request, EXAMPLE)
    fields.optional("namespace")  # Odin knows where a task runs
    container = fields.optional("container")
    lines, offset = fields.number("lines", 0, MOST_LINES), fields.number("offset", 0, LARGEST_OFFSET)
    follow, attempt = fields.flag("follow"), fields.number("attempt", 1, 10_000)
    if is_foreign(resource := fields.text("resource")):
        yield Reply(OK, await _foreign(ask, resource, container, lines))
        yield Reply(END, resource)
        return
    previous = fields.flag("previous")
    task, number = await logged(resource, attempt, ask.odin, previous=previous)
    chosen = ask.odin.services.logs.of(container)
    if follow:
        await check(chosen, task, number, container)
        follower = ask.odin.tails.follow(task, number, lines=lines, offset=offset, container=container)
        replies = _followed(ask, follower)
    else:
        replies = _once(chosen, log_name(task, number), lines, offset)
    async with aclosing(replies) as told:
        async for reply in told:
            yield reply
    yield Reply(END, log_name(task, number) if number else task.id)


async def _foreign(ask: Ask, resource: str, container: str | None, lines: int | None) -> str:
    """Of an object that is not Odin's; it cannot be followed."""
    await admit_foreign(resource, ask.odin, ask.user)
    told = await ask.odin.services.resources.log(resource, container=container, lines=lines)
    part = Part(told, 0, len(told))
    return (await run_sync(_fitting, part, None, False))[0]


async def _followed(ask: Ask, follower: Follower) -> Replies:
    ask.follow()
    rest, at = b"", None
    async with aclosing(follower.pieces()) as pieces:
        async for piece in pieces:
            at = follower.start if at is None else at
            whole, rest = cut(rest + piece)
            for line in whole:
                at += len(line)
                yield _line(line, follower.attempt, at)
    if rest:
        yield _line(rest, follower.attempt, (at or 0) + len(rest))


def _line(line: bytes, attempt: int, end: int) -> Reply:
    said = line.removesuffix(b"\n").decode(errors="replace")
    bookmark = f"go on with: attempt {attempt}, offset {end}"
    return Reply(OK, said, {"attempt": attempt, "offset": end}, bookmark)


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Lines with their ends, and what has no end yet; a line that is too long is cut between two characters."""
    *lines, rest = data.split(b"\n")
    whole = [piece for line in lines for piece in _pieces(line + b"\n")]
    *long, rest = _pieces(rest)
    return whole + long, rest


def _pieces(line: bytes) -> list[bytes]:
    found = []
    while len(line) > LONGEST_LINE:
        end = LONGEST_LINE
        while end > LONGEST_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        found.append(line[:end])
        line = line[end:]
    return [*found, line]


async def _once(logs: Logs, name: AttemptId, lines: int | None, offset: int | None) -> Replies:
    try:
        part = await part_of(logs, name, lines, offset, LARGEST_REPLY)
    except NoContainer:
        raise
    except NotFound:  # known, but nothing was written: it has not begun
        part = Part(b"", 0, 0)
    said, end = await run_sync(_fitting, part, lines, offset is not None)
    yield Reply(OK, said, {"offset": end})


def _fitting(part: Part, lines: int | None, from_front: bool) -> tuple[str, int]:
    """The part as text that fits into one message, and the byte after it; says what is left out."""
    said = part.data.decode(errors="replace") if lines is not None else logtails.shown(part)
    while len(ENCODER.encode(said)) > LARGEST_REPLY:
        half = len(part.data) // 2
        begins = part.offset if from_front else part.end - half
        part = Part(part.data[:half] if from_front else part.data[-half:], begins, part.size)
        said = logtails.shown(part)
    return said, part.end
