"""Stopping, and everything that a task may leave behind."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from odin.executors.protocol import Ended, Reason
from odin.executors.runner.journal import Journal
from odin.executors.runner.portable import Processes as PortableProcesses
from odin.executors.runner.wire import encode

from .conftest import processes


def nap() -> str:
    """A sleep that can be told from all others by its length."""
    return f"sleep {random.randint(10_000, 99_999)}.{random.randint(10_000, 99_999)}"


def alive(command: str) -> list[int]:
    return [pid for pid, line in processes() if line.strip().startswith(command)]


@contextmanager
def killed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def test_a_stop_asks_waits_and_reports_the_code_of_the_task(machine):
    machine.shell("a", "trap 'echo bye; exit 7' TERM; echo ready > ready; while :; do sleep 0.05; done")
    machine.wait_for_file("ready")
    machine.stop("a")
    end = machine.end("a")
    assert (end.code, end.reason, end.message) == (7, Reason.STOPPED, "cancelled by ann")
    assert machine.log("a").endswith(b"bye\n")


def test_a_stop_of_what_never_started_is_void_and_it_never_starts(machine):
    machine.stop("a")
    assert machine.end("a").reason == Reason.VOID
    machine.seen.clear()
    machine.shell("a", "echo ran >> ledger")
    assert machine.end("a").reason == Reason.VOID
    machine.crash()
    machine.open()
    machine.recall("a")
    assert machine.end("a").reason == Reason.VOID
    assert not machine.ledger.exists()


def test_a_stop_of_what_ended_repeats_its_end(machine):
    end = machine.run("a", "/bin/sh", "-c", "exit 3")
    machine.seen.clear()
    machine.stop("a")
    assert machine.end("a") == end


def test_a_second_stop_can_shorten_the_grace(machine):
    machine.shell("a", "trap '' TERM; echo ready > ready; while :; do sleep 0.05; done")
    machine.wait_for_file("ready")
    machine.stop("a", grace_s=600)
    machine.stop("a", grace_s=0.1)
    assert machine.end("a").code == 137


def test_f80_a_shell_that_ignores_everything_is_killed_after_the_grace(machine):
    command = nap()
    machine.shell("a", f"trap '' TERM INT HUP QUIT; {command} & echo ready > ready; while :; do wait; done")
    machine.wait_for_file("ready")
    machine.stop("a", grace_s=0.4)
    end = machine.end("a")
    assert (end.code, end.reason) == (137, Reason.STOPPED)
    assert end.message == "cancelled by ann; it did not end within 0.4 s of SIGTERM and was killed"
    assert not alive(command)


def test_f80_a_stopped_process_wakes_up_to_end(machine):
    machine.shell("a", "trap 'exit 4' TERM; echo ready > ready; kill -STOP $$; while :; do sleep 0.05; done")
    machine.wait_for_file("ready")
    pid = machine.started("a").pid
    machine.until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    machine.stop("a")
    assert machine.end("a").code == 4


def test_f80_a_process_that_waits_without_interruption_is_killed(linux):
    script = "import ctypes, os; open('ready', 'w'); libc = ctypes.PyDLL(None); pid = libc.vfork(); os.execv('/bin/sleep', ['sleep', '600']) if False else libc.pause()"
    linux.launch("a", sys.executable, "-c", script)
    linux.wait_for_file("ready")
    linux.stop("a", grace_s=0.3)
    assert linux.end("a").reason == Reason.STOPPED


def test_f80_many_are_stopped_at_once(machine):
    names = [f"t{number}" for number in range(40)]
    command = nap()
    for name in names:
        machine.shell(name, f"{command} & {command} & wait")
    for name in names:
        machine.started(name)
    for name in names:
        machine.stop(name)
    assert {machine.end(name).reason for name in names} == {Reason.STOPPED}
    assert not alive(command)


DAEMONS = {
    "background": "{nap} &",
    "nohup": "nohup {nap} >/dev/null 2>&1 &",
    "setsid": "setsid {nap} &",
    "setsid-fork": "setsid --fork {nap}",
    "double-fork": "( ( {nap} & ) & )",
    "double-fork-setsid": "( setsid sh -c '{nap} & {nap} &' & )",
    "closed-output": "( setsid {nap} >/dev/null 2>&1 </dev/null & )",
    "no-environment": "( setsid env -i {nap} >/dev/null 2>&1 & )",
    "ignores-term": "( setsid sh -c 'trap \"\" TERM; {nap}' >/dev/null 2>&1 & )",
}


@pytest.mark.parametrize("kind", DAEMONS)
def test_f81_nothing_is_left_of_a_task_that_leaves_a_daemon(linux, kind):
    command = nap()
    linux.shell("a", DAEMONS[kind].format(nap=command) + "\nwhile [ ! -e go ]; do sleep 0.02; done; exit 6")
    linux.until(lambda: alive(command))
    (linux.here / "go").touch()
    end = linux.end("a")
    assert (end.code, end.reason) == (6, Reason.EXIT)
    assert not alive(command)


@pytest.mark.parametrize("kind", DAEMONS)
def test_f81_nothing_is_left_of_a_task_that_is_stopped(linux, kind):
    command = nap()
    linux.shell("a", DAEMONS[kind].format(nap=command) + "\nexec sleep 600")
    linux.until(lambda: alive(command))
    linux.stop("a", grace_s=0.3)
    assert linux.end("a").reason == Reason.STOPPED
    assert not alive(command)


@pytest.mark.parametrize("kind", DAEMONS)
def test_f81_nothing_is_left_after_the_runner_was_killed_in_between(linux, kind):
    command = nap()
    linux.shell("a", DAEMONS[kind].format(nap=command) + "\nwhile [ ! -e go ]; do sleep 0.02; done; exit 6")
    linux.until(lambda: alive(command))
    linux.kill_runner()
    (linux.here / "go").touch()
    end = linux.end("a")
    assert end.code in (6, None)
    assert not alive(command)


def test_f81_the_daemons_of_one_task_end_without_touching_those_of_another(linux):
    mine, other = nap(), nap()
    linux.shell("other", f"( setsid env -i {other} >/dev/null 2>&1 & )\nexec sleep 600")
    linux.until(lambda: alive(other))
    linux.shell("a", f"( setsid env -i {mine} >/dev/null 2>&1 & )\nwhile [ ! -e go ]; do sleep 0.02; done")
    linux.until(lambda: alive(mine))
    (linux.here / "go").touch()
    linux.end("a")
    assert not alive(mine)
    assert alive(other)
    assert linux.last(Ended, "other") is None


def test_f81_a_group_is_cleared_without_linux_too(machine):
    command = nap()
    machine.shell("a", f"{command} & ( {command} & ) ; nohup {command} >/dev/null 2>&1 & exit 6")
    assert machine.end("a").code == 6
    assert not alive(command)


def test_f85_a_grandchild_that_keeps_the_output_open_does_not_hold_the_end(machine):
    assert machine.run("a", "/bin/sh", "-c", "sleep 600 & echo out; exit 2").code == 2


def test_f85_a_task_that_closes_its_output_is_still_seen(machine):
    machine.shell("a", "exec >&- 2>&-; echo x > ready; while [ ! -e go ]; do sleep 0.02; done; exit 3")
    machine.wait_for_file("ready")
    assert machine.last(Ended, "a") is None
    (machine.here / "go").touch()
    assert machine.end("a").code == 3


def test_f83_output_of_any_bytes_is_stored_unchanged(machine):
    random.seed(83)
    odd = [
        b"\0",
        b"\xff\xfe",
        b"\x1b[31mred\x1b[0m",
        b"50%\r51%\r",
        b"\n" * 3,
        "日本\U0001f642".encode()[:-1],
        b"\x80" * 9,
    ]
    text = b"".join(random.choice(odd) + random.randbytes(random.randint(0, 40)) for _ in range(2000))
    data = text + random.randbytes(10 << 20) + b"x" * (20 << 20)
    (machine.here / "data").write_bytes(data)
    assert machine.run("a", "cat", "data").log_bytes == len(data)
    assert machine.log("a") == data


def test_f90_a_stranger_with_the_number_of_a_task_is_never_signalled(new_machine):
    fallback = "--portable" in new_machine.options
    boot = PortableProcesses().boot() if fallback else Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger, killed(stranger):
        (new_machine.data / "runner").mkdir(parents=True, mode=0o700)
        journal = Journal(str(new_machine.data / "runner" / "journal"))
        journal.add(encode({"op": "open", "runner": "r", "boot": boot}))
        journal.add(
            encode(
                {
                    "op": "started",
                    "id": new_machine.id("a"),
                    "at": 1.0,
                    "pid": stranger.pid,
                    "born": 1,
                    "timeout": None,
                    "grace": 1.0,
                }
            )
        )
        journal.flush()
        journal.close()
        new_machine.open()
        new_machine.stop("a", grace_s=0.0)
        assert new_machine.end("a").code is None
        new_machine.settle()
        assert stranger.poll() is None


def test_attempts_of_the_same_name_in_two_data_folders_do_not_touch_each_other(linux):
    from .conftest import Machine

    other = Machine()
    try:
        other.open()
        other.shell("a", "exec sleep 600")
        other.started("a")
        linux.shell("a", "sleep 600 & exit 3")
        assert linux.end("a").code == 3
        other.settle()
        assert other.last(Ended, "a") is None
    finally:
        other.dispose()
