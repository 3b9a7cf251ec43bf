"""The loop on a real database: commit before effect, answers after the commit, and starts after a crash."""

import contextlib
import os
import random
import subprocess
import threading
import time

import pytest
from sqlalchemy import text

import odin_testing.faults
from builders import spec, submission
from odin.model.commands import Halt, Submit, Tick
from odin.model.errors import Conflict, NoSpace, NotFound, Unavailable
from odin.model.job import Retries
from odin.model.reports import Away, Back, Reason
from odin.model.states import Stop
from odin_testing.place import FakePlace

LAYERS = [
    spec(f"l{layer}-{i}", *({f"l{layer - 1}-{(i * k) % 5}" for k in (1, 2)} if layer else ()))
    for layer in range(6)
    for i in range(5)
]
POINTS = ("engine:events-taken", "engine:before-commit", "engine:in-commit", "engine:after-commit")


def test_a_pipeline_runs_from_submission_to_its_end(house):
    house = house()
    view = house.final(house.submit(*LAYERS))
    assert (view.status, view.outcome) == ("DONE", "succeeded")
    assert {task.status for task in view.tasks} == {"executed"}
    assert set(house.place.starts.values()) == {1}


def test_the_end_of_every_attempt_is_acknowledged_and_the_pipeline_forgotten(house):
    house = house()
    identity = house.submit(*LAYERS)
    house.final(identity)
    house.until(lambda: house.place.forgotten == [identity])
    assert house.place.acknowledged == set(house.place.starts)


def test_an_answered_submission_is_there_after_a_restart(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.restart()
    assert house.queries.pipeline(identity).status == "RUNNING"


def test_the_same_id_twice_is_a_conflict(house):
    house = house()
    house.final(house.submit(spec("a")))
    with pytest.raises(Conflict):
        house.submit(spec("a"))


def test_a_checkout_is_made_before_anything_starts(house):
    house = house()
    identity = house.submit(spec("a"), built=False)
    house.final(identity)
    assert house.built == [identity]


def test_that_a_task_runs_is_seen_soon_although_nothing_waits_for_it(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executing")


def test_a_cancel_stops_what_runs(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"), spec("b", "a"))
    house.until(lambda: house.place.running)
    house.engine.post(Halt(identity, Stop.CANCEL, "cancelled by ada")).result(60)
    view = house.final(identity)
    assert view.outcome == "cancelled"
    assert [(task.status, task.reason) for task in view.tasks] == [("terminated", "cancelled by ada")] * 2


def test_a_retry_waits_and_then_runs_as_a_new_attempt(house):
    codes = {"job-00000001--a": 1, "job-00000001--a--2": 0}
    house = house(FakePlace(plan=lambda launch: codes[launch.attempt]))
    view = house.final(house.submit(spec("a", retries=Retries(user=1), retry_delay_s=0.05)))
    assert view.outcome == "succeeded"
    assert house.place.starts == {"job-00000001--a": 1, "job-00000001--a--2": 1}
    _, _, attempts = house.queries.task("job-00000001--a")
    assert [(each.number, each.exit_code) for each in attempts] == [(1, 1), (2, 0)]


def test_a_command_that_cannot_be_handed_over_fails_with_the_place(house):
    house = house()
    view = house.final(house.submit(spec("a", args=("x" * 140_000,))))
    assert view.outcome == "failed"
    assert "128 KiB" in view.tasks[0].reason or "131071" in view.tasks[0].reason


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("passes", [1, 2, 5])
def test_f01_a_turn_that_fails_anywhere_loses_and_repeats_nothing(house, point, passes):
    house = house()
    identity = house.submit(*LAYERS, id="job-00000001")
    odin_testing.faults.plan(f"{point}:{passes}:raise")
    second = house_submit_again(house)
    for each in (identity, second):
        view = house.final(each)
        assert view.outcome == "succeeded", [(task.name, task.status, task.reason) for task in view.tasks]
    assert set(house.place.starts.values()) == {1}
    assert odin_testing.faults.passes(point) >= passes


def house_submit_again(house):
    """A submission may be refused while the engine reads everything back; a client asks again."""
    for number in range(2, 100):
        try:
            return house.submit(*LAYERS, id=f"job-{number:08d}")
        except (Unavailable, OSError):
            time.sleep(0.01)
    raise AssertionError("submissions are refused for ever")


@pytest.mark.parametrize("seed", range(5))
def test_f01_restarts_in_the_middle_lose_and_repeat_nothing(house, seed):
    chance = random.Random(seed)
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(*LAYERS)
    for _ in range(60):
        if house.queries.pipeline(identity).outcome is not None:
            break
        for attempt in list(house.place.running):
            if chance.random() < 0.5:
                house.place.finish(attempt, 0)
        if chance.random() < 0.4:
            house.restart()
        time.sleep(0.01)
    for _ in range(1000):
        for attempt in list(house.place.running):
            house.place.finish(attempt, 0)
        if house.queries.pipeline(identity).outcome is not None:
            break
        time.sleep(0.01)
    assert house.queries.pipeline(identity).outcome == "succeeded"
    assert set(house.place.starts.values()) == {1}
    assert len(house.place.starts) == len(LAYERS)


def test_f03_what_was_committed_and_not_launched_is_launched_after_the_restart(house):
    place = FakePlace(plan=lambda _: None)
    place.launch, kept = lambda tasks: None, place.launch
    house = house(place)
    identity = house.submit(spec("a"))
    assert place.starts == {}
    place.launch = kept
    house.restart()
    house.until(lambda: place.starts == {f"{identity}--a": 1})


def test_f04_an_end_while_the_server_was_away_is_adopted_with_its_code(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"), spec("b", "a"))
    house.until(lambda: house.place.running)
    house.end()
    house.place.finish(f"{identity}--a", 7)
    house.engine = house.begin()
    view = house.final(identity)
    assert [(task.status, task.exit_code) for task in view.tasks] == [("failed", 7), ("skipped", None)]


def test_f08_an_attempt_whose_end_cannot_be_known_is_lost_and_said_so(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.until(lambda: house.place.running)
    house.place.finish(f"{identity}--a", None, Reason.LOST)
    view = house.final(identity)
    assert view.tasks[0].status == "failed"
    assert view.tasks[0].reason.startswith("lost: it may have run")


def test_a_server_that_stops_refuses_with_the_reason(house):
    house = house()
    house.engine.stop()
    with pytest.raises(Unavailable, match="stopping"):
        house.submit(spec("a"))


def test_a_pipeline_whose_rows_moved_is_read_back_and_goes_on(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"), spec("b", "a"))
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executing")
    with house.database.writer() as connection:
        connection.execute(text("UPDATE pipelines SET fence = fence + 1"))
    house.place.finish(f"{identity}--a", 0)
    house.until(lambda: f"{identity}--b" in house.place.running)
    house.place.finish(f"{identity}--b", 0)
    assert house.final(identity).outcome == "succeeded"
    assert house.place.starts == {f"{identity}--a": 1, f"{identity}--b": 1}


def test_a_cancel_that_was_left_out_of_a_commit_is_refused_and_can_be_asked_again(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executing")
    with house.database.writer() as connection:
        connection.execute(text("UPDATE pipelines SET fence = fence + 1"))
    cancel = Halt(identity, Stop.CANCEL, "cancelled by ada")
    with pytest.raises(Unavailable, match="try again"):
        house.engine.post(cancel).result(60)
    house.engine.post(cancel).result(60)
    assert house.final(identity).outcome == "cancelled"


def test_the_id_of_a_pipeline_in_flight_is_refused_and_takes_nothing_from_it(house):
    house = house(FakePlace(plan=lambda _: None, cpu_m=1000))
    identity = house.submit(spec("a"))
    house.until(lambda: house.place.running)
    with pytest.raises(Conflict):
        house.submit(spec("other"), spec("more"), id=identity)
    house.place.finish(f"{identity}--a", 0)
    assert house.final(identity).outcome == "succeeded"
    second = house.submit(spec("a"), id="job-00000002")
    house.until(lambda: f"{second}--a" in house.place.running)


def test_after_a_turn_that_failed_behind_the_last_commit_the_place_is_told_to_forget(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.until(lambda: house.place.running and house.queries.pipeline(identity).tasks[0].status == "executing")
    odin_testing.faults.plan("engine:after-commit:1:raise")
    house.place.finish(f"{identity}--a", 0)
    assert house.final(identity).outcome == "succeeded"
    house.until(lambda: house.place.forgotten == [identity])
    assert house.place.acknowledged == {f"{identity}--a"}


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk needs root to mount one")
def test_f13_a_full_store_refuses_what_is_new_and_keeps_what_happened(template, tmp_path, house):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        house = house(FakePlace(plan=lambda _: None))
        house.end()
        (disk / "odin.db").write_bytes(template.read_bytes())
        house.url = f"sqlite:///{disk}/odin.db"
        house.engine = house.begin()
        identity = house.submit(spec("a"), spec("b", "a"))
        house.until(lambda: house.place.running)
        fill(disk)
        with pytest.raises(NoSpace, match="full"):
            for number in range(200):
                house.submit(spec("a", args=("x" * 4000,)), id=f"big-{number:08d}")
        house.place.finish(f"{identity}--a", 0)
        time.sleep(0.2)
        (disk / "filler").unlink()
        house.until(lambda: f"{identity}--b" in house.place.running)
        house.place.finish(f"{identity}--b", 0)
        assert house.final(identity).outcome == "succeeded"
        house.end()
        house.url = f"sqlite:///{tmp_path}/odin.db"
        house.engine = house.begin()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(disk):
    left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(b"x" * max(left - 16384, 0))


def test_f92_ten_thousand_tasks_that_end_at_once_are_all_recorded(house):
    house = house(FakePlace(cpu_m=500_000))
    view = house.final(house.submit(*(spec(f"t{i}") for i in range(10_000))))
    assert {task.status for task in view.tasks} == {"executed"}
    assert len(house.place.starts) == 10_000 and set(house.place.starts.values()) == {1}


def test_submissions_of_one_turn_are_one_commit(house):
    house = house()
    before = house.queries.counts()
    futures = [house.engine.submit(Submit(submission(spec("a"), id=f"job-{n:08d}", at=time.time()))) for n in range(50)]
    for future in futures:
        future.result(60)
    for n in range(50):
        assert house.final(f"job-{n:08d}").outcome == "succeeded"
    assert before == {}


def test_a_place_that_goes_away_is_said_and_what_ran_goes_on_when_it_is_back(house, caplog):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"), spec("b", "a"))
    house.until(lambda: house.place.running)
    house.place._say(Away("the runner is gone"))
    house.until(lambda: house.engine.away == "the runner is gone")
    assert "the runner is gone" in caplog.text
    second = house.submit(spec("a"), id="job-00000002")
    house.place.finish(f"{identity}--a", 0)
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executed")
    assert len(house.place.starts) == 1
    house.place._say(Back((identity, "gone-00000001")))
    house.until(lambda: len(house.place.running) == 2)
    for attempt in (f"{identity}--b", f"{second}--a"):
        house.place.finish(attempt, 0)
    assert [house.final(each).outcome for each in (identity, second)] == ["succeeded", "succeeded"]
    assert set(house.place.starts.values()) == {1}
    assert "gone-00000001" in house.place.forgotten


def test_an_engine_that_fails_again_and_again_says_so_and_stops(house):
    house = house()
    plans = ",".join(f"engine:events-taken:{n}:raise" for n in range(1, 50))
    odin_testing.faults.plan(plans)
    with pytest.raises(Unavailable, match=r"failed several times|had to restart"):
        for number in range(100):
            house.submit(spec("a"), id=f"job-{number:08d}")
    house.until(lambda: house.engine.failure is not None or _poked(house))
    with pytest.raises(Unavailable, match="failed several times in a row"):
        house.submit(spec("a"))


def _poked(house):
    """Events keep coming; each fails."""
    with contextlib.suppress(Unavailable):
        house.engine.post(Tick())
    return False


def test_a_checkout_that_fails_fails_its_pipeline_with_the_reason(house):
    house = house()

    def full(_pipeline):
        raise OSError(28, "No space left on device")

    house.engine._build = full
    view = house.final(house.submit(spec("a"), built=False))
    assert view.error_message == "the checkout could not be made: No space left on device"

    def gone(_pipeline):
        raise NotFound("the commit is gone")

    house.engine._build = gone
    view = house.final(house.submit(spec("a"), built=False, id="job-00000002"))
    assert (view.outcome, view.error_message) == ("failed", "the commit is gone")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), Unavailable("the database cannot be reached")])
def test_f10_a_checkout_is_tried_again_where_waiting_may_help(house, error):
    house = house()
    failures = [error, error]

    def build(_pipeline):
        if failures:
            raise failures.pop()

    house.engine._build = build
    assert house.final(house.submit(spec("a"), built=False)).outcome == "succeeded"
    assert not failures


def test_f10_a_stop_does_not_wait_for_such_a_checkout_which_the_next_server_makes(house):
    house = house()
    tried = threading.Event()

    def build(_pipeline):
        tried.set()
        raise Unavailable("the database cannot be reached")

    house.engine._build = build
    identity = house.submit(spec("a"), built=False)
    assert tried.wait(60)
    house.restart()
    assert house.final(identity).outcome == "succeeded"


def test_a_pipeline_that_is_over_in_the_rows_is_forgotten_in_memory(house):
    house = house(FakePlace(plan=lambda _: None))
    identity = house.submit(spec("a"))
    house.until(lambda: house.queries.pipeline(identity).tasks[0].status == "executing")
    with house.database.writer() as connection:
        connection.execute(text("UPDATE pipelines SET fence = 9, status = 'DONE', outcome = 'succeeded'"))
    house.place.finish(f"{identity}--a", 0)
    house.until(lambda: house.engine.in_flight == 0)


def test_the_timer_of_a_pipeline_ends_it_without_any_other_event(house):
    house = house(FakePlace(plan=lambda _: None))
    view = house.final(house.submit(spec("a"), timeout_s=0.2))
    assert (view.outcome, view.stop) == ("failed", "timeout")
