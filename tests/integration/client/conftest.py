from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, scripted, token
from odin import Client


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's user is read or written."""
    for name in ("URL", "PORT", "SCHEME", "TOKEN", "TOKEN_FILE", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"ODIN_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "ana")
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def client(server: Scripted, said: list[str]) -> Client:
    return Client(server.url, token=token("ana"), warn=said.append)
