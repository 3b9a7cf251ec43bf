from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, scripted
from integration.midgard.agents import Agent


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    found = Agent(tmp_path / "agent")
    try:
        yield found
    finally:
        found.close()
