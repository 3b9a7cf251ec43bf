"""Streams against a real server: events of pipelines, logs as they come, clients that vanish, servers that stop."""

import asyncio
import contextlib
import json
import signal
import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest

from odin.api import streams
from odin.api.server import make_server
from odin.api.stopping import Stopping
from odin.model.users import Role
from odin.store.users import Change

RUNNING = {"plan": lambda launch: None}
DEADLINE_S = 60


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
    return found


def launch(server, job="one"):
    headers = {"Authorization": f"Bearer {server.house.token('edda')}", "Content-Type": "application/json"}
    body = json.dumps({"pipeline": {"job": job}}).encode()
    status, _, answer = server.request("/v1/pipelines", method="POST", body=body, **headers)
    assert status == 200, answer
    return json.loads(answer)["pipeline"]["id"]


class Follower:
    """One streaming request on a plain socket; ``text`` is what came so far, without the chunks' sizes."""

    def __init__(self, server, path, name="vera", **headers):
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {server.house.token(name)}"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.data = b""
        self.closed = False

    def read_until(self, condition):
        while not condition(self):
            piece = self.sock.recv(65536)
            if not piece:
                self.closed = True
                assert condition(self), self.data
                break
            self.data += piece
        return self

    def read_to_end(self):
        return self.read_until(lambda one: one.closed or one.complete)

    @property
    def head(self):
        return self.data.partition(b"\r\n\r\n")[0].decode()

    @property
    def complete(self):
        return self.data.endswith(b"0\r\n\r\n")

    @property
    def text(self):
        rest, out = self.data.partition(b"\r\n\r\n")[2], b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            out, rest = out + rest[:length], rest[length + 2 :]
        return out.decode()

    @property
    def events(self):
        frames = [frame for frame in self.text.split("\n\n") if frame.startswith("id: ")]
        fields = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
        return [(int(one["id"]), one["event"], json.loads(one["data"])) for one in fields]

    def close(self, *, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@pytest.fixture
def follow():
    with contextlib.ExitStack() as stack:

        def follow_(*args, **headers):
            follower = Follower(*args, **headers)
            stack.callback(follower.sock.close)
            return follower

        yield follow_


@pytest.fixture
def server(listening):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    return server


def finish(server, attempt, code=0):
    """End an attempt from outside the engine, as a place would: its report wakes the engine."""
    until(lambda: attempt in server.house.place.running)
    server.house.place.finish(attempt, code)


def test_a_stream_begins_with_a_snapshot_and_ends_with_the_pipeline(server, follow):
    pipeline = launch(server)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream")
    follower.read_until(lambda one: one.events)
    finish(server, f"{pipeline}--fetch")
    finish(server, f"{pipeline}--train")
    follower.read_to_end()
    assert "text/event-stream" in follower.head
    kinds = [kind for _, kind, _ in follower.events]
    assert (kinds[0], kinds[-1], kinds.count("end")) == ("pipeline", "end", 1)
    assert follower.events[-1][2]["outcome"] == "succeeded"
    assert [one["status"] for one in follower.events[-1][2]["tasks"]] == ["executed", "executed"]
    positions = [position for position, _, _ in follower.events]
    assert positions == sorted(positions)
    seen = [(data["name"], data["status"]) for _, kind, data in follower.events if kind == "task"]
    assert {("fetch", "executed"), ("train", "executed")} <= set(seen)


def test_a_stream_resumes_where_it_was_without_a_gap(server, follow):
    pipeline = launch(server)
    first = follow(server, f"/v1/pipelines/{pipeline}/stream").read_until(lambda one: one.events)
    position = first.events[-1][0]
    first.close()
    finish(server, f"{pipeline}--fetch")
    finish(server, f"{pipeline}--train")
    second = follow(server, f"/v1/pipelines/{pipeline}/stream", Last_Event_ID=position).read_to_end()
    assert all(at > position for at, _, _ in second.events)
    tasks = {data["name"]: data["status"] for _, kind, data in second.events if kind == "task"}
    assert tasks == {"fetch": "executed", "train": "executed"}
    third = follow(server, f"/v1/pipelines/{pipeline}/stream", Last_Event_ID=second.events[-1][0]).read_to_end()
    assert [kind for _, kind, _ in third.events] == ["end"]


@pytest.mark.parametrize("position", ["0", "-1", "x", "999999", "9" * 400, "1.5", ""])
def test_a_stream_from_a_position_that_never_was_begins_with_a_snapshot(server, follow, position):
    pipeline = launch(server)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream", Last_Event_ID=position)
    follower.read_until(lambda one: one.events)
    assert follower.events[0][1] == "pipeline"


def test_a_quiet_stream_is_kept_alive_by_comments(server, follow, monkeypatch):
    monkeypatch.setattr("odin.api.routes.stream.BEAT_S", 0.05)
    pipeline = launch(server)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream")
    follower.read_until(lambda one: one.text.count("\n: ") >= 2)


def test_a_stream_ends_when_its_pipeline_is_cleaned_up(server, follow):
    pipeline = launch(server)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream").read_until(lambda one: one.events)
    headers = {"Authorization": f"Bearer {server.house.token('edda')}"}
    assert server.request(f"/v1/pipelines/{pipeline}?db=true", method="DELETE", **headers)[0] == 200
    follower.read_to_end()


def test_a_log_is_followed_from_before_its_start_to_its_end(server, follow):
    pipeline = launch(server)
    follower = follow(server, f"/v1/resources/{pipeline}--train/logs?follow=true")
    server.house.write_log(f"{pipeline}--fetch", b"other\n")
    finish(server, f"{pipeline}--fetch")
    until(lambda: f"{pipeline}--train" in server.house.place.running)
    server.house.write_log(f"{pipeline}--train", b"one\n")
    follower.read_until(lambda one: one.text == "one\n")
    server.house.write_log(f"{pipeline}--train", b"two\n")
    finish(server, f"{pipeline}--train")
    follower.read_to_end()
    assert follower.text == "one\ntwo\n"
    assert "text/plain" in follower.head


def test_following_a_task_that_never_runs_ends_with_the_pipeline(server, follow):
    pipeline = launch(server)
    follower = follow(server, f"/v1/resources/{pipeline}--train/logs?follow=true")
    server.house.write_log(f"{pipeline}--fetch", b"x")
    finish(server, f"{pipeline}--fetch", code=1)
    follower.read_to_end()
    assert follower.text == ""


class Endless:
    """Logs that always have more and never suspend: what froze whole servers."""

    async def read(self, attempt, *, offset, limit):
        return b"x" * min(limit, 1024), 1 << 40

    async def follow(self, attempt, *, offset, ended):
        while True:
            yield b"x" * 1024


def endless(server):
    object.__setattr__(server.house.services, "logs", Endless())
    pipeline = launch(server)
    until(lambda: server.house.queries.task(f"{pipeline}--fetch")[1].status == "executing")
    return f"/v1/resources/{pipeline}--fetch/logs?follow=true"


def base(server):
    return server.house.odin.metrics.streams, server.doors.open


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_s", [0, 0.005, 0.5])
def test_f71_a_client_that_vanishes_does_not_stop_the_server(server, after_s, reset):
    path = endless(server)
    for _ in range(3):
        follower = Follower(server, path)
        time.sleep(after_s)
        follower.close(reset=reset)
        assert server.request("/healthz")[0] == 200
    until(lambda: base(server) == (0, 0))


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_s", [0, 0.005, 0.5])
def test_f71_a_client_that_vanishes_from_a_status_stream_is_forgotten(server, after_s, reset, monkeypatch):
    monkeypatch.setattr("odin.api.routes.stream.BEAT_S", 0.0)
    pipeline = launch(server)
    for _ in range(3):
        follower = Follower(server, f"/v1/pipelines/{pipeline}/stream")
        time.sleep(after_s)
        follower.close(reset=reset)
        assert server.request("/healthz")[0] == 200
    until(lambda: base(server) == (0, 0))
    assert server.house.services.feed._watchers == {}


def test_f71_a_greedy_source_gives_way_even_if_nobody_ever_waits():
    """The stream alone, with a client whose sending never suspends: others get their turns."""

    odin = SimpleNamespace(metrics=SimpleNamespace(streams=0), services=SimpleNamespace(stopping=Stopping()))

    async def greedy():
        while True:
            yield b"x"

    async def main():
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            return None

        stream = streams.Stream(greedy(), odin, media_type=streams.TEXT)
        running = asyncio.create_task(stream({"type": "http"}, receive, send))
        for _ in range(100):
            await asyncio.sleep(0)
        gone.set()
        await asyncio.wait_for(running, DEADLINE_S)

    asyncio.run(main())


def test_f72_readers_that_never_read_hold_nobody_up_and_are_closed(listening):
    server = listening(doors={"blocked_s": 0.5}, **RUNNING)
    server.house.push("one", "fetch", "train")
    path = endless(server)
    slow = [Follower(server, path) for _ in range(20)]
    try:
        until(lambda: server.house.odin.metrics.streams == len(slow))
        for _ in range(20):
            assert server.request("/healthz")[0] == 200
        until(lambda: base(server) == (0, 0))
    finally:
        for follower in slow:
            follower.close()


@pytest.mark.parametrize("change", ["password", "role", "delete"])
def test_a47_open_streams_end_soon_after_their_token(server, follow, change, monkeypatch):
    monkeypatch.setattr(streams, "CHECK_S", 0.05)
    pipeline = launch(server)
    time.sleep(0.002)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream").read_until(lambda one: one.events)
    users, uid = server.house.users, server.house.users.get("vera").uid
    time.sleep(0.002)
    if change == "delete":
        users.delete("vera")
    else:
        users.change("vera", Change(role=Role.EDITOR) if change == "role" else Change(password_hash="x"))
    server.loop.call_soon_threadsafe(server.house.odin.accounts.forget, uid)
    follower.read_to_end()
    assert not [kind for _, kind, _ in follower.events if kind == "end"]


def test_f07_a_stopping_server_ends_streams_with_a_hint_to_resume(listening, follow):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    pipeline = launch(server)
    until(lambda: f"{pipeline}--fetch" in server.house.place.running)
    server.house.write_log(f"{pipeline}--fetch", b"one\n")
    status = [follow(server, f"/v1/pipelines/{pipeline}/stream") for _ in range(50)]
    log = follow(server, f"/v1/resources/{pipeline}--fetch/logs?follow=true")
    for follower in status:
        follower.read_until(lambda one: one.events)
    log.read_until(lambda one: one.text == "one\n")
    server.stop()
    for follower in status:
        follower.read_to_end()
        assert "retry: " in follower.text
        assert "Last-Event-ID" in follower.text
        assert follower.complete
    # Plain text has no place for a hint: it breaks off, so that the client knows that there is more.
    log.read_until(lambda one: one.closed)
    assert not log.complete
    server.thread.join(DEADLINE_S)
    assert not server.thread.is_alive()


def test_f07_what_is_acknowledged_while_stopping_is_there_afterwards(listening):
    server = listening()
    server.house.push("one", "fetch")
    acknowledged, refused = [], []
    stop = threading.Event()

    def submit():
        while not stop.is_set():
            try:
                acknowledged.append(launch(server))
            except (AssertionError, OSError, ValueError):
                refused.append(1)
                time.sleep(0.005)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 20)
    server.stop()
    server.thread.join(DEADLINE_S)
    stop.set()
    for thread in threads:
        thread.join()
    assert not server.thread.is_alive()
    assert refused
    assert all(server.house.queries.pipeline(pipeline) for pipeline in acknowledged)


def test_f07_a_first_signal_asks_and_a_second_one_insists(house):
    server = make_server(house.app, house.settings, house.services.stopping)
    server.handle_exit(signal.SIGTERM, None)
    assert (server.should_exit, server.force_exit) == (True, False)
    server.handle_exit(signal.SIGTERM, None)
    assert server.force_exit
