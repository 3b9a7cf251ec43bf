"""HTTP/1.1 as servers really send it, split anywhere. Source: RFC 9112."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.client.address import Address
from odin.client.problems import Reply, failure
from odin.client.sse import frames
from odin.client.wire import Answer, Broken, Connection, Idle, parse, request


class Pieces:
    """A socket that gives these pieces; None stands for a wait that took too long."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces = list(pieces)

    def recv(self, _size: int) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece is None:
            raise TimeoutError
        return piece

    def settimeout(self, _seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def answer(*pieces: bytes | None) -> Answer:
    connection = Connection(Pieces(*pieces))  # type: ignore[arg-type]
    status, fields = parse(connection)
    return Answer(connection, status, fields)


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n \r\nA\r\n\r\nworld\r\n!\r\n0\r\n\r\n"
)


@given(st.lists(st.integers(0, 200)))
def test_a_chunked_body_is_whole_wherever_it_is_cut(cuts: list[int]) -> None:
    assert answer(*cut_up(CHUNKED, cuts)).read() == b"hello \r\nworld\r\n!"[:16]


@given(st.lists(st.integers(0, 200)))
def test_a_body_of_known_length_is_whole_wherever_it_is_cut(cuts: list[int]) -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-LENGTH:  4 \r\nX: a: b\r\n\r\nbodyleft"
    got = answer(*cut_up(data, cuts))
    assert (got.status, got.fields["x"], got.read()[:4]) == (201, "a: b", b"body")


def test_a_body_up_to_the_end_of_the_connection() -> None:
    assert answer(b"HTTP/1.0 200 OK\r\n\r\nbo", b"dy").read() == b"body"


@given(st.integers(len(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), len(CHUNKED) - 5))
def test_a_chunked_body_that_is_cut_short_is_told_from_a_whole_one(end: int) -> None:
    with pytest.raises(Broken):
        answer(CHUNKED[:end]).read()


def test_a_body_of_known_length_that_is_cut_short_is_told() -> None:
    with pytest.raises(Broken):
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody").read()


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 xx\r\n\r\n", b"x" * 70_000]
)
def test_what_is_not_http_is_told(head: bytes) -> None:
    with pytest.raises(Broken):
        answer(head)


@pytest.mark.parametrize("size", [b"zz", b"-5", b"+5", b"0x5", b"1_0", b"", b"0" * 30, "²".encode("latin-1")])
def test_chunks_that_make_no_sense_are_told(size: bytes) -> None:
    with pytest.raises(Broken):
        answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc").read()


def test_numbers_that_are_none_are_not_believed() -> None:
    assert answer("HTTP/1.1 200 OK\r\nContent-Length: ²\r\n\r\nall of it".encode("latin-1")).read() == b"all of it"
    assert Reply(503, {"retry-after": "²"}, b"").retry_after_s is None


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n\r\n1\r\n", b"Content-Length: 2\r\n\r\n"])
def test_reading_goes_on_after_a_wait(head: bytes) -> None:
    pieces = answer(b"HTTP/1.1 200 OK\r\n" + head, None, b"a", None, b"\r\n0\r\n\r\n").pieces()
    with pytest.raises(Idle):
        next(pieces)
    assert next(pieces) == b"a"
    with pytest.raises(Idle):
        next(pieces)


def test_a_line_break_never_gets_into_a_requests_head() -> None:
    with pytest.raises(ValueError, match="line break"):
        request(Address("http", "box", 80), "GET", "/", {"X": "a\r\nY: b"}, None)


EVENTS = 'id: 1\nevent: task\ndata: {\ndata: "ü"}\n\n: still here\n\nretry: 5\r\ndata:x\r\n\r\n'.encode()


@given(st.lists(st.integers(0, 200)))
def test_events_are_whole_wherever_they_are_cut(cuts: list[int]) -> None:
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut_up(EVENTS, cuts)]
    stream = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")
    found = [(one.id, one.event, one.data) for one in frames(stream, 1.0) if one is not None]
    assert found == [("1", "task", '{\n"ü"}'), ("", "message", "x")]


def test_a_stream_without_a_byte_for_a_minute_is_dead() -> None:
    stream = answer(b"HTTP/1.1 200 OK\r\n\r\n", *[None] * 70)
    with pytest.raises(Broken, match="silent"):
        list(frames(stream, 1.0))


@pytest.mark.parametrize(
    ("status", "fields", "body", "said"),
    [
        (502, {"content-type": "text/html"}, b"<h1>Bad gateway", "failed with 502"),
        (404, {"content-type": "text/html"}, b"", "does not answer like an Odin server (404, text/html)"),
        (404, {"content-type": "application/json"}, b"[]", "does not answer like an Odin server"),
        (404, {"content-type": "application/problem+json"}, b"{", "does not answer like an Odin server"),
        (422, {"content-type": "application/problem+json"}, b'{"title": "No", "errors": 7}', "No"),
    ],
)
def test_an_error_of_any_shape_is_a_sentence(status: int, fields: dict[str, str], body: bytes, said: str) -> None:
    assert said in str(failure(Address("http", "box", 80), Reply(status, fields, body)))
