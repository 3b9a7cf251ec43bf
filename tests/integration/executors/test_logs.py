"""Reading and following what attempts write."""

from __future__ import annotations

import asyncio
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


async def test_a_follower_gets_what_is_written_until_the_end(tmp_path, log):
    over = False
    got = []

    async def follow():
        got.extend([piece async for piece in LocalLogs(tmp_path).follow(ATTEMPT, offset=5, ended=lambda: over)])

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(follow())
        with log.open("ab", buffering=0) as file:
            for number in range(20):
                file.write(b"line %d\n" % number)
                await asyncio.sleep(0.005)
        over = True
    assert b"".join(got) == b"56789" + b"".join(b"line %d\n" % number for number in range(20))


@pytest.mark.parametrize(("offset", "start"), [(0, 0), (-5, 5), (-50, 0), (7, 7)])
async def test_a_follower_starts_where_it_wants(tmp_path, log, offset, start):
    pieces = [piece async for piece in LocalLogs(tmp_path).follow(ATTEMPT, offset=offset, ended=lambda: True)]
    assert b"".join(pieces) == b"0123456789"[start:]


async def test_f71_a_follower_of_a_large_log_leaves_room_for_others(tmp_path, log):
    log.write_bytes(bytes(64 << 20))
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    clock = asyncio.create_task(tick())
    pieces = []
    async for piece in LocalLogs(tmp_path).follow(ATTEMPT, offset=0, ended=lambda: True):
        pieces.append((len(piece), ticks))
    clock.cancel()
    assert sum(size for size, _ in pieces) == 64 << 20
    assert max(size for size, _ in pieces) <= 64 << 10
    assert all(pieces[i + 64][1] > pieces[i][1] for i in range(len(pieces) - 64))


async def test_f71_a_follower_that_is_left_behind_ends(tmp_path, log):
    follower = LocalLogs(tmp_path).follow(ATTEMPT, offset=0, ended=lambda: False)
    assert await anext(follower) == b"0123456789"
    waiting = asyncio.create_task(anext(follower))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await follower.aclose()


async def test_f83_a_line_without_an_end_comes_in_pieces(tmp_path, log):
    data = os.urandom(3 << 20)
    log.write_bytes(data)
    pieces = [piece async for piece in LocalLogs(tmp_path).follow(ATTEMPT, offset=0, ended=lambda: True)]
    assert b"".join(pieces) == data
    assert len(pieces) == 48
