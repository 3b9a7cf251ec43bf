"""The server dies, the runner dies, the machine goes down: what is known afterwards, and that nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odin.executors.protocol import Absent, Away, Back, Ended, Reason, Started
from odin.executors.runner.journal import Journal
from odin.executors.runner.wire import encode

BODY = "echo start $0 >> ledger; while [ ! -e go ]; do sleep 0.05; done; echo end $0 >> ledger; exit 7"
CROWD = [f"t{number}" for number in range(20)]
POINTS = ["before-file", "after-file", "after-exec", "before-end", "after-end"]


def ledger(machine, word):
    lines = machine.ledger.read_text().splitlines() if machine.ledger.exists() else []
    return sorted(line.split()[1] for line in lines if line.startswith(word))


def launch_crowd(machine):
    for name in CROWD:
        machine.launch(name, "/bin/sh", "-c", BODY, name)
    machine.until(lambda: len(ledger(machine, "start")) == len(CROWD))


def knows_codes(machine):
    """Since Linux 6.15 the kernel tells how a process ended that is not our child."""
    release = os.uname().release.split(".")
    return "--portable" not in machine.options and (int(release[0]), int(release[1])) >= (6, 15)


def test_f03_what_was_committed_and_not_launched_is_absent_and_launched_once(machine):
    machine.recall(*CROWD)
    for name in CROWD:
        machine.absent(name)
        machine.shell(name, f"echo start {name} >> ledger", fence=2)
    for name in CROWD:
        assert machine.end(name).code == 0
    assert ledger(machine, "start") == sorted(CROWD)


@pytest.mark.parametrize(
    ("script", "code", "reason"), [("exit 0", 0, "exit"), ("exit 3", 3, "exit"), ("kill -SEGV $$", 139, "signal")]
)
def test_f04_a_task_that_ends_while_the_server_is_down_is_known_with_code_and_times(machine, script, code, reason):
    machine.shell("a", f"echo start a >> ledger; while [ ! -e go ]; do sleep 0.02; done; touch done; {script}")
    started = machine.started("a")
    machine.wait_for_file("ledger")
    machine.crash()
    (machine.here / "go").touch()
    machine.wait_for_file("done")
    moment = time.time()
    time.sleep(0.2)  # the server stays away for a while
    machine.seen.clear()
    machine.open()
    machine.recall("a")
    end = machine.end("a")
    assert (end.code, end.reason) == (code, reason)
    assert end.started_at == started.at
    assert abs(end.ended_at - moment) < 1
    machine.launch("a", "/bin/sh", "-c", "echo start a >> ledger", fence=2)
    machine.settle()
    assert ledger(machine, "start") == ["a"]


def test_f04_a_task_that_runs_on_while_the_server_is_down_is_still_running(machine):
    machine.launch("a", "/bin/sh", "-c", BODY, "a")
    machine.wait_for_file("ledger")
    started = machine.started("a")
    machine.crash()
    machine.seen.clear()
    machine.open()
    assert machine.last(Back).pipelines == ("test-abcd1234",)
    machine.recall("a")
    assert machine.started("a") == started
    (machine.here / "go").touch()
    assert machine.end("a").code == 7


def test_f04_a_server_killed_in_the_middle_of_launching_leaves_nothing_twice(new_machine):
    """A real server process, ended with -9 while its tasks start."""
    script = (
        "import sys, time; from pathlib import Path; from odin.executors.local import LocalExecutor as L; import select\n"
        "from odin.executors.protocol import *; from odin.model.job import TaskSpec\n"
        f"place = L(data=Path({str(new_machine.data)!r}), shared=Path('/'), cpu_m=1_000_000, runner_options={new_machine.options!r}); place.open()\n"
        "while not place.reports(): select.select([place.fileno()], [], [])\n"
        f"argv = lambda n: ('/bin/sh', '-c', 'echo start ' + n + ' >> ledger; echo end ' + n + ' >> ledger')\n"
        f"place.launch([TaskLaunch('test-abcd1234--t%d' % n, 1, argv('t%d' % n), {{}}, {str(new_machine.here)!r}, (), None, 1.0, TaskSpec('t', ('sh',)), Origin('test-abcd1234', 't%d' % n, 1, 'test', '0' * 40, 'ann')) for n in range(200)])\n"
        "print('sent', flush=True); time.sleep(60)\n"
    )
    names = [f"t{number}" for number in range(200)]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as server:
        server.stdout.readline()
        server.kill()
    new_machine.open()
    new_machine.recall(*names)
    new_machine.until(
        lambda: (
            {r.attempt for r in new_machine.seen if isinstance(r, (Ended, Absent, Started))}
            >= set(map(new_machine.id, names))
        )
    )
    for name in names:
        if new_machine.last(Absent, name):
            new_machine.launch(
                name, "/bin/sh", "-c", f"echo start {name} >> ledger; echo end {name} >> ledger", fence=2
            )
        assert new_machine.end(name).code == 0
    assert ledger(new_machine, "start") == sorted(names)
    assert ledger(new_machine, "end") == sorted(names)


@pytest.mark.parametrize("point", POINTS)
def test_f08_a_runner_killed_at_each_point_loses_at_most_codes(new_machine, point):
    machine = new_machine
    number = len(CROWD) + 1 if point in POINTS[:3] else 1
    machine.start_runner(f"runner:{point}:{number}:kill")
    machine.open()
    launch_crowd(machine)
    first = machine.pid
    machine.seen.clear()
    machine.shell("victim", "echo start victim >> ledger; echo end victim >> ledger")
    machine.until(lambda: machine.last(Back))
    assert machine.pid != first
    machine.recall("victim", *CROWD)
    machine.until(
        lambda: all(any(machine.last(kind, name) for kind in (Started, Ended, Absent)) for name in ["victim", *CROWD])
    )
    assert all(machine.last(Started, name) and not machine.last(Ended, name) for name in CROWD)
    _check_victim(machine, point)
    (machine.here / "go").touch()
    ends = [machine.end(name) for name in CROWD]
    expected = (7, Reason.EXIT) if knows_codes(machine) else (None, Reason.LOST)
    assert {(end.code, end.reason) for end in ends} == {expected}
    assert [name for name in ledger(machine, "start") if name != "victim"] == sorted(CROWD)
    assert [name for name in ledger(machine, "end") if name != "victim"] == sorted(CROWD)


def _check_victim(machine, point):
    if point == "before-file":
        machine.absent("victim")
        machine.shell("victim", "echo start victim >> ledger", fence=2)
        assert machine.end("victim").code == 0
    elif point == "after-end":
        assert machine.end("victim").code == 0
    else:
        end = machine.end("victim")
        assert end.reason == Reason.LOST or (knows_codes(machine) and point == "after-exec" and end.code == 0)
    machine.shell("victim", "echo start victim >> ledger", fence=2)
    machine.settle()
    assert ledger(machine, "start").count("victim") == (0 if point == "after-file" else 1)


def test_f08_a_running_task_without_a_witness_is_found_by_its_lock(new_machine):
    machine = new_machine
    machine.start_runner("runner:after-exec:1:kill")
    machine.open()
    machine.seen.clear()
    machine.launch("a", "/bin/sh", "-c", BODY, "a")
    machine.until(lambda: machine.last(Back))
    machine.wait_for_file("ledger")
    machine.recall("a")
    started = machine.started("a")
    assert machine.last(Ended, "a") is None
    assert abs(started.at - time.time()) < 30
    (machine.here / "go").touch()
    assert machine.end("a").code == (7 if knows_codes(machine) else None)
    assert ledger(machine, "start") == ["a"]


def test_f08_a_task_that_closed_its_output_is_seen_by_the_next_runner(machine):
    machine.launch("a", "/bin/sh", "-c", f"exec >&- 2>&-; {BODY}", "a")
    machine.wait_for_file("ledger")
    machine.kill_runner()
    machine.recall("a")
    machine.settle()
    assert machine.last(Ended, "a") is None
    (machine.here / "go").touch()
    machine.end("a")
    assert ledger(machine, "end") == ["a"]


def test_f08_after_a_restart_of_the_machine_nothing_is_adopted(machine):
    machine.launch("a", "/bin/sh", "-c", BODY, "a")
    machine.wait_for_file("ledger")
    pid = machine.started("a").pid
    runner = machine.pid
    machine.crash()
    os.kill(runner, signal.SIGKILL)
    machine.until(lambda: not Path(f"/proc/{runner}").exists())
    _pretend_another_boot(machine)
    machine.seen.clear()
    machine.open()
    machine.recall("a", "b")
    assert machine.end("a").reason == Reason.LOST
    assert machine.end("b").reason == Reason.LOST
    assert "the machine went down" in machine.end("b").message
    os.kill(pid, signal.SIGKILL)


def _pretend_another_boot(machine):
    path = machine.data / "runner" / "journal"
    journal = Journal(str(path))
    records = [{**record, "boot": "another"} if record["op"] == "open" else record for record in journal.records]
    journal.replace(map(encode, records))
    journal.close()


def test_f08_the_next_runner_keeps_what_the_last_one_knew(machine):
    before = machine.run("a", "/bin/sh", "-c", "exit 5")
    identity = machine.executor.runner["runner"]
    machine.kill_runner()
    machine.seen.clear()
    machine.recall("a")
    assert machine.end("a") == before
    assert machine.executor.runner["runner"] == identity


def test_f08_a_journal_torn_by_a_crash_is_cut_back_to_its_last_good_line(machine):
    first = machine.run("a", "/bin/sh", "-c", "exit 5")
    machine.run("b", "/bin/true")
    runner = machine.pid
    machine.crash()
    os.kill(runner, signal.SIGKILL)
    machine.until(lambda: not Path(f"/proc/{runner}").exists())
    path = machine.data / "runner" / "journal"
    text = path.read_bytes().rstrip(b"\0")
    path.write_bytes(text[:-20])
    machine.seen.clear()
    machine.open()
    machine.recall("a", "b")
    assert machine.end("a") == first
    assert machine.end("b").reason == Reason.LOST


def test_f08_a_stop_goes_on_when_the_runner_is_killed_after_asking(new_machine):
    machine = new_machine
    machine.start_runner("runner:term-sent:1:kill")
    machine.open()
    machine.shell("a", "trap '' TERM; echo start a >> ledger; while :; do sleep 0.05; done")
    machine.wait_for_file("ledger")
    machine.seen.clear()
    machine.stop("a", grace_s=0.5)
    machine.until(lambda: machine.last(Back))
    assert machine.end("a").reason == Reason.STOPPED


def test_f08_a_timeout_holds_when_the_runner_is_killed_in_between(machine):
    machine.shell("a", "echo start a >> ledger; exec sleep 600", timeout_s=1.0)
    machine.wait_for_file("ledger")
    machine.kill_runner()
    assert machine.end("a").reason == Reason.TIMEOUT


def test_the_place_is_away_and_back_when_the_runner_is_killed(machine):
    machine.run("a", "/bin/true")
    machine.kill_runner()
    away = machine.last(Away)
    assert "the runner on this machine cannot be reached" in away.message
    assert machine.seen.index(away) < machine.seen.index(machine.last(Back))
    assert machine.run("b", "/bin/true").code == 0


def test_a_second_runner_for_a_data_folder_ends_at_once(machine):
    from odin.executors.connection import ALREADY_RUNNING, runner_command

    assert subprocess.run(runner_command(machine.data), check=False).returncode == ALREADY_RUNNING
    assert machine.run("a", "/bin/true").code == 0


def test_a_runner_is_replaced_in_place_and_keeps_its_children(machine):
    """An upgrade: the same process, with the code of the newer version."""
    machine.launch("a", "/bin/sh", "-c", BODY, "a")
    machine.wait_for_file("ledger")
    machine.run("b", "/bin/true")
    pid = machine.pid
    machine.seen.clear()
    machine.executor.upgrade()
    machine.until(lambda: machine.last(Back))
    assert machine.pid == pid
    machine.recall("a")
    machine.started("a")
    (machine.here / "go").touch()
    assert (machine.end("a").code, machine.end("a").reason) == (7, Reason.EXIT)
    assert machine.end("a").cpu_s is not None
    assert machine.run("c", "/bin/true", fence=2).code == 0


def test_a_runner_that_cannot_be_replaced_goes_on(machine):
    machine.launch("a", "/bin/sh", "-c", BODY, "a")
    machine.wait_for_file("ledger")
    machine.executor._send({"op": "upgrade", "argv": ["/no/such/python"]})
    (machine.here / "go").touch()
    assert machine.end("a").code == 7
    assert "could not be replaced" in machine.messages()
