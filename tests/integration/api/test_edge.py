"""The edge of a real server: heads, bodies, connections, paths as bytes, and what a failure tells."""

import contextlib
import json
import logging
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from integration.api.streaming import DEADLINE_S, until

LIMIT = 32 * 1024


def answer_to(server, data, *more, pause_s=0.0):
    """Status, headers and body of what comes back for these bytes, sent as they are."""
    with server.connect() as sock:
        try:
            sock.sendall(data)
            for piece in more:
                time.sleep(pause_s)
                sock.sendall(piece)
        except OSError:
            pass
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    if not received:
        return 0, "", b""
    top, _, body = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode("latin-1").lower(), body


def read_one(sock):
    """One answer on a connection that stays open; all answers here are one JSON object."""
    received = b""
    while not received.endswith(b"}"):
        piece = sock.recv(65536)
        assert piece, received
        received += piece
    return received


def request_of(size):
    """A whole request whose head has exactly this many bytes."""
    start = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    return start + b"X: " + b"x" * (size - len(start) - 7) + b"\r\n\r\n"


def test_a80_a_head_may_have_32_kib_and_no_byte_more(listening):
    server = listening()
    assert len(request_of(LIMIT)) == LIMIT
    assert answer_to(server, request_of(LIMIT))[0] == 200
    status, head, body = answer_to(server, request_of(LIMIT + 1))
    assert status == 431
    assert "application/problem+json" in head
    assert json.loads(body)["status"] == 431


@pytest.mark.parametrize(
    "head",
    [b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"GET / HTTP/1.1\r\nX" + b"x" * 100_000],
)
def test_a80_a_head_without_end_is_refused(listening, head):
    assert answer_to(listening(), head)[0] in (400, 431)


def test_a80_heads_of_one_connection_count_one_by_one(listening):
    server = listening()
    one = request_of(LIMIT).replace(b"Connection: close", b"Connection: Close")
    keep = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"
    with server.connect() as sock:
        for _ in range(5):
            sock.sendall(keep)
            assert b" 200 " in read_one(sock)
        sock.sendall(one)
        assert b" 200 " in read_one(sock)


def test_a80_requests_that_come_all_at_once_are_answered_in_turn(listening):
    server = listening()
    pipelined = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 3_000 + b"\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(pipelined * 19 + request_of(1000))
        received = b""
        while piece := sock.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200") == 20


@pytest.mark.parametrize(
    ("sent", "status"), [(b"", 0), (b"GET", 408), (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", 408)]
)
def test_a80_half_a_head_is_given_up(listening, sent, status):
    server = listening(doors={"head_s": 0.3})
    assert answer_to(server, sent)[0] == status
    until(lambda: server.doors.open == 0)


def test_a80_a_head_that_trickles_is_given_up(listening):
    server = listening(doors={"head_s": 0.3})
    pieces = [b"X: y\r\n"] * 30
    assert answer_to(server, b"GET / HTTP/1.1\r\n", *pieces, pause_s=0.05)[0] in (0, 408)
    until(lambda: server.doors.open == 0)


def test_a80_the_second_head_of_a_connection_has_its_time_limit_too(listening):
    server = listening(doors={"head_s": 0.3})
    with server.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 200 " in read_one(sock)
        sock.sendall(b"GET /he")
        assert b" 408 " in read_one(sock)


def test_a80_a_body_that_trickles_is_given_up(listening, monkeypatch):
    monkeypatch.setattr("odin.api.limits.BODY_S", 0.3)
    server = listening()
    start = (
        b"POST /v1/auth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    )
    status, head, _ = answer_to(server, start, *[b"x"] * 20, pause_s=0.05)
    assert status == 408
    assert "problem+json" in head
    until(lambda: server.doors.open == 0)


def test_a80_a_chunked_body_is_counted_as_it_comes(listening):
    server = listening()
    start = b"POST /v1/auth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert answer_to(server, start, *[chunk] * 40)[0] == 413


def test_a80_a_stranger_cannot_make_the_server_read_a_body(listening):
    server = listening()
    start = b"POST /v1/jobs/x/files/y HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n"
    begun = time.monotonic()
    assert answer_to(server, start)[0] == 401
    until(lambda: server.doors.open == 0)
    assert time.monotonic() - begun < DEADLINE_S


def test_a80_a_body_is_never_unpacked(listening):
    import gzip

    server = listening()
    body = gzip.compress(b'{"username": "ada", "password": "x"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert server.request("/v1/auth", method="POST", body=body, **headers)[0] == 400


def test_a80_more_connections_than_allowed_are_turned_away_and_the_others_served(listening):
    server = listening(flags={"max_connections": 20})
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    try:
        until(lambda: server.doors.open == 20)
        status, head, _ = answer_to(server, b"")
        assert status == 503
        assert "retry-after" in head
        held[0].sendall(request_of(200))
        assert b" 200 " in read_one(held[0])
    finally:
        for sock in held:
            sock.close()
    until(lambda: server.doors.open == 0)
    assert server.request("/healthz")[0] == 200


def test_a80_an_address_has_64_connections_unless_it_is_loopback_or_a_proxy():
    from odin.api.protocol import Doors

    doors = Doors(2000, ["10.9.0.0/16"])
    for address, last in (("203.0.113.1", False), ("127.0.0.1", True), ("10.9.1.1", True), ("2001:db8::1", False)):
        assert [doors.enter(address) for _ in range(65)] == [True] * 64 + [last]
    for address in ("203.0.113.1", "127.0.0.1", "10.9.1.1", "2001:db8::1"):
        for _ in range(65):
            doors.leave(address)
    assert (doors.open, doors.by_address) == (0, {})


def test_a80_slow_connections_do_not_keep_others_waiting(listening):
    server = listening()
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    try:
        for sock in held:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nX")
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: server.request("/healthz")[0], range(100))) == {200}
    finally:
        for sock in held:
            sock.close()


def test_a72_an_address_is_taken_from_trusted_proxies_only(listening, caplog):
    for proxies, seen in (("", "127.0.0.1"), ("127.0.0.1", "203.0.113.9")):
        server = listening(flags={"trusted_proxies": proxies})
        body = b'{"username": "ada", "password": "wrong wrong"}'
        headers = {"Content-Type": "application/json", "X-Forwarded-For": "203.0.113.9"}
        assert server.request("/v1/auth", method="POST", body=body, **headers)[0] == 401
        places = {place for _, place in server.house.odin.accounts.rates._pairs}
        assert places == {"" if seen == "127.0.0.1" else seen}


RAW = [
    b"/v1/jobs/..", b"/v1/jobs/../users", b"/v1/../v1/users", b"/v1/jobs/one/files/../../../etc/passwd", b"/v1/jobs/one/files/./x",
    b"/v1/jobs/%2e%2e%2f%2e%2e%2fetc", b"/v1/jobs/one/files/%2e%2e/x", b"/v1/jobs/a%00", b"/v1/jobs/a%0d%0aX-Y:z", b"/v1/jobs/a\\..\\b",
    b"/v1/jobs/%c0%ae%c0%ae/", b"//v1/users", b"/v1//users", b"/v1/ping/..;/users", b"http://127.0.0.1/v1/users", b"/v1/jobs/one/files//etc/passwd",
    b"*", b"/\x80", b"/v1/users\x00", b"/v1/resources/../../data", b"/git/jobs.git/../secrets/signing.key", b"/git/jobs.git/%2e%2e/odin.db",
]  # fmt: skip


@pytest.mark.parametrize("path", RAW)
@pytest.mark.parametrize("method", [b"GET", b"DELETE"])
def test_a01_a_path_with_tricks_reaches_nothing_byte_for_byte(listening, path, method):
    server = listening()
    server.house.push("one", "fetch")
    before = server.house.repository.head()
    token = server.house.token("edda").encode()
    start = method + b" " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    status, _, body = answer_to(server, start + b"Authorization: Bearer " + token + b"\r\n\r\n")
    absolute = path.startswith(b"http") and method == b"GET"
    assert status == 200 if absolute else status in (400, 403, 404, 405), body
    assert str(server.house.data).encode() not in body
    assert b"root:" not in body
    assert server.house.repository.head() == before


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/users HTTP/1.0\r\n\r\n",
        b"GET http://127.0.0.1/v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /v1/users HTTP/1.0\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a56_old_and_absolute_forms_of_a_request_are_guarded_too(listening, line):
    status, _, body = answer_to(listening(), line)
    assert status in (401, 421)
    assert b"ada" not in body


def test_a56_two_names_in_one_request_are_refused(listening):
    line = b"GET /v1/ping HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert answer_to(listening(), line)[0] in (400, 421)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a80_what_is_no_http_is_turned_away(listening, junk):
    server = listening(doors={"head_s": 0.5})
    assert answer_to(server, junk)[0] in (0, 400, 408)
    assert server.request("/healthz")[0] == 200


def test_a103_an_unexpected_failure_tells_an_id_and_nothing_else(house, caplog, monkeypatch):
    def broken(query):
        raise RuntimeError("/secret/path SELECT password FROM users")

    monkeypatch.setattr(house.odin.jobs, "all", broken)
    with caplog.at_level(logging.ERROR, "odin.api.edge"):
        answer = house.client("vera").get("/v1/jobs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert answer.headers["x-request-id"] in caplog.text


def test_a76_a_hostile_path_is_one_line_of_the_log(house, caplog):
    with caplog.at_level(logging.DEBUG, "odin.access"):
        house.client("vera").get("/v1/pipelines/%E2%80%AE%C2%9B31m?token=canary")
    lines = [record.getMessage() for record in caplog.records if record.name == "odin.access"]
    assert len(lines) == 1
    assert "\\u202e\\x9b31m" in lines[0]
    assert "canary" not in lines[0]


def test_what_a_stopping_server_is_asked_it_refuses_with_a_time_to_come_back(house):
    house.services.stopping.set()
    answer = house.client("vera").get("/v1/jobs")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_no_answer_may_be_framed_sniffed_or_kept(house):
    client = house.client("vera")
    for path in ("/v1/jobs", "/v1/nothing", "/v1/users", "/v1/ping"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_f72_whoever_reads_a_large_answer_slowly_gets_all_of_it(listening):
    server = listening(doors={"blocked_s": 0.2})
    content = random.Random(1).randbytes(6_000_000)
    server.house.push("one", "fetch", **{"large.bin": content})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", server.port))
        token = server.house.token("vera").encode()
        sock.sendall(b"GET /v1/jobs/one/files/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n")
        sock.sendall(b"Authorization: Bearer " + token + b"\r\n\r\n")
        received = b""
        while piece := sock.recv(32768):
            received += piece
            time.sleep(0.005)
    assert received.partition(b"\r\n\r\n")[2] == content


def test_f72_what_waits_for_all_readers_together_is_bounded_and_who_stands_longest_goes_first(listening):
    server = listening(doors={"untaken": 12_000_000})
    server.house.push("one", "fetch", **{"large.bin": bytes(8_000_000)})
    token = server.house.token("vera").encode()
    with contextlib.ExitStack() as stack:
        standing: list[object] = []
        for _ in range(5):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(DEADLINE_S)
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(b"GET /v1/jobs/one/files/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            sock.sendall(b"Authorization: Bearer " + token + b"\r\n\r\n")
            # Each new one sends the one before it away.
            until(lambda: server.doors.open == 1 and list(server.doors.behind)[:1] not in ([], standing[-1:]))
            standing.extend(server.doors.behind)
        answer = server.request("/v1/jobs/one/files/large.bin", Authorization=f"Bearer {token.decode()}")
        assert (answer[0], len(answer[2])) == (200, 8_000_000)
    until(lambda: (len(server.doors.behind), server.doors.open) == (0, 0))
