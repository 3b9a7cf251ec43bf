"""What happens to a pipeline: starting, failing, retrying, stopping, ending."""

import pytest

from builders import Sim, spec
from odin.model.job import Retries
from odin.model.reports import Absent, Back, Ended, Held, Placed, Reason, Started
from odin.model.states import AttemptState, Outcome, PipelineStatus, Stop


def diamond(**fields):
    return (
        spec("a", **fields),
        spec("b", "a", **fields),
        spec("c", "a", **fields),
        spec("d", "b", "c", **fields),
    )


# --- starting


def test_tasks_without_parents_are_launched_at_submission():
    sim = Sim()
    sim.submit(*diamond())
    assert sim.launched == ["job-00000001--a"]
    assert sim.statuses() == {"a": "queued", "b": "waiting", "c": "waiting", "d": "waiting"}


def test_a_task_starts_the_moment_its_own_parents_are_done():
    sim = Sim()
    sim.submit(spec("slow"), spec("fast"), spec("next", "fast"))
    sim.end("fast")
    assert sim.launched[-1] == "job-00000001--next"
    assert sim.statuses()["slow"] == "queued"


def test_a_parents_end_and_its_childrens_plan_are_one_change():
    sim = Sim()
    sim.submit(spec("a"), spec("b", "a"))
    sim.world.take_changes()
    sim.end("a")
    assert {(task.spec.name, task.status.value) for task in sim.world.changes.tasks.values()} == {
        ("a", "executed"),
        ("b", "queued"),
    }
    assert sim.task("b").attempt is not None


def test_a_task_waits_for_all_its_parents():
    sim = Sim()
    sim.submit(*diamond())
    for name in ("a", "b"):
        sim.end(name)
    assert sim.statuses()["d"] == "waiting"
    sim.end("c")
    assert sim.statuses()["d"] == "queued"


def test_a_pipeline_ends_when_its_last_task_does():
    sim = Sim()
    pipeline = sim.submit(*diamond())
    for name in "abcd":
        sim.start(name)
        sim.end(name)
    assert (pipeline.status, pipeline.outcome) == (PipelineStatus.DONE, Outcome.SUCCEEDED)
    assert sim.due.forget == [pipeline.id]
    assert sim.history()[-1] == "succeeded"


def test_history_tells_each_move_once_and_in_order():
    sim = Sim()
    sim.submit(spec("a"))
    sim.send(Placed(sim.attempt("a")))
    sim.start("a")
    sim.start("a")
    sim.end("a")
    assert sim.history() == ["submitted", "planned a", "placed a", "started a", "executed a", "succeeded"]
    assert [event.seq for event in sim.world.changes.events] == [1, 2, 3, 4, 5, 6]


def test_a_task_that_finds_no_room_is_told_to_queue():
    sim = Sim(cpus=1)
    sim.submit(spec("a"), spec("b", "a"), spec("c", "a"))
    sim.end("a")
    assert sim.history()[-3:] == ["executed a", "planned b", "queued c"]
    assert sim.statuses() == {"a": "executed", "b": "queued", "c": "queued"}


def test_running_alone_is_not_urgent():
    sim = Sim()
    sim.submit(spec("a"))
    sim.world.take_changes()
    sim.start("a")
    assert sim.world.changes
    assert not sim.world.changes.urgent


def test_nothing_starts_before_the_checkout_stands():
    sim = Sim()
    pipeline = sim.submit(spec("a"), built=False)
    assert pipeline.status is PipelineStatus.BUILDING
    assert sim.due.build == [pipeline]
    assert sim.launched == []
    sim.built()
    assert pipeline.status is PipelineStatus.RUNNING
    assert sim.launched == ["job-00000001--a"]


def test_a_checkout_that_cannot_be_made_fails_the_pipeline():
    sim = Sim()
    pipeline = sim.submit(*diamond(), built=False)
    sim.built("no space left")
    assert (pipeline.outcome, pipeline.error_message) == (Outcome.FAILED, "no space left")
    assert set(sim.statuses().values()) == {"skipped"}


def test_a_checkout_reported_twice_changes_nothing():
    sim = Sim()
    sim.submit(spec("a"), built=False)
    sim.built()
    sim.built()
    assert sim.launched == ["job-00000001--a"]


# --- failing


def test_a_failed_dependency_skips_its_dependents():
    sim = Sim()
    pipeline = sim.submit(*diamond())
    sim.end("a", 3)
    assert sim.statuses() == {"a": "failed", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert pipeline.outcome is Outcome.FAILED
    assert pipeline.error_message == 'task "a" failed: exit code 3'
    assert sim.task("b").reason == 'task "a" failed'


def test_after_a_failure_nothing_more_starts_and_what_runs_goes_on():
    sim = Sim()
    pipeline = sim.submit(spec("bad"), spec("long"), spec("after", "long"))
    sim.start("bad", "long")
    sim.end("bad", 1)
    assert sim.statuses() == {"bad": "failed", "long": "executing", "after": "skipped"}
    assert sim.stopped == []
    assert pipeline.outcome is None
    sim.end("long")
    assert sim.statuses()["long"] == "executed"
    assert pipeline.outcome is Outcome.FAILED


def test_on_failure_continue_lets_unrelated_branches_go_on():
    sim = Sim()
    pipeline = sim.submit(spec("bad"), spec("child", "bad"), spec("good"), spec("last", "good"), on_failure="continue")
    sim.end("bad", 1)
    assert sim.statuses()["child"] == "skipped"
    sim.end("good")
    sim.end("last")
    assert sim.statuses()["last"] == "executed"
    assert pipeline.outcome is Outcome.FAILED


def test_on_failure_continue_skips_a_whole_branch_once():
    sim = Sim()
    sim.submit(*diamond(), on_failure="continue")
    sim.end("a", 1)
    assert sim.history().count("skipped d") == 1
    assert sim.pipeline.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("code", "reason", "message", "said"),
    [
        (3, Reason.EXIT, "", "exit code 3"),
        (139, Reason.SIGNAL, "", "killed by signal 11"),
        (139, Reason.SIGNAL, "killed by SIGSEGV", "killed by SIGSEGV"),
        (None, Reason.TIMEOUT, "", "it ran longer than its timeout"),
        (None, Reason.LOST, "", "lost: it may have run, and how it ended cannot be known"),
        (127, Reason.NOT_STARTED, "/bin/nope: not found", "/bin/nope: not found"),
        (None, Reason.REFUSED, "", "the place where tasks run refused it"),
        (None, Reason.VOID, "", "it was stopped before it started"),
        (143, Reason.STOPPED, "", "it was stopped"),
    ],
)
def test_a_failed_task_says_why(code, reason, message, said):
    sim = Sim()
    sim.submit(spec("a"))
    sim.end("a", code, reason, message)
    assert sim.task("a").reason == said
    assert sim.task("a").exit_code == code


def test_a_signal_with_code_zero_is_no_success():
    sim = Sim()
    sim.submit(spec("a"))
    sim.end("a", 0, Reason.TIMEOUT)
    assert sim.statuses() == {"a": "failed"}


# --- retrying


def test_a_failed_attempt_is_tried_again_after_its_delay():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1), retry_delay_s=10))
    sim.end("a", 1)
    assert sim.statuses() == {"a": "waiting"}
    assert sim.task("a").reason.startswith("attempt 1 failed: exit code 1; the next one in ")
    sim.wait(7.9)
    assert sim.launched == ["job-00000001--a"]
    sim.wait(4.2)
    assert sim.launched == ["job-00000001--a", "job-00000001--a--2"]
    sim.end("a")
    assert sim.pipeline.outcome is Outcome.SUCCEEDED


def test_a_task_that_waits_for_its_next_attempt_does_not_promise_one_after_a_halt():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1), retry_delay_s=10), spec("b"))
    sim.end("a", 1)
    sim.end("b", 2)
    assert sim.statuses() == {"a": "failed", "b": "failed"}
    assert sim.task("a").reason == 'attempt 1 failed: exit code 1; not tried again: task "b" failed'


def test_a_spent_budget_fails_the_task():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1), retry_delay_s=1))
    sim.end("a", 1)
    sim.wait(2)
    sim.end("a", 4)
    assert sim.statuses() == {"a": "failed"}
    assert sim.pipeline.error_message == 'task "a" failed: exit code 4'


def test_delays_double_up_to_ten_minutes():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=9), retry_delay_s=100))
    waits = []
    for _ in range(9):
        sim.end("a", 1)
        waits.append(sim.task("a").due_at - sim.now)
        sim.wait(1000)
    for wait, wanted in zip(waits, (100, 200, 400, 600, 600, 600, 600, 600, 600), strict=True):
        assert 0.8 * wanted <= wait <= 1.2 * wanted


def test_a_delay_that_is_longer_than_ten_minutes_stays_as_long():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1), retry_delay_s=3600))
    sim.end("a", 1)
    assert 2880 <= sim.task("a").due_at - sim.now <= 4320


def test_a_lost_attempt_is_not_run_again_by_itself():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.end("a", None, Reason.LOST)
    assert sim.statuses() == {"a": "failed"}
    assert sim.launched == ["job-00000001--a"]


def test_a_lost_attempt_is_run_again_where_the_file_allows_it():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1), retry_delay_s=1))
    sim.end("a", None, Reason.LOST)
    sim.wait(2)
    assert sim.launched[-1] == "job-00000001--a--2"


def test_what_its_place_refuses_is_not_tried_again():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=5)))
    sim.end("a", None, Reason.REFUSED, "no")
    assert sim.statuses() == {"a": "failed"}


def test_a_task_that_waits_for_a_retry_fails_when_another_task_fails():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1)), spec("b"))
    sim.end("a", 1)
    sim.end("b", 1)
    assert sim.statuses() == {"a": "failed", "b": "failed"}
    assert sim.pipeline.outcome is Outcome.FAILED


def test_no_retry_follows_once_the_pipeline_has_failed():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1)), spec("b"))
    sim.end("b", 1)
    sim.end("a", 1)
    assert sim.statuses()["a"] == "failed"


# --- stopping


def test_a_cancel_terminates_what_has_not_begun_and_stops_what_runs():
    sim = Sim()
    pipeline = sim.submit(spec("a"), spec("b", "a"))
    sim.start("a")
    sim.halt()
    assert sim.stopped == ["job-00000001--a"]
    assert sim.statuses() == {"a": "executing", "b": "terminated"}
    assert pipeline.outcome is None
    sim.end("a", 143, Reason.STOPPED)
    assert sim.statuses()["a"] == "terminated"
    assert (pipeline.status, pipeline.outcome) == (PipelineStatus.TERMINATED, Outcome.CANCELLED)


def test_f80_a_task_that_had_to_be_killed_says_so():
    sim = Sim()
    sim.submit(spec("a"), spec("b"))
    sim.start("a", "b")
    sim.halt()
    sim.end("a", 137, Reason.STOPPED, "cancelled by ada; it did not end within 30 s of SIGTERM and was killed")
    sim.end("b", 3)
    assert sim.task("a").reason == "cancelled by ada; it did not end within 30 s of SIGTERM and was killed"
    assert sim.task("b").reason == "cancelled by ada"


def test_a_task_that_ends_well_while_it_is_cancelled_has_executed():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.halt()
    sim.end("a", 0)
    assert sim.statuses() == {"a": "executed"}
    assert sim.pipeline.outcome is Outcome.SUCCEEDED


def test_a_planned_attempt_that_is_cancelled_shows_that_it_is_stopping():
    sim = Sim()
    sim.submit(spec("a"))
    sim.halt()
    assert sim.statuses() == {"a": "executing"}
    sim.end("a", None, Reason.VOID)
    assert sim.statuses() == {"a": "terminated"}


def test_a_cancel_ends_the_wait_for_a_retry():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1)))
    sim.end("a", 1)
    sim.halt()
    assert sim.statuses() == {"a": "terminated"}
    sim.wait(1000)
    assert sim.launched == ["job-00000001--a"]


def test_a_pipeline_that_is_building_can_be_cancelled():
    sim = Sim()
    sim.submit(spec("a"), built=False)
    sim.halt()
    assert sim.pipeline.outcome is Outcome.CANCELLED
    sim.built()
    assert sim.launched == []


def test_a_second_cancel_changes_nothing_and_a_cleanup_takes_over():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.halt()
    sim.halt()
    assert sim.history().count("stopping") == 1
    sim.halt(Stop.CLEANUP)
    assert sim.pipeline.stop is Stop.CLEANUP
    assert sim.stopped == ["job-00000001--a"]


def test_what_is_left_in_a_queue_of_a_pipeline_that_is_over_is_not_given_to_another_of_its_id():
    sim = Sim(cpus=1, here=False)
    sim.submit(spec("a"), spec("b"), spec("c"))
    sim.halt()
    sim.submit(spec("a"))
    sim.back()
    assert sim.launched == ["job-00000001--a"]


def test_commands_for_pipelines_that_are_over_are_ignored():
    sim = Sim()
    sim.submit(spec("a"))
    sim.end("a")
    seq = sim.pipeline.seq
    sim.halt()
    assert sim.pipeline.seq == seq


def test_the_pipelines_timeout_fails_what_has_begun_and_skips_the_rest():
    sim = Sim()
    sim.submit(
        spec("a"), spec("retrying", retries=Retries(user=1)), spec("b", "a"), timeout_s=60, on_failure="continue"
    )
    sim.start("a")
    sim.wait(59)
    sim.end("retrying", 1)
    assert sim.stopped == []
    sim.wait(2)
    assert sim.stopped == ["job-00000001--a"]
    sim.end("a", 143, Reason.STOPPED)
    assert sim.statuses() == {"a": "failed", "retrying": "failed", "b": "skipped"}
    assert sim.pipeline.outcome is Outcome.FAILED
    assert sim.pipeline.error_message == "the pipeline's timeout of 60 s has passed"


def test_a_pipelines_timeout_after_a_cancel_changes_nothing():
    sim = Sim()
    sim.submit(spec("a"), timeout_s=60)
    sim.start("a")
    sim.halt()
    sim.wait(61)
    assert sim.pipeline.stop is Stop.CANCEL


def test_a_task_that_waits_longer_than_its_pending_timeout_fails():
    sim = Sim(cpus=1)
    sim.submit(spec("a"), spec("b", pending_timeout_s=30), on_failure="continue")
    sim.start("a")
    sim.wait(31)
    assert sim.statuses() == {"a": "executing", "b": "failed"}
    assert sim.task("b").reason == "waited longer than its pending_timeout of 30 s"


def test_a_planned_attempt_that_does_not_start_in_time_is_stopped():
    sim = Sim()
    sim.submit(spec("a", pending_timeout_s=30), spec("b", "a"))
    sim.wait(31)
    assert sim.stopped == ["job-00000001--a"]
    sim.end("a", None, Reason.VOID)
    assert sim.statuses() == {"a": "failed", "b": "skipped"}
    assert sim.task("a").reason == "waited longer than its pending_timeout of 30 s"


def test_a_running_task_is_not_pending():
    sim = Sim()
    sim.submit(spec("a", pending_timeout_s=30))
    sim.start("a")
    sim.wait(31)
    assert sim.stopped == []


# --- a place that goes away and comes back


def test_nothing_is_planned_while_the_place_is_away():
    sim = Sim(here=False)
    sim.submit(spec("a"))
    assert sim.launched == []
    assert sim.task("a").number == 0
    sim.back()
    assert sim.launched == ["job-00000001--a"]


def test_every_open_attempt_is_recalled_when_the_place_is_back():
    sim = Sim()
    sim.submit(spec("a"), spec("b"))
    sim.start("a")
    sim.away()
    sim.back()
    planned_at = sim.task("a").attempt.planned_at
    assert sim.due.recall == {f"job-00000001--{name}": (1, "Pod", planned_at) for name in "ab"}


def test_f03_what_is_absent_is_launched_once():
    sim = Sim()
    sim.submit(spec("a"))
    sim.away()
    sim.back()
    sim.absent("a")
    assert sim.launched == ["job-00000001--a", "job-00000001--a"]
    assert sim.task("a").number == 1


def test_that_it_was_absent_before_a_takeover_says_nothing_of_an_attempt():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.pipeline.fence = 3
    sim.send(Absent(sim.attempt("a"), 2))
    assert sim.statuses() == {"a": "executing"}
    sim.send(Absent(sim.attempt("a"), 3))
    assert sim.statuses() == {"a": "failed"}


def test_what_is_absent_and_must_stop_is_stopped_not_launched():
    sim = Sim()
    sim.submit(spec("a"))
    sim.halt()
    sim.away()
    sim.back()
    sim.absent("a")
    assert sim.launched == ["job-00000001--a"]
    assert sim.stopped == ["job-00000001--a", "job-00000001--a"]


def test_f08_what_was_seen_to_run_and_is_absent_is_lost_and_never_launched_again():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.absent("a")
    assert sim.statuses() == {"a": "failed"}
    assert sim.launched == ["job-00000001--a"]
    assert sim.task("a").reason.startswith("lost")


def test_a_stop_is_told_again_to_a_place_that_answers_running():
    sim = Sim()
    sim.submit(spec("a"))
    sim.start("a")
    sim.halt()
    sim.back()
    sim.start("a")
    assert sim.stopped == ["job-00000001--a", "job-00000001--a"]


def test_f04_an_end_that_came_while_nobody_looked_has_its_own_times():
    sim = Sim()
    sim.submit(spec("a"))
    sim.now += 500
    sim.send(Back())
    sim.send(Ended(sim.attempt("a"), 0, Reason.EXIT, 1200.0, started_at=1100.0))
    task = sim.task("a")
    assert (task.started_at, task.completed_at, task.exit_code) == (1100.0, 1200.0, 0)


def test_reports_of_unknown_attempts_are_acknowledged_and_change_nothing():
    sim = Sim()
    sim.submit(spec("a"))
    sim.end("a")
    seq = sim.pipeline.seq
    sim.send(Ended("job-00000001--a", 0, Reason.EXIT, sim.now), Started("x-00000001--a", 1.0), Placed("x-00000001--a"))
    sim.absent("a")
    assert sim.pipeline.seq == seq
    assert sim.world.due.acknowledge == [] and "job-00000001--a" not in sim.world.open


def test_a_repeated_end_is_acknowledged_again():
    sim = Sim()
    sim.submit(spec("a"))
    sim.end("a")
    sim.end("a")
    assert sim.due.acknowledge == ["job-00000001--a"]


def test_a_place_that_came_back_smaller_fails_what_it_can_never_run():
    sim = Sim(cards=("0", "1"))
    sim.away()
    sim.submit(spec("a", num_gpus=2), spec("b", "a"))
    sim.world.pool.resize(16_000, ())
    sim.back()
    assert sim.statuses() == {"a": "failed", "b": "skipped"}
    assert sim.task("a").reason == "it asks for 2 GPUs and this machine has 0"


# --- places where objects wait


@pytest.mark.parametrize("report", [Placed, lambda attempt: Started(attempt, 1000.0)])
def test_a_stop_that_was_not_heard_is_repeated_when_its_attempt_is_heard_of(report):
    sim = Sim()
    sim.submit(spec("a"))
    sim.send(Placed(sim.attempt("a")))
    sim.halt()
    before = len(sim.stopped)
    sim.back()
    sim.send(report(sim.attempt("a")))
    assert len(sim.stopped) == before + 1


def test_what_cannot_be_made_yet_stays_planned_and_says_why():
    sim = Sim()
    sim.submit(spec("a"))
    sim.send(Held(sim.attempt("a"), "exceeded quota: few"))
    assert (sim.task("a").attempt.state, sim.task("a").reason) == (AttemptState.PLANNED, "exceeded quota: few")
    sim.absent("a")
    assert len(sim.launched) == 2
    sim.send(Placed(sim.attempt("a")), Held(sim.attempt("a"), ""))
    assert sim.task("a").reason is None


def test_what_was_placed_and_is_not_there_is_lost_and_says_so():
    sim = Sim()
    sim.submit(spec("a"))
    sim.send(Placed(sim.attempt("a")))
    sim.absent("a")
    assert sim.statuses() == {"a": "failed"}
    assert "cannot be known" in sim.task("a").reason


def test_f20_node_loss_and_preemption_do_not_spend_the_users_retries():
    sim = Sim()
    sim.submit(spec("a", retries=Retries(user=1)))
    for reason in (Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST):
        sim.end("a", None, reason)
        assert sim.statuses() == {"a": "waiting"}
        sim.wait(1000)
    assert sim.task("a").number == 4
    sim.end("a", 1)
    sim.wait(1000)
    sim.end("a", 1)
    assert sim.statuses() == {"a": "failed"}
