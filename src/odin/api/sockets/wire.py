"""WebSocket connections with limits: time, size, number and silence, and an end for readers that do not read.

A subclass of uvicorn's protocol. It counts at the doors of the HTTP connection that it was, takes one message of at
most 64 KiB, drops what comes after it, pings every 20 s and goes when two pings stay unanswered. Whoever takes less
than 1 kB/s of what waits, for 60 s, is told from where to resume and let go.
Source: RFC 6455; reliability.md, F-72, F-73, A-81.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import TimerHandle
from asyncio.transports import BaseTransport
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING
from websockets.server import ServerProtocol

from odin.api.backlog import Backlog
from odin.api.protocol import Doors

MESSAGE_BYTES = 64 * 1024
FRAMES = 200  # at once; a message may come in pieces, and pings are frames too
FRAMES_PER_S = 10
MISSES = 2
CLOSE_S = 10.0  # for a peer that has taken everything to say that it closes too
STOP_S = 1.0
LONGEST_REASON = 123  # bytes, RFC 6455, section 5.5
NORMAL, GONE, INVALID_TEXT, POLICY, INTERNAL, RESTART, LATER = 1000, 1006, 1007, 1008, 1011, 1012, 1013
NOT_SIGNED_IN, NOT_ALLOWED, SILENT = 4401, 4403, 4408

# What uvicorn and websockets say of a connection holds queries, headers and messages: never below a warning.
quiet = logging.getLogger("odin.sockets.wire")
quiet.setLevel(logging.WARNING)


class Frames(ServerProtocol):
    """The parser of one connection, which gives up on a flood: also of empty pieces, which no size limit stops."""

    def __init__(self) -> None:
        super().__init__(max_size=MESSAGE_BYTES, logger=quiet)
        self._level = 0.0
        self._at = 0.0

    def recv_frame(self, frame: Frame) -> None:
        if self.state is CONNECTING:
            raise ProtocolError("a frame before the handshake was answered")
        now = time.monotonic()
        self._level = max(0.0, self._level - (now - self._at) * FRAMES_PER_S) + 1
        self._at = now
        if self._level > FRAMES:
            self.fail(POLICY, "too many frames")
            raise ProtocolError("too many frames")
        super().recv_frame(frame)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection. A subclass with ``doors`` set is what uvicorn is given.

    The application finds it as ``scope["odin.socket"]``: ``end`` closes at once, whatever still waits to be sent,
    and ``bookmark`` says where a client that is cut off can go on.
    """

    doors: Doors

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = quiet
        self.conn = Frames()
        self.ping_interval, self.ping_timeout = self.doors.ping_s, None
        self.bookmark = ""
        self._address = ""
        self._asked = False
        self._misses = 0
        self._stalled = False  # since the last ping: it may stand behind what the peer has not taken yet
        self._slow_timer: TimerHandle | None = None
        self._unsent = bytearray()
        self._stopping = False

    # Connection

    def connection_made(self, transport: BaseTransport) -> None:
        """The HTTP connection entered at the doors; this one leaves."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.doors.leave(self._address)
        self.doors.catch_up(self.transport)
        self._cancel_slow()
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()

    def shutdown(self) -> None:
        """The server stops. The application closes, with a hint; here only what it cannot wait for."""
        self._stopping = True
        self.stop_keepalive()
        if not self.writable.is_set():
            self.end(RESTART, "the server is stopping")
        if self.close_sent:
            self._let_go()

    def _refuse_handshake(self) -> None:
        """A head that HTTP took and WebSockets do not: uvicorn would leave it without an answer."""
        said = b"".join(self.conn.data_to_send())
        status = HTTPStatus.BAD_REQUEST
        empty = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(said or empty.encode())
        self.transport.close()

    # What comes

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["odin.socket"] = self  # type: ignore[typeddict-unknown-key]

    def send_receive_event_to_app(self) -> None:
        """The one message; what follows is dropped, so that nothing is ever kept for an application that works."""
        data, self.frames = b"".join(self.frames), []
        if self._asked or self.close_sent:
            return
        self._asked = True
        if self.curr_msg_data_type == "bytes":
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
            return
        try:
            self.queue.put_nowait({"type": "websocket.receive", "text": data.decode()})
        except UnicodeDecodeError:
            self.end(INVALID_TEXT, "the message is not UTF-8")

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._let_go()

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            self._let_go()
        else:  # no close frame may go before the handshake's answer
            self.transport.close()

    # Whether the peer is still there

    def handle_pong(self, event: Frame) -> None:  # noqa: ARG002 - any sign of life will do
        self.pending_ping_payload = None

    def send_keepalive_ping(self) -> None:
        missed = self.pending_ping_payload is not None and not self._stalled
        self._misses = self._misses + 1 if missed else 0
        self._stalled = not self.writable.is_set()
        if self._misses < MISSES:
            super().send_keepalive_ping()
            return
        self.end(INTERNAL, "no answer to pings")
        self.transport.close()

    # A reader that does not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self.doors.fall_behind(self.transport)
        self._stalled = True
        if self._slow_timer is None and not self.close_sent:
            self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.doors.catch_up(self.transport)
        self._cancel_slow()

    def _watch_reader(self) -> None:
        backlog = Backlog(self.transport, self.doors.blocked_s)
        self._slow_timer = self.loop.call_later(self.doors.blocked_s, self._judge_reader, backlog)

    def _judge_reader(self, backlog: Backlog) -> None:
        self._slow_timer = None
        if backlog.shrank:
            self._watch_reader()
        else:
            self.end(LATER, "you read too slowly")

    def _cancel_slow(self) -> None:
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None

    # What goes

    async def say(self, text: bytes) -> None:
        """Send one message; many small ones of one turn are written at once.

        Waits while the peer takes nothing; raises ClientDisconnected once the connection is closed or about to be.
        """
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent += Frame(Opcode.TEXT, text).serialize(mask=False)
        if len(self._unsent) >= MESSAGE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and not self.transport.is_closing():
            unsent, self._unsent = self._unsent, bytearray()
            self.transport.write(unsent)

    async def send(self, message: Any) -> None:
        """The handshake's answer; what is said later goes through ``say``, and ``end``."""
        await self.writable.wait()
        if self.transport.is_closing():
            raise ClientDisconnected
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # refused, which uvicorn would log as a fault of the application

    @property
    def code(self) -> int:
        """With which code the connection was closed, 1006 for one that just went."""
        closed = self.conn.close_sent or self.conn.close_rcvd
        return int(closed.code) if closed is not None else GONE

    def end(self, code: int, why: str = "") -> None:
        """Close after what was sent; the peer has a minute, or goes on taking 1 kB/s, before it is cut off."""
        if self.conn.close_sent is not None or self.transport.is_closing() or not self.handshake_complete:
            return
        reason = closing(why, self.bookmark if why else "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.stop_keepalive()
        self._cancel_slow()
        self._flush()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._let_go()

    def _let_go(self) -> None:
        """Cut the peer off later, unless it is gone by then or still takes what was sent."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        backlog = Backlog(self.transport, self.doors.blocked_s)
        patience_s = STOP_S if self._stopping else self.doors.blocked_s if backlog.bytes else CLOSE_S
        self.close_timer = self.loop.call_later(patience_s, self._cut_off, backlog)

    def _cut_off(self, backlog: Backlog) -> None:
        if backlog.shrank and not self._stopping:
            self._let_go()
        else:
            self.transport.abort()


def closing(why: str, bookmark: str) -> str:
    """The reason of a close frame, as long as one may be; ``bookmark`` says where to go on."""
    text = f"{why}; {bookmark}" if bookmark else why
    return text.encode()[:LONGEST_REASON].decode(errors="ignore")
