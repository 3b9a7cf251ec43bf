"""WebSockets as a client speaks them, to a server of the conftest."""

import contextlib
import json
import os
import socket
import struct
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from integration.api.streaming import DEADLINE_S

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LONGEST_CLOSE = 127
PATHS = ("/", "/v1/ws")
# One request of each command, about things that there are not.
REQUESTS = {
    "PING": "x",
    "START": "no-job",
    "STATUS": "no-p",
    "SHOW": "no-job",
    "DATA": {"resource": "no-p"},
    "EVENTS": {"resource": "no-p", "namespace": "default"},
    "LOGS": {"resource": "no-p--t", "namespace": "default", "follow": True},
    "CLEANUP": {"work": "no-p", "purge_db": True, "purge_fs": True},
    "GENERATE": {"template": "no-job", "context": {}},
}


@dataclass
class Said:
    """Everything that came on one socket: replies, and how it was closed. ``refused`` is a handshake's status."""

    replies: list = field(default_factory=list)
    code: int = 0
    reason: str = ""

    @property
    def statuses(self):
        return [reply["status"] for reply in self.replies]

    @property
    def last(self):
        return self.replies[-1]


def opened(server, path="/v1/ws", name=None, **options):
    headers = dict(options.pop("headers", {}))
    if name is not None:
        headers["Authorization"] = f"Bearer {server.house.token(name)}"
    return connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers, proxy=None, **options)


def heard(ws, *, timeout=DEADLINE_S):
    """Read to the end of the socket."""
    said = Said()
    with contextlib.suppress(ConnectionClosed):
        while True:
            said.replies.append(json.loads(ws.recv(timeout=timeout)))
    said.code, said.reason = ws.close_code, ws.close_reason
    return said


def ask(server, command, request, name=None, path="/v1/ws", **extras):
    """One request on a socket of its own, and all that came of it."""
    with opened(server, path, name) as ws:
        ws.send(json.dumps({"command": command, "request": request, **extras}))
        return heard(ws)


def handshake(server, path="/v1/ws", **headers):
    """The status that a handshake gets, its headers and the rest; 101 for one that is accepted."""
    with server.connect() as sock:
        sock.sendall(head(path, **headers))
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            assert piece, received
            received += piece
        top, _, rest = received.partition(b"\r\n\r\n")
        if b" 101 " not in top.split(b"\r\n")[0]:
            while piece := sock.recv(65536):
                rest += piece
    return int(top.split()[1]), top.decode("latin-1").lower(), rest


def head(path="/v1/ws", **headers):
    fields = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY}
    fields |= {"Sec-WebSocket-Version": "13"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"{name}: {one}" for name, value in fields.items() for one in ([value] if isinstance(value, str) else value)
    ]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def frame(data=b"", opcode=1, *, fin=True, masked=True, rsv=0, length=None):
    """One frame as a client sends it; ``length`` is what its head says, whatever follows."""
    size = len(data) if length is None else length
    first = bytes([fin << 7 | rsv << 4 | opcode])
    mark = 0x80 if masked else 0
    if size < 126:
        first += bytes([mark | size])
    elif size < 65536:
        first += struct.pack("!BH", mark | 126, size)
    else:
        first += struct.pack("!BQ", mark | 127, size)
    if not masked:
        return first + data
    mask = os.urandom(4)
    return first + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


class Raw:
    """A socket of which every byte is ours."""

    def __init__(self, server, path="/v1/ws", name=None, *, receive_buffer=None, wait=True):
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(("127.0.0.1", server.port))
        token = {"Authorization": f"Bearer {server.house.token(name)}"} if name else {}
        self.sock.sendall(head(path, **token))
        self.data = b""
        if wait:
            self._accepted()

    def _accepted(self):
        while b"\r\n\r\n" not in self.data:
            piece = self.sock.recv(65536)
            assert piece, self.data
            self.data += piece
        top, _, self.data = self.data.partition(b"\r\n\r\n")
        assert b" 101 " in top, top

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def ask(self, command, request, **extras):
        self.send(frame(json.dumps({"command": command, "request": request, **extras}).encode()))

    def read_all(self):
        """Every byte that came."""
        with contextlib.suppress(OSError):
            while piece := self.sock.recv(1 << 20):
                self.data += piece
        return self.data

    def read_to_end(self):
        """Every frame that came, as (opcode, data); a close is answered."""
        with contextlib.suppress(OSError):
            while piece := self.sock.recv(1 << 20):
                self.data += piece
                if self.data[-LONGEST_CLOSE:].find(b"\x88") >= 0 and closed_with(frames_of(self.data)):
                    self.send(frame(b"", 8))
        return list(frames_of(self.data))

    def close(self, *, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def frames_of(data):
    """Frames of a server, which are not masked; a part of one at the end is left out."""
    while len(data) >= 2:
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        if len(data) < at + size:
            return
        yield data[0] & 0x0F, data[at : at + size]
        data = data[at + size :]


def closed_with(frames):
    """Code and reason of the close frame among these frames."""
    data = next((data for opcode, data in frames if opcode == 8), None)
    return None if data is None else (int.from_bytes(data[:2], "big"), data[2:].decode())
