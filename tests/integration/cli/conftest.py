from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, Shell, scripted


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def shell(tmp_path: Path, server: Scripted) -> Shell:
    return Shell(tmp_path, {"ODIN_URL": server.url})
