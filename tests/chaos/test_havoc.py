"""A little of ``make chaos``: everything that can be broken is broken once, and what came of it is judged."""

from __future__ import annotations

import pytest

from chaos.havoc import Dose, Havoc, only_these_differ, parts
from chaos.oracle import Fate
from chaos.scoreboard import Row, show, unmeasured

DOSE = Dose(pipelines=4, tasks=20, kills=7)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_breaks_nothing_is_lost_doubled_or_stuck(kind):
    with parts(kind) as there:
        havoc = Havoc(DOSE, there, "havoc")
        havoc.run()
    tally, breaks = havoc.tally, havoc.breaks
    assert tally.faults == [], (tally, breaks)
    assert len(tally.launched) == DOSE.pipelines
    assert breaks.kills >= DOSE.kills


def told(**tasks):
    names = ("status", "exitCode", "attempt", "depends")
    return {"tasks": {name: dict(zip(names, fields, strict=True)) for name, fields in tasks.items()}}


FATES = {"a": Fate("executed"), "b": Fate("failed", 3), "c": Fate("executed")}


def test_what_depends_on_an_excused_task_is_skipped_and_all_else_meets_its_fate():
    lost = ("failed", None, 1, [])
    only_these_differ(told(a=lost, b=("failed", 3, 1, []), c=("skipped", None, 0, ["a"])), FATES, {"a"})
    with pytest.raises(AssertionError):
        only_these_differ(told(a=lost, b=("executed", 0, 1, []), c=("skipped", None, 0, ["a"])), FATES, {"a"})
    with pytest.raises(AssertionError):
        only_these_differ(told(a=lost, b=("failed", 3, 1, []), c=("executed", 0, 1, ["a"])), FATES, {"a"})


def test_the_scoreboard_tells_each_row_in_order_and_whether_it_is_met(capsys):
    rows = [
        unmeasured("R10", "growth", "0", "only when asked"),
        Row("R2", "kills", "1 lost", "0", met=False),
        Row("R1", "points", "0 of 47", "0", met=True),
    ]
    show(rows)
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["R1", "R2", "R10"]
    assert [line.split("  ")[-1].strip() for line in lines] == ["met", "NOT MET", "not measured here"]
