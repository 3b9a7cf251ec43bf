"""The servers that older programs talk to, one set for each executor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replay.world import EXECUTORS, Worlds


@pytest.fixture(scope="session", params=EXECUTORS)
def worlds(request: pytest.FixtureRequest) -> Iterator[Worlds]:
    worlds = Worlds(request.param)
    try:
        yield worlds
    finally:
        worlds.close()
