"""One reader for all who watch a pipeline: what it costs, and that whoever comes, lags or comes back misses nothing."""

import asyncio
import json
import random
from contextlib import aclosing
from itertools import pairwise

import pytest

from integration.api.streaming import DEADLINE_S, finish, launch, until
from odin.api import channels, frames
from odin.api.channels import Channels
from odin.api.frames import Frame, Ring
from odin.api.portraits import Portraits
from odin.model.errors import NotFound, Unavailable

TASKS = tuple(f"t{n}" for n in range(40))


class Counting:
    """The queries of a house, with how often each was asked. ``away`` makes them fail."""

    def __init__(self, queries):
        self.asked = []
        self.away = False
        self._queries = queries

    def __getattr__(self, name):
        def ask(*args, **options):
            self.asked.append(name)
            if self.away:
                raise Unavailable("the database is locked")
            return getattr(self._queries, name)(*args, **options)

        return ask


class CountingPortraits(Portraits):
    asked = 0

    async def get(self, pipeline):
        self.asked += 1
        return await super().get(pipeline)


@pytest.fixture
def counting(server):
    """A hub of its own beside the server's, whose readings are counted."""
    counting = Counting(server.house.queries)
    counting.portraits = CountingPortraits(counting)
    counting.hub = Channels(counting, server.house.services.feed, counting.portraits)
    return counting


def run(server, work):
    """Run a coroutine in the server's loop."""
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(DEADLINE_S)


async def read(hub, pipeline, position=None, *, count=None, slow_s=0.0):
    """The frames up to the end, or the first so many."""
    found = []
    async with aclosing(hub.follow(pipeline, position)) as news:
        async for each in news:
            found += each.frames
            await asyncio.sleep(slow_s)
            if count is not None and len(found) >= count:
                break
    return found


def states(found):
    """What somebody believes of each task who saw these frames."""
    believed = {}
    for frame in found:
        data = json.loads(frame.data)
        for one in data["tasks"] if frame.event in ("pipeline", "end") else [data]:
            believed[one["name"]] = one["status"]
    return believed


def chain(server, count=None):
    server.house.push("chain", *TASKS[:count])
    return launch(server, "chain")


def finish_all(server, pipeline, names):
    for name in names:
        finish(server, f"{pipeline}--{name}")


def test_five_hundred_who_watch_one_pipeline_cost_the_readings_of_one(server, counting):
    pipeline = chain(server, 10)

    async def crowd():
        watching = [asyncio.create_task(read(counting.hub, pipeline)) for _ in range(500)]
        await asyncio.to_thread(finish_all, server, pipeline, TASKS[:10])
        return await asyncio.gather(*watching)

    everybody = run(server, crowd())
    assert all(states(found) == dict.fromkeys(TASKS[:10], "executed") for found in everybody)
    assert all(found[-1].event == "end" for found in everybody)
    history = len(server.house.queries.events(pipeline))
    assert counting.portraits.asked <= 5
    assert counting.asked.count("snapshot") <= history + 2 + counting.portraits.asked
    shared = {id(frame) for found in everybody for frame in found}
    assert len(shared) <= 3 * history  # not 500 times


def test_the_reader_ends_when_nobody_watches(server, counting):
    pipeline = chain(server, 1)
    assert run(server, read(counting.hub, pipeline, count=1))
    assert counting.hub._channels == {}
    assert server.house.services.feed._watchers == {}
    until(lambda: run(server, tasks_named("_read_on")) == 0)


async def tasks_named(name):
    return sum(name in repr(task.get_coro()) for task in asyncio.all_tasks())


@pytest.mark.parametrize("room", [frames.PIECE * 4, 4_000, 1])
def test_f72_a_status_stream_that_lags_gets_the_newest_snapshot_and_the_end(server, counting, monkeypatch, room):
    monkeypatch.setattr(channels, "RING_BYTES", room)
    monkeypatch.setattr(channels, "RING_BYTES_LEAST", 1)
    pipeline = chain(server)

    async def crowd():
        watching = [asyncio.create_task(read(counting.hub, pipeline, slow_s=slow_s)) for slow_s in (0, 0.05, 0.5)]
        await asyncio.to_thread(finish_all, server, pipeline, TASKS)
        return await asyncio.gather(*watching)

    for found in run(server, crowd()):
        positions = [frame.position for frame in found if frame.event != "end"]
        assert positions == sorted(set(positions))
        assert states(found) == dict.fromkeys(TASKS, "executed")
        assert [frame.event for frame in found].count("end") == 1


def test_whoever_comes_back_gets_exactly_what_came_after_their_position(server, counting):
    pipeline = chain(server, 12)

    async def come_back():
        first = asyncio.create_task(read(counting.hub, pipeline))
        await asyncio.to_thread(finish_all, server, pipeline, TASKS[:8])
        seen = await read(counting.hub, pipeline, 1, count=8)
        later = [await read(counting.hub, pipeline, frame.position, count=1) for frame in seen[:-1]]
        await asyncio.to_thread(finish_all, server, pipeline, TASKS[8:12])
        return seen, later, await first

    seen, later, whole = run(server, come_back())
    assert [one[0].position for one in later] == [frame.position for frame in seen[1:]]
    # The first began with a snapshot, so the ring had to reach back for the one who had been there before.
    assert whole[0].event == "pipeline"
    assert counting.portraits.asked == 1


def test_from_every_position_of_a_finished_pipeline_the_rest_follows(server, counting):
    pipeline = chain(server, 6)
    finish_all(server, pipeline, TASKS[:6])
    history = until(lambda: server.house.queries.pipeline(pipeline).outcome and server.house.queries.events(pipeline))
    last = {row.idx: row.seq for row in history}

    async def follow_from_each():
        return [await read(counting.hub, pipeline, row.seq) for row in reversed(history)]

    for row, found in zip(reversed(history), run(server, follow_from_each()), strict=True):
        assert sorted(last[idx] for idx in last if last[idx] > row.seq) == [one.position for one in found[:-1]]
        assert found[-1].event == "end"


@pytest.mark.parametrize("seed", range(6))
def test_whatever_readers_do_each_has_what_the_event_table_has_once(server, counting, monkeypatch, seed):
    """Within a connection and over all that follow, positions rise; each is that of a row of the task it shows."""
    chance = random.Random(seed)
    for name, value in (("REACH", 5), ("FAR", chance.choice((10, 1000))), ("SNAPSHOT_GAP_S", 0.01)):
        monkeypatch.setattr(channels, name, value)
    for name in ("RING_BYTES", "RING_BYTES_LEAST"):
        monkeypatch.setattr(channels, name, chance.choice((1, 4096, 256 << 10)))
    pipeline = chain(server, 20)

    async def watch(chance):
        found, position = [], None
        while not found or found[-1].event != "end":
            count = chance.choice((1, 3, 10, None))
            part = await read(counting.hub, pipeline, position, count=count, slow_s=chance.choice((0, 0.001, 0.02)))
            told = [position or 0, *(frame.position for frame in part if frame.event != "end")]
            assert all(before < after for before, after in pairwise(told)), told
            found += part
            position = found[-1].position if chance.random() < 0.9 or found[-1].event == "end" else position
            await asyncio.sleep(chance.choice((0, 0.01, 0.1)))
        return found

    watching = [asyncio.run_coroutine_threadsafe(watch(random.Random(chance.random())), server.loop) for _ in range(20)]
    for task in TASKS[:20]:
        finish(server, f"{pipeline}--{task}")
    histories = [each.result(DEADLINE_S) for each in watching]
    rows = server.house.queries.events(pipeline)
    of_task = {(row.seq, row.idx) for row in rows}
    for *told, end in histories:
        assert end.position == rows[-1].seq
        assert states(told) == dict.fromkeys(TASKS[:20], "executed"), "the end repeats it, and adds nothing"
        shown = [(frame.position, json.loads(frame.data)["name"]) for frame in told if frame.event == "task"]
        assert {(position, TASKS.index(name)) for position, name in shown} <= of_task


def test_a_reader_whose_store_is_away_goes_on_when_it_is_back(server, counting, monkeypatch, caplog):
    monkeypatch.setattr(channels, "RETRY_S", 0.01)
    pipeline = chain(server, 2)

    async def watch():
        watching = asyncio.create_task(read(counting.hub, pipeline))
        while counting.asked.count("snapshot") < 2:
            await asyncio.sleep(0.01)
        counting.away = True
        await asyncio.to_thread(finish_all, server, pipeline, TASKS[:1])
        before = len(counting.asked)
        while len(counting.asked) < before + 3:
            await asyncio.sleep(0.01)
        counting.away = False
        await asyncio.to_thread(finish_all, server, pipeline, TASKS[1:2])
        return await watching

    assert states(run(server, watch())) == dict.fromkeys(TASKS[:2], "executed")


def test_a_pipeline_that_was_never_there_is_not_found(server, counting):
    with pytest.raises(NotFound):
        run(server, counting.hub.position("chain-00000000"))


def test_what_the_feed_says_is_told_to_watchers_of_the_pipeline_and_of_all(server):
    feed = server.house.services.feed

    async def watch():
        with feed.watch("a") as watcher, feed.look_out() as lookout:
            feed.publish({"a": 3, "b": 1})
            feed.removed("c")
            return await watcher.changed(), set(await lookout.changed())

    assert run(server, watch()) == (3, {"a", "b", "c"})
    assert (feed._watchers, feed._lookouts) == ({}, set())


def test_a_ring_never_gives_what_left_it_and_keeps_what_was_added_last():
    ring = Ring(10, room=100)
    for position in range(11, 40):
        ring.add([Frame(position, "task", b"x" * 30)], position)
        assert ring.head == position
        assert [frame.position for frame in ring.after(ring.floor).frames] == list(range(ring.floor + 1, position + 1))
        assert position - ring.floor <= 3
    ring.add([Frame(50, "task", b"x" * 1000), Frame(51, "task", b"x" * 1000)], 51)
    assert (ring.floor, [frame.position for frame in ring.after(39).frames]) == (39, [50, 51])
    assert [frame.position for frame in ring.after(50).frames] == [51]
