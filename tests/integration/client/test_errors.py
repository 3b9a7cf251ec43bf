"""What a call raises, and which requests are sent again. Source: api.md, "Errors"; reliability.md, F-70."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.cli.scripted import Scripted, body, dropped, pipeline, problem
from odin import Client, ClientError, Conflict, NotAllowed, NotFound, Refused, ServerFailed, Unreachable

ID = "hello-ab12cd34"
SHOW = f"GET /v1/pipelines/{ID}"
PLACES = [
    {"path": "tasks.0.command", "message": "is missing", "file": "hello/main.yml", "line": 2, "column": 5},
    {"path": "tasks.1", "message": "two tasks are called a", "file": None, "line": None, "column": None},
]


def test_an_error_carries_the_problem(server: Scripted, client: Client) -> None:
    server.on("POST /v1/jobs/hello/files", problem(422, "2 things are wrong with main.yml", errors=PLACES))
    with pytest.raises(Refused) as raised:
        client.push("hello", {"main.yml": "tasks:\n- name: a\n"})
    error = raised.value
    assert (error.status, error.title, error.detail) == (422, "No", "2 things are wrong with main.yml")
    first = error.problems[0]
    found = (first.path, first.message, first.file, first.line, first.column)
    assert found == ("tasks.0.command", "is missing", "hello/main.yml", 2, 5)
    assert str(error) == (
        "2 things are wrong with main.yml\n  hello/main.yml:2:5: is missing\n  tasks.1: two tasks are called a"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Refused) for status in (400, 413, 415, 421, 422, 431)),
        *((status, NotAllowed) for status in (401, 403)),
        (404, NotFound),
        (409, Conflict),
        *((status, ServerFailed) for status in (429, 500, 507)),
    ],
)
def test_each_status_has_its_error(server: Scripted, client: Client, status: int, kind: type[ClientError]) -> None:
    server.on(SHOW, problem(status, "no"))
    with pytest.raises(kind) as raised:
        client.pipeline(ID)
    assert type(raised.value) is kind


def test_a_server_that_is_not_odins_is_told_apart(server: Scripted, client: Client) -> None:
    server.on(SHOW, body(b"<html>", 404, "text/html"))
    with pytest.raises(Unreachable, match="does not answer like an Odin server"):
        client.pipeline(ID)


def test_what_may_help_is_said_in_the_words_of_a_program(server: Scripted, client: Client) -> None:
    server.on(SHOW, problem(401, "sign in"))
    server.on("GET /v1/nodes", body(b"", 302, Location="https://odin.example.com"))
    calls: dict[str, Callable[[], object]] = {
        "run odin-auth, set ODIN_TOKEN, or give password or ask": lambda: Client(server.url).pipeline(ID),
        "name the server with url or ODIN_URL": client.nodes,
        "start it with odin-serve, or name another one with url": lambda: Client("http://127.0.0.1:1").jobs(),
        "its url begins with http://": lambda: Client(server.url.replace("http:", "https:")).jobs(),
        "give username": lambda: Client("http://ana@localhost"),
    }
    for told, call in calls.items():
        with pytest.raises(ClientError) as raised:
            call()
        assert told in str(raised.value)
        assert told not in raised.value.detail
        assert "--" not in str(raised.value)


REPEATED: dict[str, Callable[[Client], object]] = {
    SHOW: lambda c: c.pipeline(ID),
    "POST /v1/pipelines": lambda c: c.run("hello"),
    "POST /v1/jobs/hello/files": lambda c: c.push("hello", {"a": "b"}),
}
ANSWER = body({"pipeline": pipeline(), "location": "hello@1", "files": []})


@pytest.mark.parametrize("what", REPEATED)
@pytest.mark.parametrize("failing", [dropped, body(b"", 502, "text/html"), problem(503, "busy", Retry_After="0")])
def test_a_safe_request_is_sent_again(server: Scripted, client: Client, what: str, failing: object) -> None:
    server.on(what, failing, failing, ANSWER)
    REPEATED[what](client)
    asked = server.asked(what)
    assert len(asked) == 3
    assert len({one.headers.get("idempotency-key") for one in asked}) == 1


@pytest.mark.parametrize("failing", [dropped, body(b"", 502, "text/html"), problem(503, "busy", Retry_After="0")])
def test_other_requests_are_sent_once(server: Scripted, client: Client, failing: object) -> None:
    for what in (f"DELETE /v1/pipelines/{ID}", "PUT /v1/users/ana"):
        server.on(what, failing, ANSWER)
    with pytest.raises(ClientError):
        client.cleanup(ID)
    with pytest.raises(ClientError):
        client.update_user("ana", firstname="A")
    assert len(server.requests) == 2


def test_tries_have_an_end(server: Scripted, client: Client) -> None:
    server.on(SHOW, dropped)
    with pytest.raises(Unreachable, match="no proper answer"):
        client.pipeline(ID)
    assert len(server.requests) == 3


def test_a_server_that_wants_a_long_rest_is_not_waited_for(server: Scripted, client: Client) -> None:
    server.on(SHOW, problem(503, "the disk is being checked; try again", Retry_After="600"))
    with pytest.raises(ServerFailed, match=r"^the disk is being checked; try again in 600 s$") as raised:
        client.pipeline(ID)
    assert raised.value.retry_after_s == 600
    assert len(server.requests) == 1


def test_the_wait_that_the_server_asks_for_is_told(server: Scripted, client: Client, said: list[str]) -> None:
    away = problem(503, "the database cannot be reached; try again", Retry_After="1")
    server.on(SHOW, away, body({"pipeline": pipeline()}))
    assert client.pipeline(ID).outcome == "succeeded"
    assert said == ["the database cannot be reached; trying again in 1 s"]


def test_whether_it_is_ready_is_answered_at_once(server: Scripted, client: Client) -> None:
    server.on("GET /readyz", problem(503, "pipelines are not driven", Retry_After="5"), body({"ready": True}))
    assert (client.ready(), client.ready()) == (False, True)


def test_a_server_that_was_there_is_waited_for(server: Scripted, client: Client) -> None:
    """A restart: nothing listens for a moment."""
    server.on(SHOW, body({"pipeline": pipeline()}))
    client.pipeline(ID)
    server.on(SHOW, dropped, dropped, dropped, dropped, body({"pipeline": pipeline()}))
    assert client.pipeline(ID).outcome == "succeeded"
