"""Lines of JSON between server and runner, in batches, never blocking."""

from __future__ import annotations

import json
import socket
from collections import deque
from typing import Any

PROTOCOL = 1
CHUNK = 1 << 16
LONGEST_LINE = 8 << 20  # a launch is at most 1 MiB of arguments (reliability.md, F-89)
LONGEST_QUEUE = 64 << 20  # a server that reads nothing loses the connection; it recalls when it is back

encode = json.JSONEncoder(separators=(",", ":")).encode


class Connection:
    """One server's connection: requests in order, answers kept until the socket takes them."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.fd = sock.fileno()
        self.requests: deque[dict[str, Any]] = deque()
        self._part = b""
        self._out = bytearray()

    def read(self) -> bool:
        """Take in what has come; False when the other side is gone or does not speak our language."""
        return self._take() is not False

    def drain(self) -> bool:
        """Take in all that has come; False as above."""
        while taken := self._take():
            pass
        return taken is None

    def _take(self) -> bool | None:
        """None when nothing has come."""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return False
        *lines, self._part = (self._part + data).split(b"\n")
        try:
            self.requests.extend(json.loads(line) for line in lines)
        except ValueError:
            return False
        return bool(data) and len(self._part) <= LONGEST_LINE

    def send(self, lines: list[str]) -> bool:
        """Queue lines and send what the socket takes; False when the other side is gone or stuck."""
        if lines:
            self._out += ("\n".join(lines) + "\n").encode()
        return self.flush() and len(self._out) <= LONGEST_QUEUE

    def flush(self) -> bool:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def close(self) -> None:
        self._sock.close()
