"""Events of a cluster in the database: whose they are, each once, bounded, gone with their pipeline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert

from odin.model.happenings import Happening
from odin.model.ids import AttemptId, PipelineId
from odin.store import happenings
from odin.store.deletion import Deletions
from odin.store.happenings import Happenings
from odin.store.queries import Queries
from odin.store.schema import tasks

PIPE = "job-1a2b3c4d"
TOLD = Happening("e1", "Pod", f"{PIPE}--a", None, 10.0, 1, "Normal", "Started", "kubelet n1", "Started container task")


@pytest.fixture
def told(database):
    with database.writer() as connection:
        for idx, name in enumerate(("a", "a-b")):
            values = {"pipeline": PIPE, "idx": idx, "name": name, "spec": "{}", "status": "executing", "attempt": 1}
            connection.execute(insert(tasks).values(values))
    return Happenings(database)


def kept(database, **wanted):
    return [(idx, number, each.uid, each.count) for idx, number, each in Queries(database).happenings(PIPE, **wanted)]


def test_events_are_found_by_their_task_in_order_of_time(told, database):
    told.keep([
        replace(TOLD, uid="late", at=20.0, name=f"{PIPE}--a-b--2-worker-0"),
        TOLD,
        replace(TOLD, uid="known", at=15.0, name=f"{PIPE}--a-b-0", attempt=AttemptId(f"{PIPE}--a--3")),
    ])  # fmt: skip
    assert kept(database) == [(0, 1, "e1", 1), (0, 3, "known", 1), (1, 2, "late", 1)]
    assert kept(database, idx=1) == [(1, 2, "late", 1)]
    assert Queries(database).happenings(PIPE, idx=0)[0][2] == TOLD


def test_an_event_that_comes_again_is_kept_once_with_its_count(told, database):
    told.keep([TOLD])
    told.keep([replace(TOLD, count=9, at=30.0)])
    assert kept(database) == [(0, 1, "e1", 9)]


def test_events_of_no_pipeline_that_is_here_are_passed_by(told, database):
    foreign = [replace(TOLD, uid="x", name=name) for name in ("other-1a2b3c4d--a", f"{PIPE}--c", f"{PIPE}--", "--", "")]
    told.keep(foreign)
    assert kept(database) == []


def test_of_too_many_the_oldest_go(told, database, monkeypatch):
    monkeypatch.setattr(happenings, "MOST", 3)
    told.keep([replace(TOLD, uid=f"e{at}", at=float(at)) for at in range(10)])
    assert [uid for _, _, uid, _ in kept(database)] == ["e7", "e8", "e9"]


def test_they_are_gone_with_their_pipeline(told, database):
    told.keep([TOLD])
    Deletions(database).finish(PipelineId(PIPE), db=True)
    assert kept(database) == []
    told.keep([TOLD])
    assert kept(database) == []
