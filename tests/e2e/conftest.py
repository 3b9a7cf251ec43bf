"""A server for all tests of a worker that leave it running, and one for each that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.serving import Serving


@pytest.fixture(scope="session")
def odin() -> Iterator[Serving]:
    """A running server that many tests share; none may stop it or leave a task behind. ``/data`` is mapped."""
    serving = Serving()
    claims = serving.folder / "claims"
    claims.mkdir()
    serving.settings["LOCAL_MOUNTS"] = f"/data={claims}"
    try:
        yield serving.start()
    finally:
        serving.close()


@pytest.fixture
def fresh() -> Iterator[Serving]:
    """Folders of a test's own; it starts and stops the server itself."""
    serving = Serving()
    try:
        yield serving
    finally:
        serving.close()
