from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted
from integration.midgard.agents import Agent


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that is told what to answer."""
    scripted = Scripted()
    thread = threading.Thread(target=lambda: scripted.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.shutdown()
        scripted.server_close()
        thread.join()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    found = Agent(tmp_path / "agent")
    try:
        yield found
    finally:
        found.close()
