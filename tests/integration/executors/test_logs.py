"""Reading what attempts wrote."""

from __future__ import annotations

import os

import pytest

from odin.executors.logs import LocalLogs, log_path
from odin.model.errors import NotFound
from odin.model.ids import AttemptId

ATTEMPT = AttemptId("test-abcd1234--a")


@pytest.fixture
def log(tmp_path):
    path = log_path(tmp_path, ATTEMPT)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize(
    ("offset", "limit", "data"),
    [
        (0, 100, b"0123456789"),
        (3, 4, b"3456"),
        (-3, 100, b"789"),
        (-30, 2, b"01"),
        (10, 5, b""),
        (99, 5, b""),
        (0, 0, b""),
    ],
)
async def test_a_part_of_a_log_and_its_size(tmp_path, log, offset, limit, data):
    assert await LocalLogs(tmp_path).read(ATTEMPT, offset=offset, limit=limit) == (data, 10)


async def test_an_attempt_without_a_log_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="test-abcd1234--a has no log"):
        await LocalLogs(tmp_path).read(ATTEMPT, offset=0, limit=1)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_what_is_not_a_file_is_not_read(tmp_path, log, kind):
    log.unlink()
    {"link": lambda: log.symlink_to("/etc/passwd"), "pipe": lambda: os.mkfifo(log), "folder": log.mkdir}[kind]()
    with pytest.raises(NotFound):
        await LocalLogs(tmp_path).read(ATTEMPT, offset=0, limit=1)
