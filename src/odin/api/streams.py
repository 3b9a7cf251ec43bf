"""Answers that go on: they notice that the client left, that the server stops, and that a token has ended.

A source that always has something and never waits would keep the event loop to itself for ever once its client is
gone (measured). So the producer gives way at least every 64 pieces or 10 ms, beside a watcher for the disconnect.
Source: reliability.md, section 0 item 1, F-71 to F-73, A-47.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from odin.api.services import Context
from odin.api.turns import Turns

PIECE = 64 << 10  # bytes given to the connection at once, so that a slow reader holds no more
EVENTS = "text/event-stream"
TEXT = "text/plain; charset=utf-8"
# What an EventSource is told when the server stops: come back in a second, with Last-Event-ID.
RESUME = b"retry: 1000\n: the server is stopping, resume with Last-Event-ID\n\n"


class Stream(Response):
    """A live answer made of ``pieces``; as ``text/event-stream`` it ends with a hint when the server stops.

    A stream of plain text has no place for a hint: its connection is closed without the final chunk, so that the
    client knows that there is more.
    """

    def __init__(self, pieces: AsyncGenerator[bytes], odin: Context, *, media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._pieces = pieces
        self._odin = odin
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["odin.stream"] = True
        self._odin.metrics.streams += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._odin.metrics.streams -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        producing = _task(self._produce(send))
        leaving = _task(_until_gone(receive))
        ending = _task(self._odin.endings.wait(lambda: scope.get("odin.session")))
        try:
            await asyncio.wait({producing, leaving, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(producing, leaving, ending)
        if not producing.cancelled():
            producing.result()
        elif self._begun and leaving.cancelled():
            await self._break_off(scope, receive, send)

    async def _produce(self, send: Send) -> None:
        self._begun = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        turns = Turns()
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                for start in range(0, len(piece), PIECE):
                    part = piece if len(piece) <= PIECE else piece[start : start + PIECE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await turns.done()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _break_off(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.media_type == EVENTS:
            await send({"type": "http.response.body", "body": RESUME, "more_body": False})
            return
        close = scope.get("extensions", {}).get("odin", {}).get("close")
        if close is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        close()
        await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _task(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
