"""``GET /v1/gpus`` for those who scrape nodes. Nothing but a request's head is read, and nothing ever changed."""

from __future__ import annotations

import math
import re
import select
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_AT_ONCE = 16
LONGEST_HEAD = 8192
PATIENCE_S = 5.0
PATH = b"/v1/gpus"
REQUEST = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2000}) HTTP/1\.[01]\r\n")
FOREIGN = re.compile(rb"\r\nsec-fetch-site:(?![ \t]*none\r)", re.IGNORECASE)  # a page in a browser
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}


class Visitor:
    """One connection: a head comes in, an answer goes out, then it is closed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.deadline = time.monotonic() + PATIENCE_S
        self._head = b""
        self.left = b""  # of the answer

    def receive(self, answer: Callable[[bytes], bytes]) -> bool:
        """False when the connection is over."""
        piece = self.sock.recv(LONGEST_HEAD)
        self._head += piece
        if b"\r\n\r\n" in self._head or len(self._head) > LONGEST_HEAD:
            self.left = answer(self._head)
        return bool(piece)

    def send(self) -> bool:
        self.left = self.left[self.sock.send(self.left) :]
        return bool(self.left)


class Listener:
    """A party that answers with what ``content`` gives, JSON."""

    def __init__(self, sock: socket.socket, content: Callable[[], bytes]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._content = content
        self._visitors: dict[int, Visitor] = {}

    def watched(self) -> Mapping[int, int]:
        found = {number: _wanted(visitor) for number, visitor in self._visitors.items()}
        if len(found) < MOST_AT_ONCE:
            found[self._sock.fileno()] = select.POLLIN
        return found

    def ready(self, descriptor: int) -> None:
        if descriptor == self._sock.fileno():
            self._accept()
            return
        visitor = self._visitors[descriptor]
        try:
            stays = visitor.send() if visitor.left else visitor.receive(self._answer)
        except BlockingIOError:
            stays = True
        except OSError:
            stays = False
        if not stays:
            self._dismiss(descriptor)

    def due(self) -> float:
        return min((visitor.deadline for visitor in self._visitors.values()), default=math.inf)

    def turn(self, now: float) -> None:
        for descriptor in [number for number, visitor in self._visitors.items() if visitor.deadline <= now]:
            self._dismiss(descriptor)

    def close(self) -> None:
        self._sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:  # it has left again
            return
        self._visitors[sock.fileno()] = Visitor(sock)

    def _dismiss(self, descriptor: int) -> None:
        self._visitors.pop(descriptor).sock.close()

    def _answer(self, head: bytes) -> bytes:
        request = REQUEST.match(head)
        if request is None or len(head) > LONGEST_HEAD:
            return response(400)
        if FOREIGN.search(head):
            return response(403)
        method, target = request.groups()
        if target.partition(b"?")[0] != PATH:
            return response(404)
        if method not in (b"GET", b"HEAD"):
            return response(405)
        return response(200, self._content(), is_told=method == b"GET")


def listen(place: str) -> socket.socket:
    """``ADDRESS:PORT``, an IPv6 address in brackets. Raises OSError."""
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=MOST_AT_ONCE)


def response(status: int, body: bytes = b"{}", *, is_told: bool = True) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(["Allow: GET, HEAD"] if status == 405 else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (body if is_told else b"")


def _wanted(visitor: Visitor) -> int:
    return select.POLLOUT if visitor.left else select.POLLIN
