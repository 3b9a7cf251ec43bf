"""A client of an answer that goes on, by a plain socket, so that it can leave in any way."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from e2e.serving import DEADLINE_S

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: closing sends RST instead of FIN


class Stream:
    """One GET whose answer is read at will."""

    def __init__(self, port: int, path: str, *, token: str | None = None, buffer: int | None = None) -> None:
        self._sock = socket.socket()
        if buffer is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._sock.settimeout(DEADLINE_S)
        self._sock.connect(("127.0.0.1", port))
        fields = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        fields += [f"Authorization: Bearer {token}"] if token else []
        self._sock.sendall("\r\n".join([*fields, "", ""]).encode())
        self.seen = b""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._sock.close()

    def piece(self) -> bytes:
        """What came next; nothing once the other side has closed."""
        try:
            return self._sock.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def read_until(self, mark: bytes) -> None:
        while mark not in self.seen:
            piece = self.piece()
            assert piece, f"it ended without {mark!r}: {self.seen[-500:]!r}"
            self.seen += piece

    def rest(self) -> bytes:
        """Everything to the end."""
        while piece := self.piece():
            self.seen += piece
        return self.seen

    def leave(self, *, reset: bool) -> None:
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._sock.close()
