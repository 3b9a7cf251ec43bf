"""Pipelines that are encoded once: never older than the question, never somebody's who may not see them, bounded."""

import asyncio
import contextlib
import json
import random
import threading

import pytest

from integration.api.streaming import DEADLINE_S, finish, launch, until
from odin.api import gathering, portraits, shapes
from odin.api.answers import ENCODER
from odin.api.gathering import Gathering
from odin.api.portraits import Portraits
from odin.model.errors import Unavailable
from odin.store import latest
from odin.store.queries import Filter

TASKS = tuple(f"t{n}" for n in range(8))


@pytest.fixture
def seen(server, monkeypatch):
    """The names of all tasks that were encoded."""
    found = []
    whole = shapes.task
    monkeypatch.setattr(shapes, "task", lambda view, **more: (found.append(view.name), whole(view, **more))[1])
    return found


def show(server, path, name="vera", token=None):
    headers = {"Authorization": f"Bearer {token or server.house.token(name)}"}
    status, _, body = server.request(path, **headers)
    return status, json.loads(body)


def run(server, work):
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(DEADLINE_S)


def test_who_asks_again_for_what_has_not_moved_gets_the_same_without_reading_it(server, seen):
    pipeline = launch(server)
    until(lambda: len(server.house.place.running) == 1)
    until(lambda: show(server, f"/v1/pipelines/{pipeline}")[1]["pipeline"]["tasks"][0]["status"] == "executing")
    before = len(seen)
    answers = [show(server, f"/v1/pipelines/{pipeline}") for _ in range(5)]
    pages = [show(server, "/v1/pipelines")[1]["pipelines"] for _ in range(5)]
    assert len(seen) == before
    assert all(answer == (200, {"pipeline": pages[0][0]}) for answer in answers)
    assert all(page == pages[0] for page in pages)


def test_of_what_moved_only_the_tasks_that_did_are_encoded(server, seen):
    server.house.push("chain", *TASKS)
    pipeline = launch(server, "chain")
    until(lambda: server.house.queries.pipeline(pipeline).tasks[0].status == "executing")
    assert show(server, f"/v1/pipelines/{pipeline}")[0] == 200
    finish(server, f"{pipeline}--t0")
    until(lambda: server.house.queries.pipeline(pipeline).tasks[1].status == "executing")
    del seen[:]
    found = show(server, "/v1/pipelines")[1]["pipelines"][0]["tasks"]
    assert [each["status"] for each in found[:3]] == ["executed", "executing", "waiting"]
    assert set(seen) == {"t0", "t1"}


@pytest.mark.parametrize(("far", "most"), [(500, 10_000), (3, 10_000), (500, 2)])
def test_an_answer_is_never_older_than_its_question(server, monkeypatch, far, most):
    """Polled all the time while it moves: at least as new as the store was when it was asked, and as it was then."""
    monkeypatch.setattr(latest, "FAR", far)
    monkeypatch.setattr(latest, "EVENTS_PAGE", most)
    server.house.push("chain", *TASKS)
    pipeline, queries, kept = launch(server, "chain"), server.house.queries, Portraits(server.house.queries)
    over = threading.Event()

    async def poll(chance):
        positions = []
        while not over.is_set() or not positions or positions[-1] < queries.positions([pipeline])[pipeline]:
            least = (await asyncio.to_thread(queries.positions, [pipeline]))[pipeline]
            found = await kept.get(pipeline) if chance.random() < 0.5 else (await kept.page(Filter(), 5))[0][0]
            assert found.position >= least
            view = await asyncio.to_thread(queries.pipeline, pipeline)
            assert view.seq > found.position or bytes(found.data) == ENCODER.encode(shapes.pipeline(view))
            positions.append(found.position)
        return positions

    polling = [asyncio.run_coroutine_threadsafe(poll(random.Random(seed)), server.loop) for seed in range(5)]
    for name in TASKS:
        finish(server, f"{pipeline}--{name}")
    until(lambda: queries.pipeline(pipeline).outcome)
    over.set()
    for each in polling:
        positions = each.result(DEADLINE_S)
        assert positions == sorted(positions)


def test_a_cancel_is_seen_by_whoever_asks_after_it(server):
    pipeline = launch(server)
    assert show(server, f"/v1/pipelines/{pipeline}")[1]["pipeline"]["outcome"] is None
    headers = {"Authorization": f"Bearer {server.house.token('edda')}"}
    status, _, body = server.request(f"/v1/pipelines/{pipeline}/cancel", method="POST", **headers)
    assert status == 200
    first = json.loads(body)["pipeline"]
    assert show(server, f"/v1/pipelines/{pipeline}")[1]["pipeline"]["tasks"] != [] and first["id"] == pipeline
    until(lambda: show(server, f"/v1/pipelines/{pipeline}")[1]["pipeline"]["outcome"] == "cancelled")
    assert show(server, "/v1/pipelines?outcome=cancelled")[1]["pipelines"][0]["id"] == pipeline


def test_what_was_removed_is_gone_though_it_was_kept(server):
    pipeline = launch(server)
    for name in ("fetch", "train"):
        finish(server, f"{pipeline}--{name}")
    until(lambda: show(server, f"/v1/pipelines/{pipeline}")[1]["pipeline"]["outcome"])
    headers = {"Authorization": f"Bearer {server.house.token('edda')}"}
    assert server.request(f"/v1/pipelines/{pipeline}?db=true", method="DELETE", **headers)[0] == 200
    assert show(server, f"/v1/pipelines/{pipeline}")[0] == 404
    assert show(server, "/v1/pipelines")[1]["pipelines"] == []


@pytest.mark.parametrize("path", ["/v1/pipelines/{}", "/v1/pipelines"])
def test_what_is_kept_is_shown_to_nobody_whose_token_does_not_count(server, path):
    path = path.format(launch(server))
    token = server.house.token("vera")
    assert show(server, path, token=token)[0] == 200
    assert server.request(path)[0] == 401
    assert show(server, path, token=token[:-3] + "abc")[0] == 401
    assert (
        server.request("/v1/users/vera", method="DELETE", Authorization=f"Bearer {server.house.token('ada')}")[0] == 200
    )
    assert show(server, path, token=token)[0] == 401


def test_what_is_kept_is_bounded(server, monkeypatch):
    monkeypatch.setattr(portraits, "KEPT_BYTES", 5_000)
    ids = [launch(server) for _ in range(12)]
    kept = Portraits(server.house.queries)
    for identity in (*ids, *reversed(ids)):
        assert run(server, kept.get(identity)).id == identity
        assert kept._bytes == sum(each.size for each in kept._kept.values()) <= 5_000
    assert len(run(server, kept.page(Filter(), 12))[0]) == 12
    assert 0 < len(kept._kept) < 12


def test_pages_and_polls_are_the_same_with_and_without_what_is_kept(server):
    ids = [launch(server) for _ in range(5)]
    finish(server, f"{ids[2]}--fetch")
    finish(server, f"{ids[2]}--train")
    until(lambda: server.house.queries.pipeline(ids[2]).outcome)
    kept = Portraits(server.house.queries)
    for wanted in (Filter(), Filter(outcome="succeeded"), Filter(query=ids[1]), Filter(before=3), Filter(job="no")):
        for limit in (1, 3, 100):
            fresh, following = run(server, Portraits(server.house.queries).page(wanted, limit))
            again = run(server, kept.page(wanted, limit)), run(server, kept.page(wanted, limit))
            views, expected = server.house.queries.pipelines(wanted, limit=limit)
            assert [each.id for each in fresh] == [view.id for view in views]
            assert again == ((fresh, following), (fresh, expected))


# ---- gathering


class Reading:
    """A reading that waits until it may go on; ``asked`` are the keys of each. ``fails`` makes them fail."""

    def __init__(self):
        self.asked = []
        self.go = threading.Event()
        self.fails = False

    def __call__(self, keys):
        self.asked.append(sorted(keys))
        assert self.go.wait(DEADLINE_S)
        if self.fails:
            raise Unavailable("the database is locked")
        return {key: f"{key} after {len(self.asked)}" for key in keys if key != "nothing"}


async def reached(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


def begun(many, *keys):
    return [asyncio.create_task(many.get(key)) for key in keys]


async def test_who_asks_while_a_reading_is_under_way_shares_the_next():
    reading = Reading()
    many = Gathering(reading)
    first = begun(many, "a", "b", "a")
    await reached(lambda: reading.asked)
    later = begun(many, "a", "c", "nothing", "c")
    await asyncio.sleep(0.01)
    assert reading.asked == [["a", "b"]], "one at a time"
    reading.go.set()
    assert await asyncio.gather(*first) == ["a after 1", "b after 1", "a after 1"]
    assert await asyncio.gather(*later) == ["a after 2", "c after 2", None, "c after 2"]
    assert reading.asked == [["a", "b"], ["a", "c", "nothing"]]
    assert await many.get("d") == "d after 3"


async def test_a_reading_takes_no_more_than_its_share(monkeypatch):
    monkeypatch.setattr(gathering, "MOST", 3)
    reading = Reading()
    reading.go.set()
    many = Gathering(reading)
    assert len(await asyncio.gather(*begun(many, *"abcdefgh"))) == 8
    assert reading.asked == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]


async def test_who_leaves_takes_nobody_along_and_a_failure_is_everybodys():
    reading = Reading()
    many = Gathering(reading)
    leaving, staying = begun(many, "a", "a")
    await reached(lambda: reading.asked)
    leaving.cancel()
    reading.go.set()
    assert await staying == "a after 1"
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    reading.fails = True
    found = await asyncio.gather(*begun(many, "a", "b"), return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable, Unavailable]
    reading.fails = False
    assert await many.get("a") == f"a after {len(reading.asked)}"
