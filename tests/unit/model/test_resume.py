"""What a resumed pipeline runs again and what it keeps, decided from rows and specs alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Sim, spec
from odin.model.errors import Conflict, NotFound
from odin.model.job import Mount, Retries
from odin.model.reports import Reason
from odin.model.resume import Action, Choice, Former, differences, plan
from odin.model.states import AttemptState, TaskStatus
from odin.model.world import Attempt, Kept

OLD = "job-00000001"
CHAIN = (spec("fetch"), spec("train", "fetch"), spec("report", "train"), spec("other"))
DONE, FAILED, SKIPPED, STOPPED = (
    TaskStatus.EXECUTED,
    TaskStatus.FAILED,
    TaskStatus.SKIPPED,
    TaskStatus.TERMINATED,
)


def formers(*statuses, specs=CHAIN, has_files=True):
    return [Former(one, status, OLD, has_files) for one, status in zip(specs, statuses, strict=True)]


def actions(made):
    return {step.task: step.action.value for step in made.steps}


def whys(made):
    return {step.task: step.why for step in made.steps}


def test_what_failed_and_what_follows_it_runs_again():
    made = plan(OLD, formers(DONE, FAILED, SKIPPED, DONE), CHAIN, Choice())
    assert actions(made) == {"fetch": "keep", "train": "run", "report": "run", "other": "keep"}
    assert whys(made) == {
        "fetch": f"kept from {OLD}",
        "train": "it failed",
        "report": "it did not run",
        "other": f"kept from {OLD}",
    }


def test_what_was_cancelled_runs_again():
    made = plan(OLD, formers(DONE, STOPPED, STOPPED, STOPPED), CHAIN, Choice())
    assert made.of(Action.RUN) == ("train", "report", "other")
    assert whys(made)["train"] == "it was stopped"


def test_from_a_task_all_that_follows_it_runs_again_though_it_succeeded():
    made = plan(OLD, formers(DONE, DONE, DONE, DONE), CHAIN, Choice(start="train"))
    assert actions(made) == {"fetch": "keep", "train": "run", "report": "run", "other": "keep"}
    assert (whys(made)["train"], whys(made)["report"]) == ("asked for", "follows train")


def test_from_a_task_what_never_succeeded_runs_too():
    made = plan(OLD, formers(FAILED, SKIPPED, SKIPPED, DONE), CHAIN, Choice(start="other"))
    assert made.of(Action.RUN) == ("fetch", "train", "report", "other")


def test_only_one_task_runs_and_what_cannot_be_kept_is_left_out():
    made = plan(OLD, formers(DONE, FAILED, SKIPPED, DONE), CHAIN, Choice(only="train"))
    assert actions(made) == {"fetch": "keep", "train": "run", "report": "skip", "other": "keep"}
    assert whys(made)["report"] == "left out: it did not run"


def test_only_one_task_runs_though_others_follow_it():
    made = plan(OLD, formers(DONE, DONE, DONE, DONE), CHAIN, Choice(only="train"))
    assert made.of(Action.KEEP) == ("fetch", "report", "other")


def test_a_task_cannot_run_alone_on_what_never_succeeded():
    with pytest.raises(Conflict, match=r'"report" cannot run alone: it depends on "train".*it failed.*from "train"'):
        plan(OLD, formers(DONE, FAILED, SKIPPED, DONE), CHAIN, Choice(only="report"))


def test_a_pipeline_of_which_nothing_needs_to_run_is_refused():
    with pytest.raises(Conflict, match="every task ended well"):
        plan(OLD, formers(DONE, DONE, DONE, DONE), CHAIN, Choice())


def test_everything_runs_again_when_that_is_asked_for():
    made = plan(OLD, formers(DONE, DONE, DONE, DONE), CHAIN, Choice(everything=True))
    assert set(actions(made).values()) == {"run"}


def test_a_task_that_is_defined_otherwise_now_runs_again_and_what_follows_it():
    now = (spec("fetch", args=("--all",), env={"A": "1"}), *CHAIN[1:])
    made = plan(OLD, formers(DONE, DONE, DONE, FAILED), now, Choice())
    assert set(actions(made).values()) == {"run"}
    assert (whys(made)["fetch"], whys(made)["train"]) == ("changed: args, env", "follows fetch")


def test_new_tasks_run_and_those_that_are_no_more_are_named():
    now = (spec("fetch"), spec("train", "fetch", "prepare"), spec("prepare"))
    made = plan(OLD, formers(DONE, DONE, DONE, DONE), now, Choice())
    assert actions(made) == {"fetch": "keep", "train": "run", "prepare": "run"}
    assert (whys(made)["prepare"], whys(made)["train"]) == ("new in the job", "changed: depends")
    assert made.gone == ("report", "other")


def test_without_its_files_a_task_runs_again():
    made = plan(OLD, formers(DONE, DONE, DONE, FAILED, has_files=False), CHAIN, Choice())
    assert set(whys(made).values()) == {"its files were removed", "it failed"}


@pytest.mark.parametrize("choice", [Choice(start="trian"), Choice(only="trian")])
def test_an_unknown_task_is_answered_with_the_nearest(choice):
    with pytest.raises(NotFound, match="did you mean train"):
        plan(OLD, formers(DONE, FAILED, SKIPPED, DONE), CHAIN, choice)


def test_budgets_limits_and_places_to_run_in_define_nothing():
    before = spec("a", memory_bytes=1, cluster={"node_selector": {"a": "b"}})
    assert differences(before, spec("a", retries=Retries(user=3), timeout_s=5.0, cpu_m=4000)) == []
    now = spec("a", image="b", mounts=(Mount("d", "/d"),), cluster={"secrets": [{"name": "s", "path": "/s"}]})
    assert differences(before, now) == ["image", "mounts", "secrets"]


@given(st.data())
def test_nothing_that_runs_is_waited_for_by_what_is_kept(data):
    """Over random graphs: whoever is kept ended well, and stands on nothing that runs again."""
    size = data.draw(st.integers(1, 8))
    names = [f"t{number}" for number in range(size)]
    graph = [data.draw(st.sets(st.sampled_from(names[:number]))) if number else set() for number in range(size)]
    specs = [spec(name, *sorted(parents)) for name, parents in zip(names, graph, strict=True)]
    statuses = [data.draw(st.sampled_from([DONE, FAILED, SKIPPED, STOPPED])) for _ in names]
    choice = data.draw(st.sampled_from([Choice(), Choice(everything=True), Choice(start=names[0])]))
    try:
        made = plan(OLD, formers(*statuses, specs=specs), specs, choice)
    except Conflict:
        assert set(statuses) == {DONE}
        return
    runs = set(made.of(Action.RUN))
    for one, status in zip(specs, statuses, strict=True):
        if one.name not in runs:
            assert status is DONE
            assert runs.isdisjoint(one.depends)


# ---- the pipeline that comes of it ---------------------------------------------------------------------------------


def kept(verdict=DONE, **fields):
    attempts = (
        Attempt(1, 900.0, AttemptState.ENDED, started_at=901.0, ended_at=902.0, exit_code=1, reason=Reason.EXIT),
        Attempt(2, 903.0, AttemptState.ENDED, started_at=904.0, ended_at=905.0, exit_code=0, reason=Reason.EXIT),
    )
    return Kept(
        OLD,
        verdict,
        f"kept from {OLD}",
        exit_code=0,
        submitted_at=900.0,
        started_at=904.0,
        completed_at=905.0,
        attempts=attempts if verdict is DONE else (),
        **fields,
    )


def test_kept_tasks_are_done_from_the_beginning_and_never_launched():
    sim = Sim()
    sim.submit(*CHAIN[:3], id="job-00000002", built=False, rerun_of=OLD, kept={"fetch": kept()})
    assert sim.statuses() == {"fetch": "executed", "train": "waiting", "report": "waiting"} | {"train": "queued"}
    assert sim.launched == []
    sim.built()
    assert sim.launched == ["job-00000002--train"]
    sim.start("train")
    sim.end("train")
    sim.end("report")
    assert sim.pipeline.outcome == "succeeded"
    fetch = sim.task("fetch")
    assert (fetch.number, fetch.exit_code, fetch.started_at, fetch.origin) == (2, 0, 904.0, OLD)
    assert sim.history()[:2] == ["submitted", "kept fetch"]
    assert sorted(number for _, idx, number in sim.world.changes.attempts if idx == 0) == [1, 2]


def test_a_task_left_out_by_choice_does_not_make_the_pipeline_fail():
    sim = Sim()
    left = kept(SKIPPED)
    sim.submit(*CHAIN[:3], id="job-00000002", built=False, rerun_of=OLD, kept={"fetch": kept(), "report": left})
    sim.built()
    sim.end("train")
    assert (sim.pipeline.outcome, sim.statuses()["report"]) == ("succeeded", "skipped")
