"""A real agent and a real server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.serving import Serving, until
from integration.midgard.agents import Agent

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """On the machine where the server is."""
    found = Agent(tmp_path / "agent", env={"NODE_NAME": socket.gethostname()})
    found.token.write_text(TOKEN + "\n")
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def odin(fresh: Serving) -> Serving:
    file = fresh.folder / "midgard-token"
    file.write_text(TOKEN)
    fresh.settings["MIDGARD_TOKEN_FILE"] = str(file)
    return fresh.start()


def reported(odin: Serving) -> dict | None:
    """The first node, if an agent has told of it."""
    [node] = odin.api().get("/v1/nodes")["nodes"]
    return node if "report" in node else None


def test_what_the_agent_reports_is_what_the_commands_show(odin: Serving, agent: Agent) -> None:
    agent.reporting(odin.url, interval=1)
    node = until(lambda: reported(odin), told=agent.said)
    assert node["report"]["fresh"]
    assert [gpu["productName"] for gpu in node["gpus"]] == ["GeForce RTX 2080", "N/A"]
    table = odin.command("odin-gpus").out
    assert "GeForce RTX 2080" in table
    assert "python-12 (12)" in table
    assert odin.command("odin-gpus", "--json").json["nodes"][0]["gpus"] == node["gpus"]
    assert " POST /v1/nodes/" not in odin.said()


def test_f95_the_age_of_a_silent_agents_last_report_is_shown(odin: Serving, agent: Agent) -> None:
    agent.reporting(odin.url, interval=1)
    until(lambda: reported(odin), told=agent.said)
    agent.close()
    node = until(lambda: (found := reported(odin)) and found["report"]["ageS"] > 2 and found)
    assert len(node["gpus"]) == 2


def test_a104_an_agent_with_another_token_is_refused_and_says_so(odin: Serving, agent: Agent) -> None:
    agent.token.write_text(TOKEN[:-1] + "e")
    agent.reporting(odin.url)
    until(lambda: "refuses the token" in agent.said())
    assert reported(odin) is None
    assert TOKEN not in odin.said()


def test_a_report_that_is_too_large_is_refused(odin: Serving) -> None:
    report = json.dumps({"agent": "x" * 70_000}).encode()
    fields = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    assert odin.api().ask("POST", "/v1/nodes/n1/report", report, **fields).status == 413


def test_an_agent_outlives_a_restart_of_the_server(odin: Serving, agent: Agent) -> None:
    agent.times["reporter.LONGEST_PAUSE_S"] = 0.5
    agent.reporting(odin.url, interval=0.2)
    until(lambda: reported(odin), told=agent.said)
    odin.terminate()
    until(lambda: "no server answers" in agent.said())
    odin.start()
    until(lambda: reported(odin), told=agent.said)


def test_a_token_that_is_too_short_is_refused_at_the_start(fresh: Serving) -> None:
    fresh.settings["MIDGARD_TOKEN"] = "short"
    process = fresh.popen()
    assert process.wait(60) == 8
    assert "ODIN_MIDGARD_TOKEN is shorter than 32 bytes" in fresh.said()
