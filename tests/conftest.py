"""What tests of several folders are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postgres import Postgres, cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of a worker that leave it running."""
    server = cluster()
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of a test's own, which may stop it."""
    server = cluster()
    yield server
    server.close()
