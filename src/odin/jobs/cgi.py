"""One git http-backend as a child: its socket, its headers, its end.

The child has one end of a socket pair as stdin and stdout, so that both directions flow through asyncio's own
streams, with back pressure. It is started by ``Popen`` in a thread: the event loop's own way forks, slowly.
Source: dependencies.md, table, "event loop"; RFC 3875.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

import anyio

from odin.jobs.child import end

PIECE = 64 * 1024
LONGEST_HEAD = 16 * 1024
LAST_WORDS = 2000
GRACE_S = 5.0
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Backend:
    """A running child: what it reads and what it says. ``has_ended`` once it said its last."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    has_ended: bool = False

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (names in lower case). Raises EOFError where it ends before."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            self.has_ended = True
            raise EOFError("git ended without an answer") from error
        lines = raw.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return int(headers.pop("status", "200 OK").split()[0]), headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its body, to the end."""
        while piece := await self._read():
            yield piece

    async def feed(self, piece: bytes) -> None:
        """Give it a piece of the request; what it no longer wants to read is dropped."""
        try:
            self.writer.write(piece)
            await self.writer.drain()
        except ConnectionError:
            return

    def finish(self) -> None:
        """The request is complete."""
        if self.writer.can_write_eof() and not self.writer.is_closing():
            self.writer.write_eof()

    async def _read(self) -> bytes:
        try:
            piece = await self.reader.read(PIECE)
        except ConnectionError:
            piece = b""
        self.has_ended = not piece
        return piece


@asynccontextmanager
async def backend(env: Mapping[str, str], *, keep: int) -> AsyncIterator[Backend]:
    """Start a child and see to its end, whatever happens. ``keep`` is a descriptor it inherits."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as words:
        try:
            with anyio.CancelScope(shield=True):  # a child that is started must be known
                child = await anyio.to_thread.run_sync(_start, env, theirs.fileno(), words.fileno(), keep)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LONGEST_HEAD)
        running = Backend(reader, writer)
        try:
            yield running
        finally:
            writer.close()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_see_out, child, words, running.has_ended)


def _start(env: Mapping[str, str], theirs: int, words: int, keep: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["git", "http-backend"],
        env=dict(env),
        stdin=theirs,
        stdout=theirs,
        stderr=words,
        start_new_session=True,
        pass_fds=(keep,),
    )


def _see_out(child: subprocess.Popen[bytes], words: IO[bytes], has_ended: bool) -> None:
    """See it end, asking first and then making it; log its last words where it failed by itself.

    Asked to end, git removes the quarantine of a push that was cut off.
    """
    if not has_ended:
        end(child, signal.SIGTERM)
    try:
        code = child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        end(child)
        code = child.wait()
    if has_ended and code != 0:
        words.seek(max(words.seek(0, 2) - LAST_WORDS, 0))
        log.warning("git http-backend ended with %s: %s", code, words.read().decode("utf-8", "replace").strip())
