"""Streams against a real server: events of pipelines, logs as they come, clients that vanish, servers that stop."""

import asyncio
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from integration.api.streaming import DEADLINE_S, RUNNING, Follower, end_token, finish, launch, until
from odin.api import endings, streams
from odin.api.endings import Endings
from odin.api.server import make_server
from odin.api.stopping import Stopping


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
    monkeypatch.setattr("odin.api.channels.BEAT_S", 0.05)
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

    def of(self, _container):
        return self

    async def read(self, attempt, *, offset, limit):
        return b"x" * min(limit, 1024), 1 << 40


def endless(server):
    server.house.odin.tails._logs = Endless()
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
    monkeypatch.setattr("odin.api.channels.BEAT_S", 0.0)
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

    odin = SimpleNamespace(metrics=SimpleNamespace(streams=0), endings=Endings(None, Stopping()))

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


def test_a47_many_streams_of_one_token_cost_one_look_at_it(server, follow, monkeypatch):
    monkeypatch.setattr(endings, "CHECK_S", 0.05)
    accounts, looks = server.house.odin.accounts, []
    counts = accounts.counts
    monkeypatch.setattr(accounts, "counts", lambda session: looks.append(session) or counts(session))
    token = server.house.token("vera")
    monkeypatch.setattr(server.house, "token", lambda name: token)
    for follower in [follow(server, "/v1/stream") for _ in range(20)]:
        follower.read_until(lambda one: one.events)
    looks.clear()
    began = time.monotonic()
    until(lambda: len(looks) >= 4)
    assert len(looks) <= (time.monotonic() - began) / 0.05 + 1


@pytest.mark.parametrize("change", ["password", "role", "delete"])
def test_a47_open_streams_end_soon_after_their_token(server, follow, change, monkeypatch):
    monkeypatch.setattr(endings, "CHECK_S", 0.05)
    pipeline = launch(server)
    time.sleep(0.002)
    follower = follow(server, f"/v1/pipelines/{pipeline}/stream").read_until(lambda one: one.events)
    end_token(server, change)
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


def test_how_late_the_event_loop_is_is_counted(server):
    async def hold_up():
        time.sleep(0.4)  # it looks at its clock ten times a second

    asyncio.run_coroutine_threadsafe(hold_up(), server.loop).result(DEADLINE_S)
    until(lambda: server.house.odin.metrics.lag.total_s > 0.2)
    text = server.request("/metrics", Authorization=f"Bearer {server.house.token('vera')}")[2]
    assert b"\nodin_loop_lag_seconds_count " in text
