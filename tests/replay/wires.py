"""How the older programs put their requests on the wire, byte by byte, and what came back."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 60.0
LARGEST_REPLY = 1 << 20  # bytes of one message: what their library takes
# The library that the programs were written with, and the command line that people copied from the documents.
PROGRAMS = {
    "requests": {
        "User-Agent": "python-requests/2.22.0",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
    },
    "curl": {"User-Agent": "curl/7.58.0", "Accept": "*/*"},
}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Reply:
    """Send exactly these headers in this order, after ``Host``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None or method != "GET":
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        reply = connection.getresponse()
        names = {name.lower(): value for name, value in reply.getheaders()}
        return Reply(reply.status, names, reply.read())


@contextlib.contextmanager
def line(port: int, path: str, headers: dict[str, str]) -> Iterator[Line]:
    """A WebSocket as the old library opens it."""
    opened = connect(
        f"ws://127.0.0.1:{port}{path}",
        additional_headers=headers,
        user_agent_header="Python/3.7 websockets/8.1",
        max_size=LARGEST_REPLY,
        open_timeout=DEADLINE_S,
        proxy=None,
    )
    with opened as connection:
        yield Line(connection)


@dataclass(frozen=True)
class Line:
    """One open WebSocket."""

    _connection: ClientConnection

    def say(self, text: str) -> None:
        self._connection.send(text)

    def hear(self) -> Any:
        """The next reply. Raises ConnectionClosed."""
        text = self._connection.recv(timeout=DEADLINE_S)
        assert isinstance(text, str), "the programs read text, and this is a message of bytes"
        return json.loads(text)

    def closed(self) -> int:
        """The code that the server closes with."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.hear()
        code = self._connection.protocol.close_code
        assert code is not None
        return code
