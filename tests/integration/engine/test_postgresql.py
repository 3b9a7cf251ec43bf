"""The loop while PostgreSQL cuts its connection, restarts, or is away."""

import time
from concurrent.futures import wait
from itertools import count

import pytest

from builders import spec, submission
from odin.model.commands import Halt, Submit
from odin.model.errors import Unavailable
from odin.model.reports import Back
from odin.model.states import Stop
from odin.store import postgresql as module
from odin_testing.place import FakePlace
from pgproxy import MOMENTS, Proxy

pytestmark = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
LAYERS = [
    spec(f"l{layer}-{i}", *({f"l{layer - 1}-{(i * k) % 10}" for k in (1, 2)} if layer else ()))
    for layer in range(10)
    for i in range(10)
]


@pytest.fixture
def away(house, own_postgres, monkeypatch):
    """A house whose database is a server of its own."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    return house(FakePlace(plan=lambda _: None), url=own_postgres.migrated()), own_postgres


@pytest.mark.parametrize("moment", MOMENTS)
def test_f42_what_was_answered_is_there_once_wherever_the_commit_was_cut(house, postgres, postgresql, moment):
    proxy = Proxy(postgres.port)
    house = house(url=f"postgresql://odin@127.0.0.1:{proxy.port}/{postgresql.rpartition('/')[2]}")
    answered, numbers = set(), count(1)
    for _ in range(10):
        answered.add(house.submit(spec("a"), spec("b", "a"), id=f"job-{next(numbers):08d}"))  # on a whole session
        house.final(max(answered))
        each = submission(spec("a"), spec("b", "a"), id=f"job-{next(numbers):08d}", at=time.time())
        proxy.cut_at(moment)
        refusal = house.engine.submit(Submit(each)).exception(60)
        if refusal is None:
            answered.add(each.id)
            house.final(each.id)
        else:
            assert type(refusal) is Unavailable  # it is known by then
    assert moment == "inside" or len(answered) == (20 if moment == "after" else 10)
    found, _ = house.queries.pipelines()
    assert {view.id for view in found} == answered
    assert {house.final(each).outcome for each in answered} <= {"succeeded"}
    house.end()
    proxy.close()
    assert house.place.starts == {f"{each}--{name}": 1 for each in answered for name in "ab"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_f42_a_cancel_whose_commit_was_cut_is_answered_as_it_went(house, postgres, postgresql, moment):
    proxy = Proxy(postgres.port)
    url = f"postgresql://odin@127.0.0.1:{proxy.port}/{postgresql.rpartition('/')[2]}"
    house = house(FakePlace(plan=lambda _: None), url=url)
    identity = house.submit(spec("a"))
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executing")
    proxy.cut_at(moment)
    try:
        house.engine.post(Halt(identity, Stop.CANCEL, "cancelled")).result(60)
    except Unavailable:
        assert house.queries.pipeline(identity).stop is None
        house.engine.post(Halt(identity, Stop.CANCEL, "cancelled")).result(60)
    assert house.final(identity).outcome == "cancelled"
    house.end()
    proxy.close()


def test_f40_while_it_is_away_tasks_go_on_and_nothing_starts(away):
    house, postgres = away
    identity = house.submit(spec("a"), spec("b", "a"))
    house.until(lambda: house.place.running)
    postgres.stop()
    house.place.finish(f"{identity}--a", 0)
    for number in range(3):
        with pytest.raises(Unavailable):
            house.submit(spec("c"), id=f"new-{number:08d}")
    assert list(house.place.starts) == [f"{identity}--a"]
    postgres.start()
    house.until(lambda: f"{identity}--b" in house.place.running)
    house.place.finish(f"{identity}--b", 0)
    assert house.final(identity).outcome == "succeeded"
    assert set(house.place.starts.values()) == {1}
    assert [view.id for view in house.queries.pipelines()[0]] == [identity]


def test_f40_a_place_that_comes_back_while_it_is_away_is_heard(away):
    house, postgres = away
    identity = house.submit(spec("a"))
    house.until(lambda: house.place.running)
    postgres.stop()
    house.place.finish(f"{identity}--a", 0)
    house.place._say(Back((identity,)))
    postgres.start()
    assert house.final(identity).outcome == "succeeded"
    assert house.engine.failure is None


def test_f40_restarts_under_work_lose_and_repeat_nothing(house, own_postgres):
    house = house(url=own_postgres.migrated())
    ids = [f"job-{number:08d}" for number in range(5)]
    for identity in ids:
        house.submit(*LAYERS, id=identity)
    finals = [house.engine.when_final(identity) for identity in ids]
    restarts = 0
    while wait(finals, timeout=0.05).not_done:
        own_postgres.restart()
        restarts += 1
    assert restarts
    assert {house.final(identity).outcome for identity in ids} == {"succeeded"}
    assert len(house.place.starts) == 5 * len(LAYERS) and set(house.place.starts.values()) == {1}
    for identity in ids:
        history = house.queries.events(identity)
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
