from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, Shell


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


@pytest.fixture
def shell(tmp_path: Path, server: Scripted) -> Shell:
    return Shell(tmp_path, {"ODIN_URL": server.url})
