"""Turns of the engine when the store or the place fail in the middle of one. Found by the simulator."""

from concurrent.futures import Future

import pytest

from builders import spec, submission
from odin.engine.clock import Clock
from odin.engine.feed import Feed
from odin.engine.inbox import Item
from odin.engine.launches import Launches
from odin.engine.turns import RETRY_S, Turns
from odin.model.commands import Halt, Submit, Tick
from odin.model.errors import Unavailable
from odin.model.reports import Away, Back, Ended, Reason, Started
from odin.model.states import Stop, TaskStatus
from odin.model.world import fresh
from odin_testing.place import FakePlace


class Time(Clock):
    def __init__(self):
        self.at = 1000.0

    def now(self):
        return self.at


class Shelf:
    """A store that fails as told; ``left_out`` is what the next commit leaves out."""

    def __init__(self):
        self.failing = None
        self.left_out = set()
        self.kept = []
        self.over = []

    def _reach(self):
        if self.failing is not None:
            raise self.failing

    def commit(self, changes, promises, *, now):
        self._reach()
        left_out, self.left_out = self.left_out, set()
        return left_out

    def in_flight(self):
        self._reach()
        return [fresh(each) for each in self.kept]

    def load(self, ids):
        self._reach()
        return [fresh(each) for each in self.kept if each.id in ids]

    def raise_fences(self, seen):
        self._reach()
        return self.outdate(seen)

    def final(self, ids):
        self._reach()
        return [each for each in ids if each in self.over]


class Paths:
    def values(self, pipeline, version, job, task, *, own_work=False):
        return {"TASK_PATH": "/task"}

    def files(self, pipeline, attempt):
        return {}


class Desk:
    """Turns with their store, place and time in hand."""

    def __init__(self):
        self.store, self.place, self.time = Shelf(), FakePlace(plan=lambda _: None), Time()
        self.turns = Turns(
            self.store, self.place, Launches(Paths()), lambda pipeline: None, clock=self.time, feed=Feed()
        )

    def hear(self, *reports):
        for report in reports:
            self.place._say(report)
        self.turns.turn([])

    def submit(self, *specs):
        made = submission(*specs, at=self.time.at)
        self.turns.turn([Item(Submit(made))])
        return made


@pytest.fixture
def desk():
    return Desk()


def test_while_a_commit_is_put_off_the_engine_sleeps_until_it_is_tried_again(desk):
    made = desk.submit(spec("a"))
    desk.hear(Back())
    desk.store.failing = Unavailable("locked")
    desk.hear(Started(f"{made.id}--a", 1000.0))
    desk.time.at += 0.06
    desk.turns.turn([])
    desk.time.at += 0.06
    assert desk.turns.patience() == pytest.approx(RETRY_S - 0.06)


def test_while_the_store_cannot_be_read_the_engine_sleeps_until_it_is_tried_again(desk):
    desk.hear(Back())
    desk.submit(spec("a"), spec("b", pending_timeout_s=1.0))
    desk.store.failing = Unavailable("gone")
    desk.hear(Away("gone too"), Back(("job-00000001",)))
    desk.time.at += 0.1
    desk.hear(Ended("job-00000001--a", 0, Reason.EXIT, 1000.0))
    assert 0 < desk.turns.patience() <= RETRY_S
    desk.time.at += 10
    desk.turns.turn([])
    assert desk.turns.patience() == RETRY_S


def test_what_could_not_be_read_back_is_read_when_the_store_is_there_again(desk):
    desk.store.kept = [submission(spec("a"))]
    desk.store.failing = Unavailable("gone")
    desk.hear(Back(("old-00000001",)))
    assert desk.turns.world.pipelines == {}
    desk.store.failing = None
    desk.time.at += 1
    desk.turns.turn([])
    assert list(desk.turns.world.pipelines) == ["job-00000001"]
    assert desk.turns.world.away is None
    assert list(desk.place.starts) == ["job-00000001--a"]


def test_that_the_place_is_back_is_not_forgotten_when_the_turn_that_hears_it_fails(desk):
    desk.store.failing = OSError("broken")
    desk.hear(Back(("old-00000001",)))
    assert desk.turns.patience() == 0
    desk.store.failing = None
    desk.store.over = ["old-00000001"]
    desk.turns.turn([Item(Tick())])
    assert desk.turns.world.away is None
    assert desk.place.forgotten == ["old-00000001"]


def test_the_end_of_an_attempt_is_not_acknowledged_where_its_commit_left_it_out(desk):
    desk.hear(Back())
    made = desk.submit(spec("a"))
    desk.store.left_out = {made.id}
    desk.place.finish(f"{made.id}--a", 0)
    desk.turns.turn([])
    assert (desk.place.acknowledged, desk.place.forgotten) == (set(), [])


def test_the_end_of_an_attempt_of_another_server_is_left_to_that_server(desk):
    desk.hear(Back(), Ended("other-00000001--a", 0, Reason.EXIT, 1000.0))
    assert desk.place.acknowledged == set()
    desk.store.over = ["other-00000001"]
    desk.hear(Ended("other-00000001--a", 0, Reason.EXIT, 1000.0))
    assert desk.place.acknowledged == {"other-00000001--a"}


def test_the_end_of_an_attempt_that_was_planned_after_a_takeover_is_left_to_the_new_owner(desk):
    desk.hear(Back())
    made = desk.submit(spec("a"), spec("b", "a"))
    desk.hear(Ended(f"{made.id}--b", 0, Reason.EXIT, 1000.0))
    assert desk.place.acknowledged == set()


def test_a_pipeline_that_is_taken_over_goes_on_although_nothing_else_happens(desk):
    desk.hear(Back())
    desk.store.kept = [submission(spec("a"))]
    desk.turns.take_over(["job-00000001"])
    assert desk.turns.patience() == 0
    desk.turns.turn([])
    assert list(desk.place.starts) == ["job-00000001--a"]


def test_what_was_still_to_be_committed_of_a_pipeline_is_void_once_it_was_another_servers(desk):
    desk.hear(Back())
    desk.store.kept = [desk.submit(spec("a"), spec("b", "a"))]
    desk.store.failing = Unavailable("locked")
    cancel = Item(Halt("job-00000001", Stop.CANCEL, "cancelled by ada"), Future())
    desk.place.finish("job-00000001--a", 0)
    desk.turns.turn([cancel])
    assert desk.turns.world.changes
    desk.store.failing = None
    desk.turns.take_over(["job-00000001"])
    assert not desk.turns.world.changes
    with pytest.raises(Unavailable, match="try again"):
        cancel.done.result(0)


def test_an_end_that_is_told_again_while_the_store_is_away_is_acknowledged_when_it_is_there(desk):
    desk.hear(Back())
    desk.store.failing = Unavailable("gone")
    desk.hear(Ended("old-00000001--a", 0, Reason.EXIT, 1000.0))
    desk.store.failing = None
    desk.store.over = ["old-00000001"]
    desk.time.at += 1
    desk.turns.turn([])
    assert desk.place.acknowledged == {"old-00000001--a"}


def test_the_ends_that_another_server_did_not_come_to_acknowledge_are_acknowledged_by_who_takes_over(desk):
    desk.hear(Back(), Ended("job-00000001--a", 0, Reason.EXIT, 1000.0))
    assert desk.place.acknowledged == set()
    taken = fresh(submission(spec("a"), spec("b")))
    taken.tasks[0].verdict, taken.tasks[0].number, taken.unsettled = TaskStatus.EXECUTED, 1, 1
    desk.store.load = lambda ids: [taken]
    desk.turns.take_over(["job-00000001"])
    desk.turns.turn([])
    assert desk.place.acknowledged == {"job-00000001--a"}


def test_who_does_not_wait_for_an_answer_does_no_harm(desk):
    desk.hear(Back())
    gone, final = Future(), Future()
    desk.turns.finals["job-00000001"] = [final]
    for each in (gone, final):
        each.cancel()
    desk.turns.turn([Item(Submit(submission(spec("a"))), gone)])
    assert list(desk.turns.world.pipelines) == ["job-00000001"]
    desk.place.finish("job-00000001--a", 0)
    desk.turns.turn([])
    assert desk.place.forgotten == ["job-00000001"]
