from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, token
from odin import Client


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=lambda: scripted.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.shutdown()
        scripted.server_close()
        thread.join()


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
