"""CROWDS: clients that never read, that send nothing, that hold half a request, that vanish; and those beside them."""

from __future__ import annotations

import json
import math
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import processes
from client import Client
from logs import Memory
from looking import Looking
from server import Server
from table import Row, Target, percentile

NEVER_READ = 200
FAST = 20
LORIS = 500
IDLE = 5_000
WRITTEN = 48 << 20  # more than sockets hold
QUIET_S = 3.0
CLOSED_WITHIN_S = 90.0
RESET = struct.pack("ii", 1, 0)
JOB = "crowds"


def crowds(folder: Path) -> Iterator[Row]:
    """CROWDS: 200 readers that never read, 500 slow and 5,000 idle connections, clients that vanish."""
    with Server(folder / "crowds", ODIN_MAX_CONNECTIONS=str(IDLE + LORIS + 100)) as server:
        client = server.client()
        program = f"import sys, time; [sys.stdout.write('x' * 1023 + chr(10)) for _ in range({WRITTEN >> 10})]; "
        words = ["-c", program + "sys.stdout.flush(); time.sleep(600)"]
        entry = f"tasks:\n  - name: loud\n    command: {json.dumps(sys.executable)}\n    args: {json.dumps(words)}\n"
        client.push(JOB, {"main.yml": entry})
        pipeline = client.launch(JOB)
        log = server.data / "logs" / pipeline / f"{pipeline}--loud.log"
        while not log.exists() or log.stat().st_size < WRITTEN:
            time.sleep(0.05)
        routes = {
            "all": "/v1/stream",
            "stream": f"/v1/pipelines/{pipeline}/stream",
            "log": f"/v1/resources/{pipeline}--loud/logs?follow=true",
        }
        yield from vanished(server, client, routes)
        yield from idle(server, routes)
        yield from never_read(server, client, routes["log"])
        client.request("POST", f"/v1/pipelines/{pipeline}/cancel")
        client.close()


def begin(server: Server, path: str, token: str, *, buffer: int | None = None) -> socket.socket:
    """A connection with one request on it."""
    sock = socket.socket()
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return sock


def followed(client: Client) -> int:
    """How many streams the server has."""
    found = re.search(rb"^odin_streams (\d+)", client.get("/metrics"), re.M)
    return int(found[1]) if found else -1


# ---- R21


def vanished(server: Server, client: Client, routes: dict[str, str]) -> Iterator[Row]:
    took_s = []
    for path in routes.values():
        for after_s in (0, 0.005, 0.5):
            for reset in (False, True):
                socks = [begin(server, path, client.token) for _ in range(5)]
                time.sleep(after_s)
                for sock in socks:
                    if reset:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    sock.close()
                began = time.perf_counter()
                client.get("/v1/ping")
                took_s.append(time.perf_counter() - began)
    began = time.perf_counter()
    while followed(client):
        time.sleep(0.01)
    yield Row("R21", "answer after clients vanished, the slowest", "s", [max(took_s)], target=Target(1, 1))
    yield Row("R21", "until the last of them was forgotten", "s", [time.perf_counter() - began], target=Target(1, 1))


# ---- R19


def idle(server: Server, routes: dict[str, str]) -> Iterator[Row]:
    paths = {"ping": "/v1/ping", "list": "/v1/pipelines?limit=1"}
    with Looking(server.client(), paths) as alone:
        time.sleep(QUIET_S)
    client = server.client()
    before_mb = processes.memory_mb(server.pid)
    with ExitStack() as stack:
        for number in range(IDLE):
            path = list(routes.values())[number % 2]
            stack.enter_context(begin(server, path, client.token))
        while followed(client) < IDLE:
            time.sleep(0.05)
        each_kb = (processes.memory_mb(server.pid) - before_mb) * 1e3 / IDLE
        with Looking(server.client(), paths) as beside:
            for _ in range(LORIS):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                sock.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: 127")
            time.sleep(QUIET_S)
    while followed(client):
        time.sleep(0.05)
    client.close()
    yield Row("R19", "memory an idle stream, of 5,000", "kB", [each_kb], target=Target(50, 50))
    figure = "p99 of ping beside 500 slow, 5,000 idle ÷ alone"
    yield Row("R19", figure, "ms", [beside.p99("ping")], [alone.p99("ping")], Target(2, 2))


# ---- R18


def never_read(server: Server, client: Client, path: str) -> Iterator[Row]:
    alone, _ = fast(server, client.token, path)
    before_mb = processes.memory_mb(server.pid)
    with ExitStack() as stack, Memory(server.pid) as memory:
        began = time.monotonic()
        slow = [stack.enter_context(begin(server, path, client.token, buffer=4096)) for _ in range(NEVER_READ)]
        time.sleep(QUIET_S)  # until what lies between is full
        beside, whole = fast(server, client.token, path)
        while (left := followed(client)) and time.monotonic() < began + CLOSED_WITHIN_S:
            time.sleep(0.5)
        closed_s = time.monotonic() - began if not left else math.inf
        del slow
    yield Row("R18", "p99 of a fast reader beside 200 that never read ÷ alone", "ms", [beside], [alone], Target(2, 1.2))
    yield Row("R18", "fast readers that got less than all", "", [FAST - whole], target=Target(0, 0))
    yield Row("R18", "memory for 200 that never read", "MB", [memory.most_mb - before_mb], target=Target(64, 64))
    yield Row("R18", "until the last of them was closed", "s", [closed_s], target=Target(65, 60))


def fast(server: Server, token: str, path: str) -> tuple[float, int]:
    """Twenty readers of the whole log: p99 of the time between two pieces, and how many got everything."""
    with ExitStack() as stack:
        socks = {stack.enter_context(begin(server, path, token)): 0 for _ in range(FAST)}
        seen = dict.fromkeys(socks, time.perf_counter())
        gaps_ms = []
        poll = select.epoll()
        stack.callback(poll.close)
        by_number = {sock.fileno(): sock for sock in socks}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        until = time.perf_counter() + 60
        while time.perf_counter() < until and by_number:
            for number, _ in poll.poll(1):
                sock, now = by_number[number], time.perf_counter()
                socks[sock] += len(sock.recv(1 << 20))
                gaps_ms.append((now - seen[sock]) * 1e3)
                seen[sock] = now
                if socks[sock] > WRITTEN:  # with the sizes of chunks it is a little more
                    poll.unregister(number)
                    del by_number[number]
        return percentile(gaps_ms, 99), FAST - len(by_number)
