"""Several servers at one runner: who may do what, who is told, and that nothing is given out twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from odin.executors.protocol import Absent, Away, Back, Ended, Held, Recall, Started
from odin.executors.runner import ledger
from odin.executors.runner.journal import Journal
from odin.executors.runner.ledger import Ledger
from odin.executors.runner.wire import encode

from .conftest import Machine

GATE = "echo start $0 >> ledger; until [ -e go ]; do sleep 0.02; done; echo end $0 >> ledger"
SHOW = "echo $CUDA_VISIBLE_DEVICES > cards-$0; until [ -e go ]; do sleep 0.02; done"
OTHER = "other-abcd1234"
Beside = Callable[..., Machine]


@pytest.fixture
def beside(new_machine: Machine) -> Iterator[Beside]:
    """Makes servers on one data folder."""
    made = [new_machine]

    def make(**settings: Any) -> Machine:
        if not made[0].place:
            made[0].settings = settings
            return made[0].open()
        other = Machine(*new_machine.options, root=new_machine.root, **settings)
        made.append(other)
        return other.open()

    yield make
    (new_machine.here / "go").touch()
    for each in made[1:]:
        each.close()
    if new_machine.place and not new_machine.last(Ended, "a"):  # it may be another's by now
        new_machine.recall("a", "b", "c", fence=99)
        new_machine.settle()


def started(machine: Machine) -> list[str]:
    lines = machine.ledger.read_text().splitlines() if machine.ledger.exists() else []
    return sorted(line.split()[1] for line in lines if line.startswith("start"))


def gated(machine: Machine, name: str, **more: Any) -> str:
    return machine.launch(name, "/bin/sh", "-c", GATE, name, **more)


def test_each_is_told_of_its_own_tasks_alone(beside: Beside) -> None:
    one, two = beside(), beside(pipeline=OTHER)
    for each in (one, two):
        assert each.run("a", "/bin/true").code == 0
    for each in (one, two):
        each.settle()
        assert {report.attempt for report in each.seen if isinstance(report, Ended)} == {each.id("a")}


def test_f51_after_a_takeover_the_former_owner_can_neither_launch_nor_stop_and_is_told_nothing(beside: Beside) -> None:
    one, two = beside(), beside()
    gated(one, "a")
    one.wait_for_file("ledger")
    two.recall("a", "b", fence=2)
    two.started("a")
    two.absent("b")
    one.stop("a", grace_s=0.0)
    gated(one, "b")
    one.executor.recall({one.id("b"): Recall(1, "Pod")})
    gated(one, "b")
    one.settle()
    gated(two, "b", fence=2)
    two.started("b")
    (one.here / "go").touch()
    assert [two.end(name).code for name in ("a", "b")] == [0, 0]
    one.settle()
    assert one.last(Ended) is None
    assert started(one) == ["a", "b"]


def test_f51_a_former_owner_that_connects_again_does_not_become_the_owner(beside: Beside) -> None:
    one, two = beside(), beside()
    gated(one, "a")
    one.wait_for_file("ledger")
    two.recall("a", fence=2)
    two.started("a")
    one.crash()
    one.seen.clear()
    one.open()
    one.recall("a", fence=1)
    one.started("a")
    one.stop("a", grace_s=0.0)
    (one.here / "go").touch()
    assert two.end("a").code == 0
    one.settle()
    assert one.last(Ended) is None


def test_f51_nothing_is_launched_under_an_old_fence_when_the_pipeline_is_long_over(beside: Beside) -> None:
    """Also when all that was left of it was removed, and by the next runner too."""
    one, two = beside(), beside()
    two.recall("a", fence=2)
    two.absent("a")
    assert two.run("a", "/bin/sh", "-c", GATE.replace("until", "while false && "), "a", fence=2).code == 0
    two.executor.acknowledge([two.id("a")])
    two.executor.forget([two.id("a").partition("--")[0]])
    two.settle()
    for path in (one.data / "logs").rglob("*.log"):
        path.unlink()
    gated(one, "a", fence=1)
    one.settle()
    os.kill(one.pid, signal.SIGKILL)
    for each in (one, two):
        each.seen.clear()
        each.until(lambda each=each: each.last(Back))
    gated(one, "a", fence=1)
    one.settle()
    assert started(one) == ["a"]


def test_f51_an_old_fence_outlives_the_rewriting_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "journal")

    def opened() -> Ledger:
        return Ledger(Journal(path), runner="r", boot="b")

    first = opened()
    for pipeline, fence in (("alone-1", 1), ("taken-1", 3)):
        assert first.admits(pipeline, fence)
    first.forget(["alone-1", "taken-1"])
    monkeypatch.setattr(ledger, "REWRITE_AT", 0)
    first.flush()
    again = opened()
    assert again.pipelines == []
    assert [again.admits("taken-1", fence) for fence in (2, 3, 4)] == [False, False, True]


def test_what_a_server_launched_that_is_gone_runs_on_and_is_told_to_who_asks(beside: Beside) -> None:
    one, two = beside(), beside()
    gated(one, "a")
    one.wait_for_file("ledger")
    one.crash()
    (two.here / "go").touch()
    two.until(lambda: len(two.ledger.read_text().splitlines()) == 2)
    two.recall("a", fence=2)
    assert two.end("a").code == 0
    assert started(two) == ["a"]


def test_a_runner_ends_when_the_last_server_says_goodbye(beside: Beside) -> None:
    one, two = beside(), beside()
    runner = Path(f"/proc/{one.pid}")
    one.close()
    assert two.run("a", "/bin/true").code == 0
    assert runner.exists()
    two.close()
    two.until(lambda: not runner.exists() or (runner / "stat").read_text().split()[2] == "Z")


def test_one_does_not_make_the_runner_forget_what_runs_for_another(beside: Beside) -> None:
    one, two = beside(), beside()
    gated(one, "a")
    one.wait_for_file("ledger")
    two.executor.forget([one.id("a").partition("--")[0]])
    two.settle()
    (one.here / "go").touch()
    assert one.end("a").code == 0


def test_what_does_not_fit_waits_for_what_others_run_and_goes_in_the_order_of_arrival(beside: Beside) -> None:
    one, two = beside(cpu_m=2000), beside(cpu_m=2000, pipeline=OTHER)
    gated(one, "a")
    one.wait_for_file("ledger")
    two.launch("both", "/bin/sh", "-c", GATE, "both", spec=one.spec(cpu_m=2000))
    two.settle()
    gated(one, "late")
    one.settle()
    assert started(one) == ["a"]
    assert two.last(Started, "both") is None
    assert "other servers" in two.last(Held, "both").why
    (one.here / "go").touch()
    for each, name in ((one, "a"), (two, "both"), (one, "late")):
        assert each.end(name).code == 0
    lines = one.ledger.read_text().split("\n")
    assert lines[:4] == ["start a", "end a", "start both", "end both"]


def test_what_waits_can_be_stopped_and_recalled_as_what_never_began(beside: Beside) -> None:
    one, two = beside(cpu_m=1000), beside(cpu_m=1000, pipeline=OTHER)
    gated(one, "a")
    one.wait_for_file("ledger")
    gated(two, "b")
    gated(two, "c")
    two.stop("b")
    assert two.end("b").reason == "void"
    two.recall("c", fence=2)
    two.absent("c")
    (one.here / "go").touch()
    assert one.end("a").code == 0
    assert two.run("c", "/bin/true", fence=2).code == 0
    assert started(one) == ["a"]


def test_a_launch_that_waits_is_dropped_when_its_owner_is_not_the_owner_any_more(beside: Beside) -> None:
    one, two = beside(cpu_m=1000), beside(cpu_m=1000)
    gated(one, "a")
    one.wait_for_file("ledger")
    gated(two, "b")
    two.settle()
    one.recall("a", "b", fence=2)
    one.absent("b")
    (one.here / "go").touch()
    assert one.end("a").code == 0
    one.settle()
    assert started(one) == ["a"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_gpu_is_never_given_twice(beside: Beside, restarted: bool) -> None:
    """Both take the first for free; the later one is given another, and the third waits. Also by the next runner."""
    one, two = beside(cards=("0", "1")), beside(cards=("0", "1"), pipeline=OTHER)
    one.launch("a", "/bin/sh", "-c", SHOW, "a", cards=("0",), env={"CUDA_VISIBLE_DEVICES": "0"})
    assert one.started("a").cards == ("0",)
    if restarted:
        os.kill(one.pid, signal.SIGKILL)
        for each in (one, two):
            each.until(lambda each=each: each.last(Away) and isinstance(each.seen[-1], Back))
        one.recall("a")
    two.launch("b", "/bin/sh", "-c", SHOW, "b", cards=("0",), env={"CUDA_VISIBLE_DEVICES": "0"})
    assert two.started("b").cards == ("1",)
    two.wait_for_file("cards-b")
    two.until(lambda: (two.here / "cards-b").read_text() == "1\n")
    two.launch("c", "/bin/sh", "-c", SHOW, "c", cards=("1",), env={"CUDA_VISIBLE_DEVICES": "1"})
    two.settle()
    assert two.last(Started, "c") is None
    (one.here / "go").touch()
    assert two.end("c").code is not None


def test_an_older_server_leaves_the_runner_of_a_newer_one_as_it_is(beside: Beside) -> None:
    one = beside()
    pid = one.pid
    one.executor._send({"op": "upgrade", "argv": [*one.executor._connector.command(), "--version=999.0"]})
    one.seen.clear()
    one.until(lambda: one.last(Back))
    assert one.executor.runner["version"] == "999.0"
    one.seen.clear()
    two = beside()
    assert two.run("a", "/bin/true").code == 0
    assert (two.pid, two.executor.runner["version"]) == (pid, "999.0")
    one.settle()
    assert one.last(Away) is None


def test_what_waits_is_not_held_up_by_a_program_that_is_not_there(beside: Beside) -> None:
    """What was before it in line never began, so nothing that ends would start it."""
    settings: dict[str, Any] = {"cpu_m": 1000, "cards": ("0",)}
    one, two = beside(**settings), beside(pipeline=OTHER, **settings)
    gated(one, "a", cards=("0",))
    one.wait_for_file("ledger")
    two.launch("wrong", "/no/such/program", cards=("0",))
    two.launch("right", "/bin/true", cards=("0",))
    two.settle()
    (one.here / "go").touch()
    assert two.end("wrong").code == 127
    assert two.end("right").code == 0


@pytest.mark.parametrize("withdrawn", ["stopped", "recalled"])
def test_what_waits_starts_when_what_it_waited_behind_is_withdrawn(beside: Beside, withdrawn: str) -> None:
    one, two = beside(cpu_m=2000), beside(cpu_m=2000, pipeline=OTHER)
    gated(one, "a")
    one.wait_for_file("ledger")
    two.launch("both", "/bin/true", spec=one.spec(cpu_m=2000))
    two.settle()
    one.launch("small", "/bin/true")
    one.settle()
    assert one.last(Started, "small") is None
    if withdrawn == "stopped":
        two.stop("both")
    else:
        two.recall("both")
    assert one.end("small").code == 0


def lose_power(machine: Machine) -> None:
    """The server and its runner die, and the runner's journal is of another boot."""
    die(machine, lambda each: {**each, "boot": "another"} if each["op"] in ("open", "boot") else each)


def die(machine: Machine, then: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The server and its runner die; ``then`` is what becomes of each record of the journal."""
    runner = machine.pid
    machine.crash()
    os.kill(runner, signal.SIGKILL)
    machine.until(lambda: not Path(f"/proc/{runner}").exists())
    journal = Journal(str(machine.data / "runner" / "journal"))
    journal.replace(encode(then(each)) for each in journal.records)
    journal.close()
    machine.seen.clear()


def leave(machine: Machine, how: str) -> None:
    runner = Path(f"/proc/{machine.pid}")
    if how == "crashes":
        machine.crash()
    else:
        machine.close()
        machine.until(lambda: not runner.exists() or (runner / "stat").read_text().split()[2] == "Z")


def test_after_a_restart_of_the_machine_each_server_is_told_that_what_is_unknown_may_have_run(beside: Beside) -> None:
    one = beside()
    lose_power(one)
    one.open()
    two = beside(pipeline=OTHER)
    for each in (one, two):
        each.recall("a")
        assert each.end("a").reason == "lost"
    one.recall("b", fence=2)
    one.absent("b")


@pytest.mark.parametrize("how", ["crashes", "says goodbye"])
def test_what_may_have_run_before_a_restart_of_the_machine_is_lost_also_when_another_server_came_and_went(
    beside: Beside, how: str
) -> None:
    one = beside()
    planned_at = time.time()
    lose_power(one)
    two = Machine(*one.options, root=one.root, pipeline=OTHER).open()
    leave(two, how)
    one.open()
    one.recall("a", planned_at=planned_at)
    assert one.end("a").reason == "lost"


@pytest.mark.parametrize("runner", ["lives", "is killed"])
def test_what_was_planned_after_a_restart_of_the_machine_is_not_called_lost(beside: Beside, runner: str) -> None:
    """Its server was killed before it could launch it."""
    one = beside()
    planned_at = time.time()
    lose_power(one)
    one.open()
    if runner == "is killed":
        one.kill_runner()
    one.recall("old", planned_at=planned_at)
    assert one.end("old").reason == "lost"
    two = beside(pipeline=OTHER)
    two.recall("new", planned_at=time.time() + ledger.CLOCK_SLACK_S)
    two.absent("new")


def test_gpus_of_tasks_that_an_older_runner_started_are_not_given_twice(beside: Beside) -> None:
    """Its journal does not say which they have."""
    one = beside(cards=("0", "1"))
    one.launch("a", "/bin/sh", "-c", SHOW, "a", cards=("0",))
    one.started("a")
    make_older(one)
    one.open()
    two = beside(cards=("0", "1"), pipeline=OTHER)
    two.launch("b", "/bin/true", cards=("0",))
    two.settle()
    begun = two.last(Started, "b")
    assert begun is None or begun.cards == ("1",)
    (one.here / "go").touch()
    assert two.end("b").code == 0


def test_no_gpu_is_given_while_something_runs_that_may_have_it(beside: Beside) -> None:
    one = beside()
    gated(one, "a")
    one.wait_for_file("ledger")
    make_older(one)
    one.open()
    two = beside(cards=("0", "1"), pipeline=OTHER)
    two.launch("b", "/bin/true", cards=("0",))
    assert two.run("c", "/bin/true").code == 0
    assert two.last(Started, "b") is None
    (one.here / "go").touch()
    assert two.end("b").code == 0


def make_older(machine: Machine) -> None:
    """The server and its runner die, and the journal is as one before 0.2 wrote it."""
    die(machine, lambda each: {name: each[name] for name in each.keys() - {"cards", "cpu"}})


def test_what_a_dead_server_had_sent_is_not_done_after_its_successor_was_greeted(beside: Beside) -> None:
    """More than is read at once. What the successor was told never began must not begin."""
    one = beside()
    runner = one.pid
    names = [f"t{number}" for number in range(300)]
    os.kill(runner, signal.SIGSTOP)
    one.executor.launch([one.task(name, "/bin/true", env={"X": "x" * 400}) for name in names])
    one.crash()
    two = Machine(*one.options, root=one.root)
    threading.Timer(0.5, os.kill, (runner, signal.SIGCONT)).start()
    two.open()
    two.recall(*names, fence=1)
    two.settle()
    never = [name for name in names if two.last(Absent, name)]
    assert never
    two.recall(*never, fence=1)
    two.settle()
    two.close()
    one.seen.clear()
    one.open()
    assert [name for name in never if two.last(Started, name) or two.last(Ended, name)] == []
