"""The command ``odin-midgard``: its options, and what it says of those that make no sense."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from integration.midgard.agents import Agent


def test_once_prints_a_report_and_sends_nothing(agent: Agent) -> None:
    done = agent.run("--once")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["node"], len(told["gpus"])) == (0, "", "n1", 2)


def test_the_node_is_named_by_flag_then_variable_then_machine(agent: Agent) -> None:
    assert json.loads(agent.run("--once", "--node", "other").stdout)["node"] == "other"
    agent.env["NODE_NAME"] = ""
    assert json.loads(agent.run("--once").stdout)["node"] == socket.gethostname()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "there is no token to report with; name its file with --token-file or ODIN_MIDGARD_TOKEN_FILE"),
        (["--interval", "0"], "--interval is from"),
        (["--interval", "inf"], "--interval is from"),
        (["--interval", "soon"], "argument --interval: invalid float value: 'soon'"),
        (["--once", "--node", "a/b"], '"a/b" is no name of a node'),
        (["--listen", "here"], '"here" is no place to listen'),
        (["--listen", "0.0.0.0:99999"], '"0.0.0.0:99999" is no place to listen'),
        (["--lisen", "1"], "did you mean --listen?"),
        (["--url", "ftp://x", "--token-file", "/dev/null"], "ftp"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(agent: Agent, words: list[str], told: str) -> None:
    done = agent.run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert told in done.stderr


def test_a_token_file_that_is_not_there_is_named(agent: Agent) -> None:
    done = agent.run("--token-file", "/nowhere/token")
    assert (done.returncode, done.stderr) == (9, "odin-midgard: /nowhere/token: no such file or directory\n")


def test_a_port_that_is_taken_is_named(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = agent.run("--listen", str(taken.getsockname()[1]))
    assert done.returncode == 9
    assert "in use" in done.stderr


def test_help_has_examples(agent: Agent) -> None:
    done = agent.run("--help")
    assert "examples:\n  odin-midgard --once" in done.stdout
    assert "ODIN_MIDGARD_TOKEN_FILE" in done.stdout


def test_it_loads_nothing_of_the_server_and_nothing_heavy() -> None:
    code = "import sys; from odin.midgard import program; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    heavy = "pynvml ssl asyncio threading http.client urllib.request subprocess pathlib dataclasses logging typing"
    assert loaded & set(heavy.split()) == set()
    packages = {name.split(".")[1] for name in loaded if name.startswith("odin.")}
    assert packages == {"cli", "client", "machine", "midgard", "nvml"}


def test_it_is_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "odin.midgard", "--once"], capture_output=True, text=True)
    assert json.loads(done.stdout)["agent"]
