"""What the benchmarks say of their figures, and that Odin, make and ninja are given the same graph."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from odin.model.ids import JobPath
from odin.model.jobfile import parse

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def program(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(BENCHMARKS / f"{name}.py")))


shapes, table = program("shapes"), program("table")
GRAPHS = (
    shapes.fan_out(500), shapes.chain(100), shapes.layers(20, 25, 3), shapes.diamond(), shapes.training(1),
    shapes.training(40),
)  # fmt: skip


def row(odin, floor=(), *, target=None, percentile=50):
    return table.Row("W1", "fan-out", "ms", odin, floor, target, percentile)


# ---- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, "goal"), (1.7, "goal"), (1.71, "first"), (4, "first"), (4.1, "no")]
)
def test_a_limit_from_above_is_met_up_to_it(value, verdict):
    assert table.Target(4, 1.7).verdict(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.65, "goal"), (0.64, "first"), (0.35, "first"), (0.34, "no")])
def test_a_limit_from_below_is_met_from_it_on(value, verdict):
    assert table.Target(0.35, 0.65, at_least=True).verdict(value) == verdict


def test_a_slow_round_of_the_machine_does_not_move_the_ratio():
    quiet_and_busy = row([10.0, 100.0, 10.0], [5.0, 50.0, 5.0])
    assert quiet_and_busy.value == 2.0


def test_without_a_floor_the_figure_itself_is_judged():
    assert row([1.0, 9.0, 2.0], target=table.Target(2, 1)).verdict == "first"


def test_a_percentile_is_judged_where_the_median_says_nothing():
    answers = [1.0] * 98 + [500.0] * 2
    assert row(answers, target=table.Target(100, 20), percentile=99).verdict == "no"
    assert row(answers, target=table.Target(100, 20)).verdict == "goal"


def test_a_figure_without_a_target_is_shown_and_not_judged():
    shown = row([3.0], [2.0])
    assert (shown.verdict, shown.cells()[-1]) == ("", "")
    assert table.missed([shown]) == []


def test_what_is_short_of_its_first_target_is_named():
    short, met = row([9.0], target=table.Target(4, 1)), row([2.0], target=table.Target(4, 1))
    assert table.missed([short, met]) == ["W1 fan-out"]
    assert [line.split()[-1] for line in table.render([short, met]).splitlines()[2:]] == ["NO", "yes"]


def test_columns_stand_below_one_another():
    lines = table.render([row([1234.5], [2.0], target=table.Target(4, 1)), row([7.0])]).splitlines()
    assert lines[2].index("1,234 ms") + len("1,234 ms") == lines[3].index("7 ms") + len("7 ms")


def test_the_spread_of_the_rounds_is_kept():
    facts = row([3.0, 1.0, 2.0], [1.0, 1.0, 1.0]).facts()
    assert facts["ratio"] == {"min": 1.0, "median": 2.0, "max": 3.0, "rounds": 3}
    assert (facts["first"], facts["verdict"]) == (None, None)


# ---- the graphs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", GRAPHS, ids=lambda shape: f"{shape.name}-{len(shape)}")
def test_odin_reads_the_graph_that_was_meant(shape):
    job = parse(shapes.main_yml(shape), path=JobPath("bench"))
    assert {task.name: set(task.depends) for task in job.tasks} == {
        name: set(parents) for name, parents in shape.depends.items()
    }


@pytest.mark.parametrize("shape", GRAPHS, ids=lambda shape: f"{shape.name}-{len(shape)}")
def test_make_and_ninja_are_given_the_same_edges(shape):
    edges = {(name, parent) for name, parents in shape.depends.items() for parent in parents}
    made = [line.split(": ") for line in shapes.makefile(shape).splitlines()[2:] if ": " in line]
    assert {(name, parent) for name, parents in made for parent in parents.split()} == edges
    built = [line.removeprefix("build ") for line in shapes.build_ninja(shape).splitlines() if "build " in line]
    split = [(line.partition(":")[0], line.partition("|")[2]) for line in built]
    assert {(name, parent) for name, parents in split for parent in parents.split()} == edges


def test_layers_are_the_same_in_every_run():
    assert shapes.layers(20, 25, 3) == shapes.layers(20, 25, 3)
    assert {len(parents) for parents in list(shapes.layers(20, 25, 3).depends.values())[25:]} == {3}
