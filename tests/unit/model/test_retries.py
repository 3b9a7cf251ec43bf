"""Budgets by cause, what a next attempt asks for, and how long waiting may take, also over restarts."""

import pytest

from builders import Sim, spec
from odin.model.job import Retries
from odin.model.quantities import memory_bytes, written_bytes
from odin.model.reports import Ended, Reason, Started
from odin.model.retries import delay_s, grown
from odin.model.states import TaskStatus
from odin.model.world import restored

GI = 1 << 30


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (Reason.EXIT, "user"),
        (Reason.SIGNAL, "user"),
        (Reason.TIMEOUT, "user"),
        (Reason.LOST, "user"),
        (Reason.OOM, "oom"),
        (Reason.EVICTED, "node"),
        (Reason.NODE_LOST, "node"),
        (Reason.PREEMPTED, "preempt"),
    ],
)
def test_each_cause_has_a_budget_of_its_own(reason, cause):
    budgets = {"user": 0, "node": 0, "preempt": 0, "oom": 0}
    for allowed, status in ((1, TaskStatus.WAITING), (0, TaskStatus.FAILED)):
        sim = Sim()
        sim.submit(spec("a", retries=Retries(**(budgets | {cause: allowed})), retry_delay_s=1))
        sim.end("a", 1, reason)
        assert sim.task("a").status is status


def test_an_attempt_that_ran_out_of_memory_is_followed_by_one_with_twice_as_much():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(oom=2), retry_delay_s=1, memory_bytes=GI))
    asked = []
    for _ in range(3):
        attempt = sim.task("a").attempt
        asked.append(attempt.memory_bytes)
        sim.end("a", 137, Reason.OOM, "it used more memory than 1Gi")
        sim.wait(10)
    assert asked == [GI, 2 * GI, 4 * GI]
    assert sim.task("a").status is TaskStatus.FAILED


def test_what_comes_next_is_told_with_its_memory():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(oom=1, user=1), retry_delay_s=10, memory_bytes=3 * GI))
    sim.end("a", 137, Reason.OOM, "it used more memory than 3Gi")
    assert sim.task("a").reason.endswith(" s, with 6Gi of memory")


def test_another_failure_leaves_the_memory_as_it_was():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(oom=1, user=1), retry_delay_s=1, memory_bytes=GI))
    sim.end("a", 137, Reason.OOM)
    sim.wait(10)
    sim.end("a", 1)
    sim.wait(10)
    assert sim.task("a").attempt.memory_bytes == 2 * GI


def test_a_limit_grows_with_what_is_asked_for_and_what_is_not_named_cannot():
    named = spec("a", memory_bytes=GI, cluster={"memory_limit_bytes": 2 * GI, "queue": "q"})
    more = grown(named, {"oom": 1})
    assert (more.memory_bytes, more.cluster) == (2 * GI, {"memory_limit_bytes": 4 * GI, "queue": "q"})
    assert grown(spec("a"), {"oom": 3}) == spec("a")
    assert grown(named, {"user": 3}) is named
    assert grown(named, {"oom": 98}).memory_bytes == 2**63 - 1


@pytest.mark.parametrize("text", ["1Gi", "1536Mi", "3Ki", "1000", "0"])
def test_memory_is_written_as_it_is_read(text):
    assert memory_bytes(written_bytes(memory_bytes(text))) == memory_bytes(text)


def test_waiting_times_double_and_spread():
    waits = [delay_s(spec("a", retry_delay_s=10), "p--a", retry) for retry in range(1, 12)]
    assert all(8 <= waits[0] <= 12 for _ in waits)
    assert waits[1] == pytest.approx(2 * waits[0])
    assert max(waits) <= 600 * 1.2
    assert len({delay_s(spec("a"), f"p--a--{number}", 1) for number in range(20)}) == 20


def test_each_attempt_keeps_where_it_ran():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(node=1), retry_delay_s=1))
    sim.send(Started(sim.attempt("a"), sim.now, node="one"))
    sim.send(Ended(sim.attempt("a"), None, Reason.NODE_LOST, sim.now))
    sim.wait(10)
    sim.send(Ended(sim.attempt("a"), 0, Reason.EXIT, sim.now, started_at=sim.now, node="two"))
    kept = [sim.world.changes.attempts[sim.pipeline.id, 0, number].node for number in (1, 2)]
    assert kept == ["one", "two"]


# --- pending_timeout after a restart: everything but rows is gone


def after_restart(sim):
    again = Sim()
    again.now = sim.now
    again.world.adopt(restored(sim.pipeline))
    again.pipeline = sim.pipeline
    return again


def test_an_attempt_that_waits_for_its_place_is_still_limited_after_a_restart():
    sim = Sim()
    sim.submit(spec("a", pending_timeout_s=30))
    again = after_restart(sim)
    again.wait(29)
    assert again.stopped == []
    again.wait(1)
    assert again.stopped == ["job-00000001--a"]


def test_waiting_counts_from_when_the_parents_were_done_after_a_restart_too():
    sim = Sim()
    sim.submit(spec("a"), spec("b", "a", pending_timeout_s=30))
    sim.wait(100)
    sim.away()
    sim.end("a")
    sim.task("b").ready_at, sim.task("b").unmet = None, 1
    again = after_restart(sim)
    again.away()
    again.wait(29)
    assert again.task("b").verdict is None
    again.wait(2)
    assert again.task("b").status is TaskStatus.FAILED
