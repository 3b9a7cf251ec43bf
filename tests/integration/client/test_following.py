"""Iterators that outlive a connection: nothing twice, nothing left out, closed when nobody reads. Source: F-75."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from integration.cli.scripted import Handler, Scripted, body, dropped, events, frame, pipeline, problem, stream, task
from odin import Change, Client, NotFound, Unreachable

ID = "hello-ab12cd34"
TASK = f"{ID}--train"
STREAM = f"GET /v1/pipelines/{ID}/stream"
LOG = f"GET /v1/resources/{TASK}/logs?follow=true&attempt=1&offset="


@pytest.fixture
def held() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def kinds(changes: Iterator[Change]) -> list[tuple[str, str]]:
    return [(change.event, change.position) for change in changes]


def of(name: str, position: int, event: str = "pipeline", **changes: object) -> bytes:
    """A pipeline as ``/v1/stream`` tells it, ``position`` being its own."""
    data = {"id": name, "position": position, "status": "RUNNING", "outcome": None, "taskCounts": {"executing": 1}}
    return frame(event, data | changes, 1_795_000_000_000 + position)


def test_a_pipeline_is_followed_over_lost_connections(server: Scripted, client: Client, said: list[str]) -> None:
    done = pipeline("succeeded")
    server.on(
        STREAM,
        events(frame("pipeline", pipeline(None), 3), cut=True),
        dropped,
        problem(503, "stopping"),
        events(frame("task", done["tasks"][1], 4)),
        events(frame("end", done, 5)),
    )
    assert kinds(client.follow(ID)) == [("pipeline", "3"), ("task", "4"), ("end", "5")]
    assert [one.headers.get("last-event-id") for one in server.asked(STREAM)] == [None, "3", "3", "3", "4"]
    assert said == [f"the connection to {server.url} was lost; reconnecting"]


def test_f75_a_quiet_stream_that_breaks_again_is_no_silent_server(
    server: Scripted, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for hours between two events loses more than one connection."""
    monkeypatch.setattr("odin.client.following.GIVE_UP_S", 0.2)

    def quiet(handler: Handler) -> None:
        handler.head(200, "text/event-stream", Transfer_Encoding="chunked")
        time.sleep(0.3)

    first = events(frame("pipeline", pipeline(None), 3), cut=True)
    server.on(STREAM, first, quiet, quiet, events(frame("end", pipeline("succeeded"), 5)))
    assert kinds(client.follow(ID)) == [("pipeline", "3"), ("end", "5")]


def test_what_a_server_tells_again_is_yielded_once(server: Scripted, client: Client) -> None:
    done = pipeline("succeeded")
    before = [frame("pipeline", pipeline(None), 3), frame("task", done["tasks"][0], 4)]
    server.on(STREAM, events(*before, cut=True), events(*before[1:], before[1], frame("end", done, 4)))
    assert kinds(client.follow(ID)) == [("pipeline", "3"), ("task", "4"), ("end", "4")]


def test_a_newer_snapshot_takes_the_place_of_what_was_missed(server: Scripted, client: Client) -> None:
    done = pipeline("succeeded")
    server.on(
        STREAM,
        events(frame("pipeline", pipeline(None), 3), cut=True),
        events(frame("pipeline", done, 9), frame("end", done, 9)),
    )
    assert kinds(client.follow(ID)) == [("pipeline", "3"), ("pipeline", "9"), ("end", "9")]


def test_no_pipeline_and_no_server_are_told_at_once(server: Scripted, client: Client) -> None:
    with pytest.raises(NotFound, match="no such thing"):
        next(client.follow("nope"))
    with pytest.raises(Unreachable):
        next(Client("http://127.0.0.1:1").follow(ID))


def test_ticks_come_only_to_those_who_ask(server: Scripted, client: Client, held: threading.Event) -> None:
    server.on(STREAM, events(frame("pipeline", pipeline(None), 3), hold=held))
    changes = client.follow(ID, tick_s=0.01)
    assert [next(changes).event for _ in range(3)] == ["pipeline", "tick", "tick"]
    changes.close()


def test_closing_the_iterator_closes_the_connection(server: Scripted, client: Client, held: threading.Event) -> None:
    closed = threading.Event()

    def answer(handler: Handler) -> None:
        handler.head(200, "text/event-stream", Transfer_Encoding="chunked")
        handler.chunk(frame("pipeline", pipeline(None), 3))
        handler.connection.settimeout(60)
        if not handler.rfile.read(1):
            closed.set()

    server.on(STREAM, answer)
    for change in client.follow(ID):
        assert change.event == "pipeline"
        break
    assert closed.wait(60)


def test_a_followed_pipeline_is_up_to_date(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    done = pipeline("succeeded")
    server.on(
        STREAM,
        events(frame("pipeline", pipeline(None), 3), frame("task", done["tasks"][1], 4), frame("end", done, 5)),
    )
    followed = client.pipeline(ID)
    seen = [(followed.task("train").status, followed.outcome) for _ in followed.follow()]
    assert seen == [("executing", None), ("executed", None), ("executed", "succeeded")]


def test_waiting_ends_with_the_pipeline_or_its_limit(server: Scripted, client: Client, held: threading.Event) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    server.on(
        STREAM, events(frame("end", pipeline("failed"), 5)), events(frame("pipeline", pipeline(None), 3), hold=held)
    )
    assert client.run("hello").wait().outcome == "failed"
    with pytest.raises(TimeoutError, match=f"{ID} is not over after 0.05 s"):
        client.run("hello").wait(0.05)


def test_all_pipelines_are_watched_over_lost_connections(server: Scripted, client: Client) -> None:
    ready = frame("ready", {}, 1_795_000_000_009)
    server.on(
        "GET /v1/stream?job=hello",
        events(of("a", 1), of("b", 2, outcome="failed"), ready, of("a", 3), cut=True),
        events(
            of("a", 3), of("b", 2, outcome="failed"), of("c", 4), ready, of("a", 5), of("b", 0, "removed"), cut=True
        ),
        events(of("b", 0, "removed"), of("a", 6)),
    )
    changes = client.watch(job="hello")
    found = [next(changes) for _ in range(8)]
    changes.close()
    assert [(one.event, one.data.get("id"), one.data.get("position")) for one in found] == [
        ("pipeline", "a", 1),
        ("pipeline", "b", 2),
        ("ready", None, None),
        ("pipeline", "a", 3),
        ("pipeline", "c", 4),
        ("pipeline", "a", 5),
        ("removed", "b", 0),
        ("pipeline", "a", 6),
    ]
    resumed = [one.headers.get("last-event-id") for one in server.requests]
    assert resumed == [None, "1795000000003", "1795000000000"]
    assert found[0].pipeline is not None
    assert found[0].pipeline.task_counts == {"executing": 1}


def test_a_log_goes_on_with_the_next_byte(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("succeeded")}))
    server.on(LOG + "0", stream(b"one\ntw", cut=True))
    server.on(LOG + "6", dropped, stream(b"o\nthree\xff"))
    assert list(client.follow_lines(TASK)) == ["one", "two", "three\\xff"]


def test_pieces_of_a_log_know_their_place_and_when_they_came(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("succeeded", tasks=[task("train", "executed")])}))
    server.on(f"GET /v1/resources/{TASK}/logs?lines=1&attempt=1", body({"logs": "old\n", "offset": 0, "size": 4}))
    server.on(LOG + "0", stream(b"old\n", b"new", cut=True))
    server.on(LOG + "7", stream(b"er\n"))
    began = time.time()
    pieces = list(client.follow_pieces(TASK, timed=True))
    assert [(one.data, one.attempt, one.position) for one in pieces] == [
        (b"old\n", 1, 4),
        (b"new", 1, 7),
        (b"er\n", 1, 10),
    ]
    assert pieces[0].at is None
    assert all(one.at is not None and began <= one.at <= time.time() for one in pieces[1:])
    assert [one.at for one in client.follow_pieces(TASK)] == [None] * 3


def test_f75_a_server_that_has_answered_is_waited_for_also_before_the_first_event(
    server: Scripted, client: Client
) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    server.on(STREAM, dropped, problem(503, "starting"), events(frame("end", pipeline("succeeded"), 5)))
    launched = client.run("hello")
    assert kinds(launched.follow()) == [("end", "5")]


def test_a_log_that_is_read_no_further_is_closed(server: Scripted, client: Client, held: threading.Event) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    server.on(LOG + "0", stream(b"one\n", b"two\n", hold=held))
    lines = client.follow_lines(TASK)
    assert next(lines) == "one"
    lines.close()
    with pytest.raises(StopIteration):
        next(lines)


def test_one_client_serves_many_threads(server: Scripted, client: Client) -> None:
    for number in range(8):
        done = pipeline("succeeded", id=f"p-{number}", tasks=[task("train", "executed")])
        server.on(f"GET /v1/pipelines/p-{number}/stream", events(frame("end", done, 5)))
    outcomes: dict[int, str] = {}

    def follow(number: int) -> None:
        for change in client.follow(f"p-{number}"):
            outcomes[number] = change.data["id"]

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {number: f"p-{number}" for number in range(8)}
