"""Servers that tests kill. ``ODIN_CHAOS`` is how often each random test runs; the gate's number is small."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from chaos.oracle import Oracle
from e2e.serving import Serving


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``seed`` counts from ``ODIN_CHAOS_SEED`` (1); a failing test's name holds the seed that replays it."""
    if "seed" in metafunc.fixturenames:
        first = int(os.environ.get("ODIN_CHAOS_SEED", "1"))
        metafunc.parametrize("seed", range(first, first + int(os.environ.get("ODIN_CHAOS", "5"))))


@pytest.fixture
def odin() -> Iterator[Serving]:
    """Folders of a test's own, the server not started yet. Afterwards the stores must be sound and nothing be left."""
    serving = Serving()
    try:
        yield serving
        if serving.alive:
            serving.terminate()
        Oracle(serving).stores_are_sound()
    finally:
        serving.close()


@pytest.fixture
def oracle(odin: Serving) -> Oracle:
    return Oracle(odin)
