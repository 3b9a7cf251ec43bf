"""How large and how slow a request's body may be. Source: reliability.md, A-80."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from odin.api.problems import SLOW
from odin.model.errors import InvalidInput, TooLarge

JSON_BYTES = 1024 * 1024
REPORT_BYTES = 64 * 1024  # of a node agent: 16 GPUs with 30 processes each
FILE_BYTES = 10 * 1024 * 1024
UPLOAD_BYTES = 64 * 1024 * 1024  # all files of one request together
UPLOAD_FILES = 1_000
BODY_S = 30.0
LEAST_BYTES_PER_S = 1_000


def check_length(headers: Iterable[tuple[bytes, bytes]], most: int) -> None:
    """Refuse by Content-Length before a byte is read; raises TooLarge."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit():
                raise InvalidInput("Content-Length is not a number")
            if len(value) > 18 or int(value) > most:
                raise too_large(most)


def too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most} bytes")


class Limited:
    """A ``receive`` that gives up on a body that is too large, or slower than 30 s plus 1 s for each kB.

    Raises TooLarge, and HTTPException 408. After the body it waits for the disconnect without limit.
    """

    def __init__(self, receive: Receive, most: int | None) -> None:
        self._receive = receive
        self._most = most
        self._begun = time.monotonic()
        self._received = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._left()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(SLOW, "the body came too slowly") from None
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._most is not None and self._received > self._most:
            raise too_large(self._most)
        return message

    def _left(self) -> float:
        allowed = BODY_S + self._received / LEAST_BYTES_PER_S
        return max(0.0, self._begun + allowed - time.monotonic())
