"""What the rows say should be there, and which pipelines may go: the same of both kinds of database."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from odin.model.ids import AttemptId, PipelineId
from odin.store import census, expiry
from odin.store.deletion import Deletions
from odin.store.expiry import Expiry
from odin.store.queries import Queries
from odin.store.schema import attempts, events, pipelines, tasks

SHA = "a" * 40


def add(database, identity, *, status="DONE", outcome="succeeded", completed_at=1.0, seq=1, names=("a",), **fields):
    """A pipeline with its tasks, an attempt of the first and its first event."""
    row = {
        "id": identity,
        "name": "job",
        "job": "job",
        "version": SHA,
        "username": "ada",
        "user_uid": 1,
        "status": status,
        "outcome": outcome,
        "on_failure": "stop",
        "submitted_at": 0.0,
        "completed_at": completed_at,
        "task_count": len(names),
        "seq": seq,
        "context": "{}",
        "warnings": "[]",
        "fence": 1,
    }
    with database.writer() as connection:
        connection.execute(insert(pipelines).values(row | fields))
        for idx, name in enumerate(names):
            task = {"pipeline": identity, "idx": idx, "name": name, "spec": "{}", "status": "executed", "attempt": 1}
            connection.execute(insert(tasks).values(task | {"origin": "other" if name == "kept" else None}))
        tried = {"pipeline": identity, "idx": 0, "number": 1, "state": "ended", "planned_at": 0.0, "log_bytes": 7}
        connection.execute(insert(attempts).values(tried))
        event = {"pipeline": identity, "seq": 1, "at": 0.0, "type": "submitted"}
        connection.execute(insert(events).values(event))
    return PipelineId(identity)


def test_a_census_tells_pipelines_attempts_and_what_was_cleaned_up(database):
    done = add(database, "done-00000001", names=("a", "kept"))
    running = add(database, "runs-00000001", status="RUNNING", outcome=None, completed_at=None)
    gone = add(database, "gone-00000001")
    Deletions(database).begin(gone, db=True, fs=True)
    Deletions(database).finish(gone, db=True)
    found = census.take(database)
    assert list(found.pipelines) == [done, running]
    assert found.buried == {gone}
    assert found.pipelines[done].tasks == {"a": False, "kept": True}
    assert [found.pipelines[each].stands for each in (done, running)] == [False, True]
    assert set(found.attempts) == {f"{done}--a", f"{running}--a"}
    assert found.attempts[AttemptId(f"{done}--a")].log_bytes == 7
    assert (found.adrift, found.gaps) == ({}, {})


def test_rows_of_nobody_are_counted_and_no_others_deleted(database):
    here = add(database, "here-00000001")
    with database.writer() as connection:
        for seq in (1, 2):
            connection.execute(insert(events).values(pipeline="lost-00000001", seq=seq, at=0.0, type="submitted"))
    assert census.take(database).adrift == {("events", "lost-00000001"): 2}
    census.remove_adrift(database, "events", "lost-00000001")
    census.remove_adrift(database, "events", here)
    assert census.take(database).adrift == {}
    assert len(Queries(database).events(here)) == 1


def test_a_history_with_a_gap_is_told(database):
    add(database, "whole-00000001")
    torn = add(database, "torn-00000001", seq=3)
    assert census.take(database).gaps == {torn: (3, 1)}


def test_a_row_says_what_is_left_of_its_log(database):
    identity = add(database, "done-00000001")
    tried = census.take(database).attempts[AttemptId(f"{identity}--a")]
    census.note_log(database, tried, 3)
    again = census.take(database).attempts[AttemptId(f"{identity}--a")]
    assert (again.log_bytes, again.message) == (3, "3 of the 7 bytes of its log are left (odin-fsck)")
    census.note_log(database, again, None)
    last = census.take(database).attempts[AttemptId(f"{identity}--a")]
    assert last.log_bytes is None
    assert last.message == f"{again.message}; 0 of the 3 bytes of its log are left (odin-fsck)"


@pytest.mark.parametrize("page", [1, 2, 500])
def test_the_pipelines_that_ended_first_are_the_first_that_may_go(database, monkeypatch, page):
    monkeypatch.setattr(expiry, "PAGE", page)
    late, early = add(database, "late-00000001", completed_at=9.0), add(database, "early-0000001", completed_at=2.0)
    beside = add(database, "early-0000002", completed_at=2.0)
    add(database, "runs-00000001", status="RUNNING", outcome=None, completed_at=None)
    cleaned = add(database, "clean-0000001", completed_at=1.0)
    Deletions(database).begin(cleaned, db=False, fs=True)
    assert [each.id for each in Expiry(database).finished()] == [early, beside, late]


@pytest.mark.parametrize(("outcome", "begins"), [(None, False), ("succeeded", True)])
def test_a_pipeline_that_a_running_one_goes_on_from_is_not_begun_to_be_removed(database, outcome, begins):
    before = add(database, "before-000001")
    add(database, "after-0000001", status="RUNNING", outcome=outcome, rerun_of=before)
    assert Expiry(database).begin(before) is begins
    with database.reader() as connection:
        marked = connection.execute(select(pipelines.c.deleting).where(pipelines.c.id == before)).scalar_one()
    assert (marked is not None) is begins


def test_a_removal_is_begun_once_and_never_of_what_runs(database):
    done = add(database, "done-00000001")
    running = add(database, "runs-00000001", status="RUNNING", outcome=None, completed_at=None)
    expiry = Expiry(database)
    assert [expiry.begin(done), expiry.begin(done), expiry.begin(running), expiry.begin(PipelineId("none"))] == [
        True,
        False,
        False,
        False,
    ]
    assert [each.pipeline for each in Deletions(database).begun()] == [done]
