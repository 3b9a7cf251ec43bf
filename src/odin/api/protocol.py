"""HTTP connections with limits on what comes before a request is one: time, size and number.

uvicorn has none of them: a client may hold a connection with half a header for ever. This subclass of its parser
protocol adds: 10 s and 32 KiB for a head, 2,000 connections, 64 for each address that is not loopback, 60 s for a
reader that takes less than 1 kB/s, 128 MiB for what waits for all readers, probes for peers that vanished, and an end
for bodies that nobody reads.
Source: reliability.md, F-72, F-73, A-80.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import TimerHandle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from odin.api.addresses import block, within
from odin.api.backlog import Backlog
from odin.api.problems import LONG_HEADERS, MEDIA_TYPE, SLOW, document

HEAD_BYTES = 32 * 1024
HEAD_S = 10.0
BLOCKED_S = 60.0
PING_S = 20.0
VANISHED_S = 40.0
UNSENT = 128 << 10  # bytes of a slow reader that the kernel may hold and has not sent: what is newer is better
UNTAKEN = 128 << 20  # bytes that wait here for all readers together; what else is said is small
LINGER_S = 2.0
PER_ADDRESS = 64


@dataclass(slots=True)
class Doors:
    """Who is connected. ``proxies`` are addresses or networks that stand for many clients: no limit of their own."""

    most: int
    proxies: Sequence[str] = ()
    head_s: float = HEAD_S
    blocked_s: float = BLOCKED_S
    ping_s: float = PING_S
    vanished_s: float = VANISHED_S
    untaken: int = UNTAKEN
    open: int = 0
    by_address: Counter[str] = field(default_factory=Counter)
    behind: dict[asyncio.Transport, None] = field(default_factory=dict)  # those that do not keep up, in this order

    def enter(self, address: str) -> bool:
        """Whether one more connection from there may stay; ``leave`` follows in either case."""
        place = block(address)
        self.open += 1
        self.by_address[place] += 1
        if self.open > self.most:
            return False
        return not place or self.by_address[place] <= PER_ADDRESS or within(address, self.proxies)

    def leave(self, address: str) -> None:
        place = block(address)
        self.open -= 1
        self.by_address[place] -= 1
        if not self.by_address[place]:
            del self.by_address[place]

    def fall_behind(self, transport: asyncio.Transport) -> None:
        """A connection does not take what is written. If too much waits, those that stand longest are cut off."""
        self.behind.setdefault(transport)
        waiting = sum(each.get_write_buffer_size() for each in self.behind)
        for each in [*self.behind]:
            if waiting <= self.untaken:
                return
            waiting -= each.get_write_buffer_size()
            del self.behind[each]
            each.abort()

    def catch_up(self, transport: asyncio.Transport) -> None:
        """It has taken enough, or is gone."""
        self.behind.pop(transport, None)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A subclass with ``doors`` set is what uvicorn is given: see ``behind``."""

    doors: Doors

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = True
        self._in_message = False
        self._head_bytes = 0
        self._messages = 0
        self._head_timer: TimerHandle | None = None
        self._blocked_timer: TimerHandle | None = None
        self._linger_timer: TimerHandle | None = None
        self._address = ""
        self._upgraded = False

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        _probe(transport.get_extra_info("socket"), self.doors.vanished_s)
        if self.doors.enter(self._address):
            self._arm_head()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again", retry_after_s=5)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.doors.leave(self._address)
        self.doors.catch_up(self.transport)
        self._cancel_timers()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, never further than one byte past the limit of a head."""
        while data and not self._upgraded and not self.transport.is_closing():
            room = HEAD_BYTES - self._head_bytes if self._in_head else len(data)
            if room <= 0:
                self._refuse(LONG_HEADERS, f"the request's head is larger than {HEAD_BYTES} bytes")
                return
            self._feed(data[:room])
            data = data[room:]

    def _feed(self, piece: bytes) -> None:
        if self._in_head and self._head_timer is None:
            self._arm_head()
        before = self._messages
        super().data_received(piece)
        # A piece with the end of one message and the head of the next counts for neither.
        self._head_bytes = self._head_bytes + len(piece) if self._in_head and before == self._messages else 0

    # Parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel_head()
        super().on_headers_complete()
        if self.parser.should_upgrade() and self._should_upgrade() and _has_body(self.headers):
            self._refuse(HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")
        if self.scope.get("path") is not None:
            self.scope["extensions"] = {"odin": {"close": self.transport.close}}

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._in_message = False
        self._messages += 1
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def on_response_complete(self) -> None:
        """An answer given before its body was read: wait shortly so that the answer arrives, then close."""
        super().on_response_complete()
        if self._in_message and not self._in_head and not self.transport.is_closing():
            self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with its place at the doors; not while an answer is still on its way."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        self._upgraded = True
        self._cancel_timers()
        _set_vanished(self.transport.get_extra_info("socket"), 0)  # pings find out there, and a close says why
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it and this protocol hold one another

    # A reader that does not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self.doors.fall_behind(self.transport)
        if self._blocked_timer is None:
            self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.doors.catch_up(self.transport)
        if self._blocked_timer is not None:
            self._blocked_timer.cancel()
            self._blocked_timer = None

    def _watch_reader(self) -> None:
        backlog = Backlog(self.transport, self.doors.blocked_s)
        self._blocked_timer = self.loop.call_later(self.doors.blocked_s, self._judge_reader, backlog)

    def _judge_reader(self, backlog: Backlog) -> None:
        if backlog.shrank:
            self._watch_reader()
        else:
            self.transport.abort()

    # Limits

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._blocked_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()

    def _arm_head(self) -> None:
        self._head_timer = self.loop.call_later(self.doors.head_s, self._head_is_late)

    def _cancel_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._in_message:
            self._refuse(SLOW, "the request's head came too slowly")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str, *, retry_after_s: int | None = None) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        body = document(status, detail)
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if retry_after_s is not None:
            lines.append(f"retry-after: {retry_after_s}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()


def behind(doors: Doors) -> type[GuardedProtocol]:
    """The protocol class of one server, whose connections all count at these doors."""
    return type("OdinProtocol", (GuardedProtocol,), {"doors": doors})


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


def _probe(sock: socket.socket | None, vanished_s: float) -> None:
    """Let the kernel find out that a peer is gone without a word, within a minute.

    It asks one that is silent from 20 s on. Where bytes are on their way it would not ask but send them again, for a
    quarter of an hour; so those must be taken within ``vanished_s``. Streams write every 15 s at least.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_NOTSENT_LOWAT", UNSENT)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    _set_vanished(sock, vanished_s)


def _set_vanished(sock: socket.socket | None, vanished_s: float) -> None:
    """How long bytes may be on their way; 0: as long as the kernel likes."""
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT") and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(vanished_s * 1000))
