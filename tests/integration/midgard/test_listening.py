"""GET /v1/gpus of the agent itself, for those who scrape nodes."""

from __future__ import annotations

import json
import socket

import pytest

from integration.midgard.agents import Agent, a_free_port, ask, until


@pytest.fixture
def port(agent: Agent) -> int:
    """Where the agent listens; it knows no token, so it does that alone."""
    found = a_free_port()
    agent.start("--listen", str(found))
    until(agent.listens)
    until(lambda: json.loads(ask(found)[2])["gpus"])
    return found


def test_the_gpus_are_served_to_who_asks(port: int) -> None:
    status, fields, content = ask(port)
    assert (status, fields["Content-Type"], fields["Cache-Control"]) == (200, "application/json", "no-store")
    told = json.loads(content)
    assert [gpu["id"] for gpu in told["gpus"]] == ["0000:0a:00.0", "0001:0a:00.0"]
    assert (told["trouble"], told["valuesAgeS"] < 5) == ("", True)
    assert ask(port, path="/v1/gpus?x=1")[0] == 200
    status, fields, content = ask(port, "HEAD")
    assert (status, content) == (200, b"")
    assert int(fields["Content-Length"]) > 100


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/gpus", 405),
        ("DELETE", "/v1/gpus", 405),
        ("GET", "/", 404),
        ("GET", "/v1/nodes", 404),
        ("GET", "/v1/gpus/", 404),
        ("GET", "/../etc/passwd", 404),
    ],
)
def test_nothing_else_is_served(port: int, method: str, path: str, status: int) -> None:
    assert ask(port, method, path)[0] == status


def test_a_page_of_another_site_gets_nothing(port: int) -> None:
    for site in ("cross-site", "same-site", "same-origin"):
        assert ask(port, Sec_Fetch_Site=site)[0] == 403
    assert ask(port, Sec_Fetch_Site="none")[0] == 200


def test_a104_it_listens_on_loopback_alone(agent: Agent, port: int) -> None:
    assert agent.listens() == {f"0100007F:{port:04X}"}


def test_in_a_pod_it_listens_on_the_pods_address(agent: Agent) -> None:
    agent.env["POD_IP"] = "127.0.0.7"
    port = a_free_port()
    agent.start("--listen", str(port))
    assert until(agent.listens) == {f"0700007F:{port:04X}"}


def test_an_address_that_is_named_is_used(agent: Agent) -> None:
    port = a_free_port()
    agent.start("--listen", f"[::1]:{port}")
    assert until(agent.listens) == {f"{'0' * 24}01000000:{port:04X}"}


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"GET  /v1/gpus HTTP/1.1\r\n\r\n", b"GET /v1/gpus HTTP/2\r\n\r\n", b"\0" * 9000, b"GET /" + b"x" * 9000],
)  # fmt: skip
def test_what_is_no_request_gets_400_and_the_listener_stays(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(sent)
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
    assert ask(port)[0] == 200


def test_those_who_say_nothing_keep_others_waiting_for_seconds_at_most(agent: Agent) -> None:
    agent.times["listener.PATIENCE_S"] = 0.3
    port = a_free_port()
    agent.start("--listen", str(port))
    until(agent.listens)
    slow = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(40)]
    try:
        slow[0].sendall(b"GET /v1")
        assert ask(port)[0] == 200
        assert {sock.recv(1) for sock in slow} == {b""}
    finally:
        for sock in slow:
            sock.close()
