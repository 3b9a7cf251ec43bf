"""The agent and a server that does what it is told: what is sent, and what happens when it cannot be."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, body, dropped, problem
from integration.midgard.agents import Agent, a_free_port, ask, is_gone, until

REPORT = "POST /v1/nodes/n1/report"
TAKEN = body({"node": {"host": "n1"}})


def reports(server: Scripted, count: int = 1, agent: Agent | None = None) -> list[dict]:
    until(lambda: len(server.asked(REPORT)) >= count, lambda: agent and agent.said())
    return [one.json for one in server.asked(REPORT)]


def newest(server: Scripted, wanted) -> dict:
    """The first report from now on that is as wanted."""
    seen = len(server.asked(REPORT))
    return until(lambda: next((one.json for one in server.asked(REPORT)[seen:] if wanted(one.json)), None))


def test_the_machine_and_its_gpus_are_reported_again_and_again(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.env["HOST_IP"] = "10.1.2.3"
    agent.reporting(server.url)
    first, *_ = reports(server, 3, agent)
    assert (first["internalIP"], first["cpu"], first["trouble"]) == ("10.1.2.3", os.cpu_count(), "")
    assert [gpu["productName"] for gpu in first["gpus"]] == ["GeForce RTX 2080", "N/A"]
    request = server.asked(REPORT)[0]
    assert request.headers["authorization"] == "Bearer the agents' token"
    assert request.headers["content-type"] == "application/json"
    assert agent.said() == "odin-midgard: the server takes the reports\n"


def test_a104_it_listens_nowhere_unless_told(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.reporting(server.url)
    reports(server, 2, agent)
    assert agent.listens() == set()


def test_a104_a_secret_in_a_process_title_is_not_told(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.env["TITLE"] = "/opt/bin/train --api-key=hunter2 token=s3cret"
    agent.reporting(server.url)
    [*found] = reports(server, 1, agent)
    names = {process["process_name"] for gpu in found[0]["gpus"] for process in gpu["processes"]}
    assert names == {"train"}
    assert b"hunter2" not in server.asked(REPORT)[0].body


def test_a104_the_token_is_in_no_argument_and_no_message(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, problem(401, "the token is not valid"))
    agent.reporting(server.url)
    until(agent.said)
    assert agent.said() == f"odin-midgard: {server.url} refuses the token; it must be the server's ODIN_MIDGARD_TOKEN\n"
    assert b"the agents' token" not in Path(f"/proc/{agent.pid}/cmdline").read_bytes()


def test_a_token_that_is_replaced_is_used_at_once(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, problem(401, "no"), TAKEN)
    agent.reporting(server.url)
    reports(server, 1, agent)
    agent.token.write_text("another")
    reports(server, 2, agent)
    assert server.asked(REPORT)[1].headers["authorization"] == "Bearer another"
    agent.token.unlink()
    until(lambda: "the token cannot be read" in agent.said())
    agent.token.write_text("a third")
    until(lambda: server.asked(REPORT)[-1].headers["authorization"] == "Bearer a third")


def test_a_server_that_comes_later_gets_the_newest_report_alone(server: Scripted, agent: Agent) -> None:
    port = a_free_port()
    agent.times["reporter.LONGEST_PAUSE_S"] = 0.5
    agent.reporting(f"http://127.0.0.1:{port}", interval=0.05)
    until(lambda: "no server answers" in agent.said())
    late = Late(port)
    try:
        report = until(late.report)
        assert report["valuesAgeS"] < 5
        until(lambda: "the server takes the reports" in agent.said(), agent.said)
        assert agent.said().count("no server answers") == 1
    finally:
        late.close()


class Late:
    """A server on a given port that takes one report after the other."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_server(("127.0.0.1", port))
        self.sock.settimeout(30)

    def report(self) -> dict:
        connection, _ = self.sock.accept()
        with connection:
            seen = b""
            while not seen.endswith(b"]}"):
                seen += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return json.loads(seen.partition(b"\r\n\r\n")[2])

    def close(self) -> None:
        self.sock.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (problem(503, "the server is stopping; try again"), "answers 503: the server is stopping; try again"),
        (problem(422, "bad\x1b[2Jthing"), "answers 422: bad [2Jthing"),
        (body(b"<html>", 502, "text/html"), "answers 502"),
        (body(b"x" * 100_000, 500), "answers 500"),
        (body(b"", 307, Location="http://127.0.0.1:1/"), "answers 307"),
        (dropped, "the connection was closed without an answer"),
    ],
    ids=["stopping", "escape", "html", "long", "redirect", "dropped"],
)
def test_whatever_the_server_answers_the_agent_stays_and_tries_again(
    server: Scripted, agent: Agent, answer, told: str
) -> None:
    server.on(REPORT, answer, answer, TAKEN)
    agent.reporting(server.url)
    reports(server, 3, agent)
    until(lambda: "takes the reports" in agent.said(), agent.said)
    first, second = agent.said().splitlines()
    assert told in first
    assert second == "odin-midgard: the server takes the reports"


def test_f95_a_driver_that_hangs_costs_old_figures_and_their_age_is_told(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.times |= {"cards.PATIENCE_S": 0.3, "cards.RETRY_S": 0.3}
    agent.reporting(server.url)
    assert len(reports(server, 1, agent)[0]["gpus"]) == 2
    agent.driver("hang")
    report = newest(server, lambda one: one["trouble"] and one["valuesAgeS"] > 0.5)
    assert report["trouble"] == "the GPU driver did not answer in time"
    assert len(report["gpus"]) == 2
    assert len(agent.children()) <= 3  # the sender, at most one reader, and one that is being buried
    agent.driver("well")
    assert newest(server, lambda one: not one["trouble"])["valuesAgeS"] < 0.5


def test_f95_a_driver_that_takes_its_process_down_does_not_take_the_agent(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.times["cards.RETRY_S"] = 0.3
    agent.driver("die")
    agent.reporting(server.url)
    assert newest(server, lambda one: True)["trouble"] == "reading the GPUs failed"
    agent.driver("well")
    assert len(newest(server, lambda one: not one["trouble"])["gpus"]) == 2


def test_a_node_without_a_driver_reports_itself_and_its_gpus_once_it_has_one(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.times["cards.RETRY_S"] = 0.2
    agent.driver("none")
    agent.reporting(server.url)
    report = reports(server, 1, agent)[0]
    assert (report["gpus"], report["trouble"]) == ([], "NVML cannot be used here: Driver Not Loaded")
    until(lambda: not any(is_gone(pid) for pid in agent.children()))
    agent.driver("well")
    assert len(newest(server, lambda one: one["gpus"])["gpus"]) == 2
    agent.driver("none")  # what is loaded stays loaded
    assert newest(server, lambda one: True)["gpus"]


# ---- its end ---------------------------------------------------------------------------------------------------------


def ended(agent: Agent, number: int) -> int:
    children = agent.children()
    os.kill(agent.pid, number)
    code = until(lambda: (agent.process.poll() is not None) and str(agent.process.returncode))
    until(lambda: all(is_gone(pid) for pid in children))
    return int(code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_children_end_with_it(server: Scripted, agent: Agent, number: int) -> None:
    server.on(REPORT, TAKEN)
    agent.reporting(server.url)
    reports(server, 1, agent)
    code = ended(agent, number)
    assert code == {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert "Traceback" not in agent.said()


def test_sigterm_ends_it_although_server_and_driver_hang(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agent.times["cards.PATIENCE_S"] = 1000.0
        agent.reporting(f"http://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:
            agent.driver("hang")
            until(lambda: len(agent.children()) == 2)
            assert ended(agent, signal.SIGTERM) == 0


# ---- what it costs -----------------------------------------------------------------------------------------------------


def test_it_is_small_and_does_not_grow(server: Scripted, agent: Agent) -> None:
    server.on(REPORT, TAKEN)
    agent.reporting(server.url, interval=0.01)
    reports(server, 100, agent)
    before = agent.memory_kb()
    reports(server, 400, agent)
    after = agent.memory_kb()
    assert after < 30_000
    assert after - before < 512, (before, after)


def test_a_server_that_is_away_does_not_make_it_grow(agent: Agent) -> None:
    agent.reporting(f"http://127.0.0.1:{a_free_port()}", "--listen", str(port := a_free_port()), interval=0.01)
    until(lambda: "no server answers" in agent.said())
    before = agent.memory_kb()
    for _ in range(200):
        assert ask(port)[0] == 200
    assert agent.memory_kb() - before < 512
