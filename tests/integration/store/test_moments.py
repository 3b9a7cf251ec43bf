"""What time it is for the servers of a database, whatever their own clocks say."""

import time

import pytest
from sqlalchemy import insert

from odin.engine.clock import Clock
from odin.store.moments import moment
from odin.store.schema import events, pipelines

DAY_S = 86_400.0


def happened(database, at, *, outcome=None):
    """A pipeline whose last event was then, by the clock of that time."""
    row = {"id": "job-00000001", "name": "job", "job": "job", "version": "a" * 40, "username": "ada", "user_uid": 1}
    row |= {"status": "RUNNING" if outcome is None else "DONE", "outcome": outcome, "on_failure": "stop", "fence": 1}
    row |= {"submitted_at": at, "task_count": 1, "seq": 2, "context": "{}", "warnings": "[]"}
    with database.writer() as connection:
        connection.execute(insert(pipelines).values(row))
        for seq in (1, 2):
            event = {"pipeline": row["id"], "seq": seq, "at": at - 2 + seq, "type": "submitted"}
            connection.execute(insert(events).values(event))


def test_the_time_is_what_clocks_say(database):
    happened(database, time.time() - DAY_S)
    before = time.time()
    assert before - 1 <= moment(database) <= time.time() + 1


def test_f12_no_time_is_before_what_is_in_flight_last_happened(database):
    ahead = time.time() + DAY_S
    happened(database, ahead)
    assert moment(database) == ahead
    assert Clock(moment(database)).now() >= ahead


def test_f12_what_is_over_says_nothing_of_the_time(database):
    happened(database, time.time() + DAY_S, outcome="succeeded")
    assert moment(database) < time.time() + 1


def test_f12_servers_of_one_database_go_by_its_clock(postgresql, monkeypatch):
    true = time.time()
    monkeypatch.setattr(time, "time", lambda: true + DAY_S)
    assert moment(postgresql) == pytest.approx(true, abs=DAY_S / 2)
