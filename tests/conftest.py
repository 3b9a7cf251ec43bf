"""What tests of several folders are given."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from postgres import Postgres, cluster

# Where the tests were begun in the background both are ignored, which whatever is started here would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# Of servers in this process: a machine that is busy with other tests stands still now and then, and nobody is to blame.
logging.getLogger("odin.watchdog").disabled = True


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
