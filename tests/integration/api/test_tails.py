"""One reader for all who follow a log: what it costs, and that nobody misses a byte, however slow."""

import asyncio
import os
import threading
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from odin.api import tail as module
from odin.api.pulse import Pulse
from odin.api.tail import Tail
from odin.api.tails import Tails
from odin.engine.feed import Feed
from odin.executors.logs import LocalLogs, log_path
from odin.model.errors import Unavailable
from odin.model.ids import AttemptId
from odin.store.queries import Progress

TASK = "test-abcd1234--a"
ATTEMPT = AttemptId(TASK)
FOUND = Progress(TASK, 0, "queued", ())
DEADLINE_S = 60


@pytest.fixture
def log(tmp_path):
    path = log_path(tmp_path, ATTEMPT)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def house(tmp_path):
    """Tails over the files below a folder; the store says how far the task is as a test sets it."""
    house = SimpleNamespace(reads=0, asked=0, status="executing", attempts=((1, "running"),), gone=False)
    logs = LocalLogs(tmp_path)

    class Logs:
        def of(self, _container):
            return self

        async def read(self, attempt, *, offset, limit):
            house.reads += 1
            return await logs.read(attempt, offset=offset, limit=limit)

    class Queries:
        def progress(self, pipeline, wanted):
            house.asked += 1
            return {} if house.gone else {0: Progress(TASK, 0, house.status, house.attempts)}

    house.feed = Feed()
    house.tails = Tails(Logs(), Queries(), house.feed)
    house.seq = 0

    def move(**facts):
        vars(house).update(facts)
        house.feed.attach(asyncio.get_running_loop())
        house.seq += 1
        house.feed.publish({"test-abcd1234": house.seq})

    house.move = move
    house.end = lambda: move(attempts=((1, "ended"),), status="executed")
    return house


async def follow(house, *, slow_s=0.0, **where):
    found = []
    async with asyncio.timeout(DEADLINE_S), aclosing(house.tails.follow(FOUND, **where).pieces()) as pieces:
        async for piece in pieces:
            found.append(piece)
            await asyncio.sleep(slow_s)
    return b"".join(found)


async def test_followers_get_what_is_written_until_the_end(house, log):
    following = [asyncio.create_task(follow(house, offset=offset)) for offset in (0, 5, 10, 12, 40)]
    with log.open("ab", buffering=0) as file:
        for number in range(20):
            file.write(b"line %d\n" % number)
            await asyncio.sleep(0.005)
    house.end()
    whole = log.read_bytes()
    assert await asyncio.gather(*following) == [whole[offset:] for offset in (0, 5, 10, 12, 40)]
    assert (house.tails._tails, house.tails._pulses, house.feed._watchers) == ({}, {}, {})


async def test_fifty_followers_cost_the_readings_of_one(house, log):
    following = [asyncio.create_task(follow(house)) for _ in range(50)]
    with log.open("ab", buffering=0) as file:
        for number in range(100):
            file.write(b"line %d\n" % number)
            await asyncio.sleep(0.01)
            house.move()
    house.end()
    assert set(await asyncio.gather(*following)) == {log.read_bytes()}
    assert house.reads < 50 + 200  # each reads what was there before, one reads the rest
    assert house.asked < 110


@pytest.mark.parametrize("window", [module.WINDOW, 1_000])
async def test_f72_a_slow_follower_reads_at_its_own_pace_and_loses_nothing(house, log, monkeypatch, window):
    monkeypatch.setattr(module, "WINDOW", window)
    monkeypatch.setattr(module, "PIECE", 256)
    following = [asyncio.create_task(follow(house, slow_s=slow_s)) for slow_s in (0, 0.001, 0.02)]
    with log.open("ab", buffering=0) as file:
        for _ in range(200):
            file.write(os.urandom(100))
            await asyncio.sleep(0.001)
    house.end()
    assert set(await asyncio.gather(*following)) == {log.read_bytes()}


async def test_f71_followers_of_a_large_log_leave_room_for_others(house, log):
    data = bytes(range(256)) * (32 << 12)
    log.write_bytes(data)
    house.attempts = ((1, "ended"),)
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    clock = asyncio.create_task(tick())
    pieces = []
    async with aclosing(house.tails.follow(FOUND).pieces()) as source:
        async for piece in source:
            pieces.append((len(piece), turns))
    clock.cancel()
    assert sum(size for size, _ in pieces) == len(data)
    assert max(size for size, _ in pieces) <= 64 << 10
    assert all(pieces[i + 64][1] > pieces[i][1] for i in range(len(pieces) - 64))


async def test_f71_a_follower_that_leaves_takes_the_reader_with_it(house, log):
    before = len(asyncio.all_tasks())
    source = house.tails.follow(FOUND).pieces()
    assert await anext(source) == b"0123456789"
    waiting = asyncio.create_task(anext(source))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await source.aclose()
    assert (house.tails._tails, house.tails._pulses) == ({}, {})
    async with asyncio.timeout(DEADLINE_S):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_f83_a_line_without_an_end_comes_in_pieces(house, log):
    data = os.urandom(3 << 20)
    log.write_bytes(data)
    house.attempts = ((1, "ended"),)
    assert await follow(house) == data


async def test_a_log_is_waited_for_when_its_attempt_has_not_written_yet(house, log):
    log.unlink()
    following = asyncio.create_task(follow(house, lines=3))
    await asyncio.sleep(0.05)
    log.write_bytes(b"at last\n")
    await asyncio.sleep(0.05)
    house.end()
    assert await following == b"at last\n"


@pytest.fixture
async def slow_store():
    """A pulse over a store in which a test holds one reading back; ``moves`` is what the store says of each task."""
    store = SimpleNamespace(moves=1, readings=0, held=threading.Event(), holds=lambda _: False)

    class Queries:
        def progress(self, pipeline, wanted):
            store.readings += 1
            found = {idx: store.moves for idx in wanted}
            if store.holds([*wanted]):
                store.holds = lambda _: False
                assert store.held.wait(DEADLINE_S)
            return found

    feed = Feed()
    feed.attach(asyncio.get_running_loop())
    store.publish = lambda: feed.publish({"test-abcd1234": store.moves})
    store.pulse = Pulse("test-abcd1234", Queries(), feed)
    yield store
    store.held.set()
    store.pulse.close()


async def test_a_move_that_is_told_while_somebody_still_reads_is_not_lost(slow_store):
    pulse = slow_store.pulse
    pulse.wanted[0] += 1
    slow_store.holds = lambda _: True
    first = asyncio.create_task(pulse.first(0))
    while slow_store.holds([0]):
        await asyncio.sleep(0.001)
    slow_store.moves = 2
    slow_store.publish()
    await asyncio.sleep(0.01)
    slow_store.held.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await first == 1
        assert await pulse.next(0) == 2


async def test_those_who_come_together_share_a_reading_and_those_who_come_later_need_none(slow_store):
    pulse = slow_store.pulse
    pulse.wanted.update([0, 1])
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*(pulse.first(idx) for idx in (0, 1, 0, 1))) == [1] * 4
        slow_store.holds = lambda _: True
        assert await pulse.first(1) == 1
    assert slow_store.readings == 1


async def test_who_comes_back_while_a_move_is_read_for_others_is_told_of_it(slow_store):
    pulse = slow_store.pulse
    pulse.wanted.update([0, 1])
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(pulse.first(0), pulse.first(1)) == [1, 1]
        del pulse.wanted[0]
        slow_store.holds = lambda wanted: wanted == [1]
        slow_store.publish()
        while slow_store.holds([1]):
            await asyncio.sleep(0.001)
        slow_store.moves = 2
        pulse.wanted[0] += 1
        assert await pulse.first(0) == 1
        following = asyncio.create_task(pulse.next(0))
        await asyncio.sleep(0)
        slow_store.held.set()
        assert await following == 2


async def test_a_task_that_a_reading_was_not_for_is_not_taken_for_gone(slow_store):
    pulse = slow_store.pulse
    pulse.wanted[1] += 1
    slow_store.holds = lambda wanted: wanted == [1]
    slow_store.publish()
    while slow_store.holds([1]):
        await asyncio.sleep(0.001)
    pulse.wanted[7] += 1
    first = asyncio.create_task(pulse.first(7))
    await asyncio.sleep(0.01)
    slow_store.held.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await first == 1
        following = asyncio.create_task(pulse.next(7))
        slow_store.moves = 2
        slow_store.publish()
        assert await following == 2


async def test_an_attempt_that_ended_without_a_log_has_an_empty_one(house, log):
    log.unlink()
    house.attempts = ((1, "ended"),)
    assert await follow(house) == b""


async def test_the_follower_knows_attempt_and_first_byte(house, log):
    house.attempts = ((1, "ended"),)
    log.write_bytes(b"one\ntwo\nthree\n")
    follower = house.tails.follow(FOUND, lines=2)
    assert b"".join([piece async for piece in follower.pieces()]) == b"two\nthree\n"
    assert (follower.attempt, follower.start) == (1, 4)


async def test_a_follower_ends_when_the_pipeline_is_cleaned_up(house, log):
    following = asyncio.create_task(follow(house))
    await asyncio.sleep(0.05)
    log.unlink()
    house.move(gone=True)
    assert await following == b"0123456789"


async def test_a_log_that_cannot_be_read_for_a_while_is_read_later(house, log, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    read = house.tails._logs.read
    failures = iter(range(5))

    async def failing(*args, **options):
        if next(failures, None) is not None:
            raise Unavailable("the node does not answer")
        return await read(*args, **options)

    house.tails._logs.read = failing
    house.attempts = ((1, "ended"),)
    assert await follow(house) == b"0123456789"


async def test_a_burst_that_outruns_the_reader_is_read_from_the_file(tmp_path, log, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 1_000)
    tail = Tail(LocalLogs(tmp_path), ATTEMPT)
    over = asyncio.Event()
    tail.begin(over.wait)
    source = tail.follow(0)
    found = [await anext(source)]
    data = os.urandom(1 << 20)
    with log.open("ab") as file:
        file.write(data)
    over.set()
    found += [piece async for piece in source]
    assert b"".join(found) == b"0123456789" + data
    tail.close()
