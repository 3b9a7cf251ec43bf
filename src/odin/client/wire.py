"""One HTTP/1.1 exchange over a socket: a request out, an answer in, then the connection is closed.

Instead of http.client, whose imports cost more than the rest of a command together (dependencies.md, section 6), and
over the C module below ``socket``, whose tables of enums take 4 ms of each start.
It follows no redirect, reads no proxy variable and no .netrc: a token goes where the caller said and nowhere else
(reliability.md, A-74). Source of the framing: RFC 9112, sections 4 to 7.
"""

from __future__ import annotations

import _socket
from collections.abc import Iterator, Mapping

from odin.client.address import Address
from odin.client.errors import Unreachable

CONNECT_S = 10.0
LONGEST_HEAD = 65_536  # bytes of status line and header fields
PIECE = 65_536
HEX = b"0123456789abcdefABCDEF"
LONGEST_SIZE = 16  # digits of a chunk's size


class Broken(ConnectionError):
    """The connection ended in the middle of something."""


class Idle(TimeoutError):
    """Nothing came for the time that the reader was ready to wait; reading may go on."""


class Answer:
    """A status, header fields (lower-case names) and a body that is read once."""

    def __init__(self, connection: Connection, status: int, fields: Mapping[str, str]) -> None:
        self.status = status
        self.fields = fields
        self._connection = connection

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def wait_at_most(self, seconds: float) -> None:
        """From now on a read that gets nothing for so long raises Idle."""
        self._connection.socket.settimeout(seconds)

    def read(self) -> bytes:
        """The whole body. Raises Broken, also when nothing more came in time."""
        try:
            return b"".join(self.pieces())
        except Idle:
            raise Broken("the answer stopped in the middle") from None
        finally:
            self.close()

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises Broken when it is cut short, Idle as ``wait_at_most`` says."""
        if self.fields.get("transfer-encoding", "").lower() == "chunked":
            return Chunks(self._connection)
        length = self.fields.get("content-length", "")
        return Plain(self._connection, int(length) if length.isascii() and length.isdigit() else None)


class Connection:
    """A socket and the bytes read ahead of their turn."""

    def __init__(self, sock: _socket.socket) -> None:
        self.socket = sock
        self.ahead = b""

    def close(self) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        try:
            self.socket.sendall(request)
        except OSError as error:
            # The server may have refused early (413) and closed; its answer can still be there to read.
            if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise Broken(words(error)) from error

    def more(self) -> bytes:
        """The next bytes, empty at the end."""
        if self.ahead:
            piece, self.ahead = self.ahead, b""
            return piece
        try:
            return self.socket.recv(PIECE)
        except TimeoutError as error:
            raise Idle from error
        except OSError as error:
            raise Broken(words(error)) from error

    def head(self) -> bytes:
        """Status line and header fields, without the empty line that ends them."""
        seen = b""
        while b"\r\n\r\n" not in seen:
            try:
                piece = self.more()
            except Idle:
                raise Broken("no answer in time") from None
            if not piece or len(seen) > LONGEST_HEAD:
                raise Broken("the connection was closed without an answer" if not piece else "not HTTP")
            seen += piece
        head, _, self.ahead = seen.partition(b"\r\n\r\n")
        return head


class Plain:
    """A body of ``left`` bytes, or up to the end. An iterator with state of its own, so that Idle does not end it."""

    def __init__(self, connection: Connection, left: int | None) -> None:
        self._connection = connection
        self._left = left

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left == 0:
            raise StopIteration
        piece = self._connection.more()
        if not piece and self._left is None:
            raise StopIteration
        if not piece:
            raise Broken("the answer was cut short")
        if self._left is not None:
            self._left = max(0, self._left - len(piece))
        return piece


class Chunks:
    """A chunked body (RFC 9112, 7.1)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = b""
        self._left = 0  # bytes of the chunk at hand, its line end included
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._ended:
            if not self._buffer or not (self._left or b"\r\n" in self._buffer):
                self._fill()
            elif self._left:
                piece = self._take()
                if piece:
                    return piece
            else:
                self._begin()
        raise StopIteration

    def _fill(self) -> None:
        piece = self._connection.more()
        if not piece or (not self._left and len(self._buffer) > LONGEST_HEAD):
            raise Broken("the answer was cut short")
        self._buffer += piece

    def _take(self) -> bytes:
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        data = piece[: max(0, self._left - 2)]
        self._left -= len(piece)
        return data

    def _begin(self) -> None:
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > LONGEST_SIZE or digits.strip(HEX):  # int() would take a sign, too
            raise Broken("the answer's chunks make no sense")
        size = int(digits, 16)
        self._ended = size == 0
        self._left = size + 2


def exchange(
    address: Address,
    method: str,
    target: str,
    fields: Mapping[str, str],
    body: bytes | None,
    *,
    timeout_s: float,
) -> Answer:
    """Send one request and read the answer's head.

    ``target`` is a path with its query, percent-encoded. Raises Unreachable when there is no connection, Broken
    when one was there and ended; then it is not known what the server did.
    """
    connection = connect(address)
    try:
        connection.socket.settimeout(timeout_s)
        connection.send(request(address, method, target, fields, body))
        status, answer_fields = parse(connection)
    except BaseException:
        connection.close()
        raise
    return Answer(connection, status, answer_fields)


def request(address: Address, method: str, target: str, fields: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {address.prefix}{target} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    if body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body or b'')}")
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request's head")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def parse(connection: Connection) -> tuple[int, dict[str, str]]:
    while True:
        status_line, *lines = connection.head().decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise Broken("not HTTP")
        if not rest.startswith("1"):
            pairs = (line.partition(":") for line in lines)
            return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def connect(address: Address) -> Connection:
    try:
        sock = first_open(address)
    except OSError as error:
        raise down(address, error) from error
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if address.scheme == "https":
        from odin.client.tls import secured

        return Connection(secured(sock, address))
    return Connection(sock)


def first_open(address: Address) -> _socket.socket:
    """``localhost`` is tried as 127.0.0.1 first, where odin-serve listens, without asking the resolver."""
    if address.host != "localhost":
        return opened(address.host, address.port)
    try:
        return opened("127.0.0.1", address.port)
    except OSError as error:
        try:
            return opened("::1", address.port)
        except OSError:
            raise error from None


def opened(host: str, port: int) -> _socket.socket:
    """The first address of the host that takes the connection. Raises the error of the last one."""
    failed = OSError("the name has no address")
    # As bytes, since for text the tables of international names would be loaded.
    for family, kind, protocol, _, place in _socket.getaddrinfo(host.encode("ascii"), port, 0, _socket.SOCK_STREAM):
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.settimeout(CONNECT_S)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


def down(address: Address, error: OSError) -> Unreachable:
    if isinstance(error, _socket.gaierror):
        return Unreachable(f'there is no host "{address.host}" ({address.url})', remedy="url")
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"no server answers at {address.url}", remedy="start")
    return Unreachable(f"the server at {address.url} cannot be reached ({words(error)})", remedy="start")


def words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error) or type(error).__name__).lower()
