"""A machine that is shut down: systemd tells the runner to end, and the runner asks systemd why."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.executors.conftest import Machine
from odin.executors.protocol import Reason


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine whose ``systemctl`` says what the test wants: there is no systemd in a container."""
    root = Path(tempfile.mkdtemp(prefix="odin", dir="/tmp"))
    program = root / "tools" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n[ $1 = is-system-running ] && echo {request.param}\n")
    program.chmod(0o755)
    made = Machine(root=root, environ={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    try:
        yield made.open()
    finally:
        made.dispose()


@pytest.mark.parametrize("told", ["stopping"], indirect=True)
def test_what_runs_is_asked_to_stop_and_is_lost(told: Machine) -> None:
    told.shell("a", "trap 'echo bye; exit 7' TERM; echo ready > ready; while :; do sleep 0.05; done")
    told.wait_for_file("ready")
    os.kill(told.pid, signal.SIGTERM)
    end = told.end("a")
    assert (end.reason, end.code, end.message) == (Reason.LOST, 7, "the machine was shut down")
    assert told.log("a").endswith(b"bye\n")


@pytest.mark.parametrize("told", ["running"], indirect=True)
def test_what_runs_goes_on_when_the_runner_alone_is_told_to_end(told: Machine) -> None:
    told.shell("a", "echo ready > ready; until [ -e gate ]; do sleep 0.05; done; exit 3")
    told.wait_for_file("ready")
    os.kill(told.pid, signal.SIGTERM)
    told.shell("b", "exit 0")
    (told.here / "gate").touch()
    assert (told.end("a").reason, told.end("a").code) == (Reason.EXIT, 3)
