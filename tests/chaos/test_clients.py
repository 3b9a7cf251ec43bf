"""Clients that vanish, that do not read, and that ask again: the server goes on for all others."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaos.streams import Stream
from e2e.jobs import job, task
from e2e.serving import DEADLINE_S, Serving, until

MIB = 1 << 20
CHATTER = 48 * MIB  # more than the sockets hold, so that a source always has more


@pytest.fixture(scope="module")
def chatty():
    """A server with a pipeline that has written a lot and still runs, and the streaming routes to it."""
    odin = Serving()
    try:
        odin.start()
        api = odin.api()
        gate = odin.folder / "gate"
        script = f"yes {'x' * 1000} | head -c {CHATTER}; until [ -e {gate} ]; do sleep 0.05; done"
        tasks = [task(f"t{n}", "true") for n in range(300)]
        api.push("chatty", job(task("loud", script), *tasks))
        odin.pipeline = api.launch("chatty")
        until(lambda: log_size(odin) == CHATTER)
        yield odin
        gate.touch()
        api.finished(odin.pipeline)
    finally:
        odin.close()


def log_size(odin):
    path = odin.data / "logs" / odin.pipeline / f"{odin.pipeline}--loud.log"
    return path.stat().st_size if path.exists() else 0


ROUTES = {
    "stream": "/v1/pipelines/{0}/stream",
    "stream of all": "/v1/stream",
    "followed log": "/v1/resources/{0}--loud/logs?follow=true",
    "log from an offset": "/v1/resources/{0}--loud/logs?follow=true&offset=1000",
    "last lines": "/v1/resources/{0}--loud/logs?follow=true&lines=20000",
    "whole log": "/v1/resources/{0}--loud/logs",
}


def streams(odin):
    return int(re.search(r"^odin_streams (\d+)", odin.api().ask("GET", "/metrics").body.decode(), re.M)[1])


def descriptors(odin):
    """What the server has open, but for its pool of database connections."""
    found = []
    for path in Path(f"/proc/{odin.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(path))
    return sum("/odin.db" not in name for name in found)


@pytest.mark.parametrize("after_s", [0, 0.005, 0.5], ids=["at once", "after 5 ms", "after 500 ms"])
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("route", ROUTES)
def test_f71_a_client_that_vanishes_leaves_the_server_as_it_was(chatty, route, reset, after_s):
    api = chatty.api()
    until(lambda: streams(chatty) == 0)
    before = descriptors(chatty)
    clients = [Stream(chatty.port, ROUTES[route].format(chatty.pipeline), token=api.token) for _ in range(4)]
    time.sleep(after_s)
    for client in clients:
        client.leave(reset=reset)
    assert api.get("/v1/ping") == "pong"
    until(lambda: streams(chatty) == 0)
    until(lambda: descriptors(chatty) <= before, told=lambda: (before, descriptors(chatty)))


def test_f71_a_client_that_vanishes_in_the_middle_of_a_clone_leaves_no_git_behind(odin):
    odin.start()
    odin.api().write("big", {"main.yml": b"tasks: []\n", **{f"file{n}": os.urandom(2 * MIB) for n in range(8)}})
    body = b"0011command=fetch0001000fno-progress0032want " + head(odin) + b"\n0009done\n0000"
    for reset in (False, True):
        with socket.create_connection(("127.0.0.1", odin.port), timeout=DEADLINE_S) as sock:
            lines = [
                "POST /git/jobs.git/git-upload-pack HTTP/1.1",
                f"Host: 127.0.0.1:{odin.port}",
                f"Authorization: Bearer {odin.api().token}",
                "Content-Type: application/x-git-upload-pack-request",
                "Git-Protocol: version=2",
                f"Content-Length: {len(body)}",
            ]
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            assert b"200 OK" in sock.recv(1000)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert odin.api().get("/v1/ping") == "pong"
        until(lambda: not children(odin), told=lambda: children(odin))


def head(odin):
    return (odin.data / "jobs.git/refs/heads/main").read_text().strip().encode()


def children(odin):
    """The programs that the server itself has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().rpartition(") ")
            state, parent = rest.split()[:2]
            if int(parent) == odin.process.pid and state != "Z":
                found.append(name)
    return found


def test_f72_readers_that_do_not_read_hold_nobody_up(chatty):
    token = chatty.api().token
    path = ROUTES["followed log"].format(chatty.pipeline)
    before = resident(chatty)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        for _ in range(40):
            stack.enter_context(Stream(chatty.port, path, token=token, buffer=4096))
        until(lambda: streams(chatty) >= 40)
        assert set(pool.map(lambda _: read_all(chatty, path), range(2))) == {CHATTER}
        assert chatty.api().get("/v1/ping") == "pong"
        assert resident(chatty) - before < 64 * MIB
    until(lambda: streams(chatty) == 0)


def read_all(odin, path):
    """How much a reader of a followed log gets, who stops when all that was written is there."""
    connection = http.client.HTTPConnection("127.0.0.1", odin.port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {odin.api().token}"})
        return len(connection.getresponse().read(CHATTER))


def resident(odin):
    """Bytes of memory that the server holds."""
    status = Path(f"/proc/{odin.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


# ---- idle connections ----------------------------------------------------------------------------------------------

IDLE = int(os.environ.get("ODIN_IDLE", "1000"))
IDLE_BYTES = 50_000


@pytest.fixture(scope="module")
def doorway():
    """A server that takes so many connections and one more; one task waits in it."""
    odin = Serving({"MAX_CONNECTIONS": str(IDLE + 1)})
    try:
        odin.start()
        api = odin.api()
        gate = odin.folder / "gate"
        api.push("waiting", job(task("gate", f"until [ -e {gate} ]; do sleep 0.05; done")))
        odin.pipeline = api.launch("waiting")
        api.executing(f"{odin.pipeline}--gate")
        yield odin
        gate.touch()
        api.finished(odin.pipeline)
    finally:
        odin.close()


IDLE_ROUTES = {
    "no request": None,
    "all pipelines": "/v1/stream",
    "stream": "/v1/pipelines/{0}/stream",
    "followed log": "/v1/resources/{0}--gate/logs?follow=true",
}


@pytest.mark.parametrize("route", IDLE_ROUTES)
def test_f74_idle_connections_take_little_and_more_than_may_be_are_refused(doorway, route):
    path, token = IDLE_ROUTES[route], doorway.api().token
    before, open_before = resident(doorway), descriptors(doorway)
    with ExitStack() as stack:
        kept = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", doorway.port)))
        assert ask(kept, "/v1/ping") == b'"pong"'
        for _ in range(IDLE):
            if path is None:
                stack.enter_context(socket.create_connection(("127.0.0.1", doorway.port), timeout=DEADLINE_S))
            else:
                stack.enter_context(Stream(doorway.port, path.format(doorway.pipeline), token=token))
        if path is not None:
            until(lambda: f"\nodin_streams {IDLE}\n".encode() in ask(kept, "/metrics", token))
        for _ in range(20):
            answer = stack.enter_context(Stream(doorway.port, "/v1/ping")).rest()
            assert b" 503 " in answer
            assert b"retry-after" in answer
        assert ask(kept, "/v1/ping") == b'"pong"'
        assert (resident(doorway) - before) / IDLE <= IDLE_BYTES
    until(lambda: descriptors(doorway) <= open_before, told=lambda: (open_before, descriptors(doorway)))
    assert doorway.api().get("/v1/ping") == "pong"


def ask(connection, path, token=None):
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    return connection.getresponse().read()


# ---- asking again --------------------------------------------------------------------------------------------------


def test_f70_a_launch_whose_answer_was_lost_is_one_pipeline(odin):
    odin.start()
    api = odin.api()
    api.push("once", job({"name": "x", "command": "true"}))
    keys = [uuid.uuid4().hex for _ in range(20)]
    body = b'{"pipeline": {"job": "once"}}'
    for key in keys:
        with socket.create_connection(("127.0.0.1", odin.port), timeout=DEADLINE_S) as sock:
            fields = [
                "POST /v1/pipelines HTTP/1.1",
                f"Host: 127.0.0.1:{odin.port}",
                f"Authorization: Bearer {api.token}",
                f"Idempotency-Key: {key}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            ]
            sock.sendall("\r\n".join([*fields, "", ""]).encode() + body)
    with ThreadPoolExecutor(4) as pool:
        twice = list(pool.map(lambda key: api.launch("once", Idempotency_Key=key), keys * 2))
    assert twice[: len(keys)] == twice[len(keys) :]
    assert len(api.get("/v1/pipelines?job=once")["pipelines"]) == len(set(twice)) == len(keys)
    other = api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "other"}}, Idempotency_Key=keys[0])
    assert other.status == 422
    odin.kill()
    odin.start()
    assert api.launch("once", Idempotency_Key=keys[0]) == twice[0]
    for handle in set(twice):
        api.finished(handle)
