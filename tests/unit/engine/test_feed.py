"""Hints from the engine's thread to those who watch a pipeline."""

import asyncio
import threading

from odin.engine.feed import GONE, Feed


def watching(body):
    async def run():
        feed = Feed()
        feed.attach(asyncio.get_running_loop())
        await asyncio.wait_for(body(feed), 30)

    asyncio.run(run())


def from_a_thread(feed, seqs):
    thread = threading.Thread(target=feed.publish, args=(seqs,))
    thread.start()
    thread.join()


def test_a_watcher_is_told_the_newest_position():
    async def body(feed):
        with feed.watch("a") as watcher:
            from_a_thread(feed, {"a": 3, "b": 9})
            assert await watcher.changed() == 3

    watching(body)


def test_many_hints_between_two_looks_are_one():
    async def body(feed):
        with feed.watch("a") as watcher:
            for seq in range(1, 100):
                from_a_thread(feed, {"a": seq})
            assert await watcher.changed() == 99
            waiting = asyncio.ensure_future(watcher.changed())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            from_a_thread(feed, {"a": 100})
            assert await waiting == 100

    watching(body)


def test_an_older_position_is_no_news():
    async def body(feed):
        with feed.watch("a") as watcher:
            from_a_thread(feed, {"a": 5})
            assert await watcher.changed() == 5
            from_a_thread(feed, {"a": 4})
            waiting = asyncio.ensure_future(watcher.changed())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            waiting.cancel()

    watching(body)


def test_every_watcher_is_told_and_those_who_left_are_forgotten():
    async def body(feed):
        with feed.watch("a") as one:
            with feed.watch("a") as two:
                from_a_thread(feed, {"a": 1})
                assert await one.changed() == await two.changed() == 1
            from_a_thread(feed, {"a": 2})
            assert await one.changed() == 2
        assert feed._watchers == {}

    watching(body)


def test_who_looks_out_is_told_of_every_pipeline_new_ones_and_removed_ones_too():
    async def body(feed):
        with feed.look_out() as lookout:
            from_a_thread(feed, {"a": 1, "b": 7})
            from_a_thread(feed, {"a": 2})
            feed.removed("c")
            assert await lookout.changed() == {"a": 2, "b": 7, "c": GONE}
            waiting = asyncio.ensure_future(lookout.changed())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            from_a_thread(feed, {"b": 8})
            assert await waiting == {"b": 8}
        assert feed._lookouts == set()

    watching(body)


def test_who_watches_a_pipeline_is_told_of_its_removal():
    async def body(feed):
        with feed.watch("a") as watcher:
            from_a_thread(feed, {"a": 3})
            assert await watcher.changed() == 3
            feed.removed("a")
            assert await watcher.changed() == GONE

    watching(body)


def test_what_could_not_be_read_is_told_again():
    async def body(feed):
        with feed.watch("a") as watcher:
            from_a_thread(feed, {"a": 3})
            assert await watcher.changed() == 3
            watcher.again()
            assert await watcher.changed() == 3

    watching(body)


def test_hints_that_nobody_waits_for_cost_nothing():
    feed = Feed()
    feed.publish({"a": 1})
    assert feed._news == {}


def test_hints_after_the_loop_has_ended_are_dropped():
    feed = Feed()

    async def body():
        feed.attach(asyncio.get_running_loop())

    with feed.watch("a"):
        asyncio.run(body())
        feed.publish({"a": 1})
        assert feed._news == {}
