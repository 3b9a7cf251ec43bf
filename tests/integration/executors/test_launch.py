"""Starting attempts, and what becomes of them when nothing else goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from odin.executors.protocol import Ended, Outdated, Reason, Started


def test_a_task_ends_with_its_code_times_and_costs(machine):
    end = machine.run("a", "/bin/sh", "-c", "echo hello; echo oops >&2; exit 3")
    assert (end.code, end.reason, end.message) == (3, Reason.EXIT, "")
    assert machine.log("a") == b"hello\noops\n"
    assert end.log_bytes == 11
    assert end.started_at <= end.ended_at
    assert end.cpu_s >= 0
    assert end.rss_kb is None  # less than the runner's own


def test_the_peak_of_a_tasks_memory_is_told_when_it_is_more_than_the_runners(machine):
    machine.python("a", "x = b'x' * (64 << 20)")
    assert 64 << 10 < machine.end("a").rss_kb < 128 << 10


def test_a_start_is_reported_with_the_process_number(machine):
    machine.shell("a", "echo $$")
    end = machine.end("a")
    assert machine.last(Started, "a").pid == int(machine.log("a"))
    assert end.started_at == machine.last(Started, "a").at


def test_a_second_launch_of_an_attempt_starts_nothing(machine):
    machine.shell("a", "echo ran >> ledger")
    machine.end("a")
    machine.seen.clear()
    machine.shell("a", "echo ran >> ledger")
    assert machine.end("a").code == 0
    assert machine.ledger.read_text() == "ran\n"


def test_a_second_launch_of_a_running_attempt_repeats_that_it_started(machine):
    machine.shell("a", "echo ran >> ledger; exec sleep 60")
    machine.wait_for_file("ledger")
    first = machine.started("a")
    machine.seen.clear()
    machine.shell("a", "echo ran >> ledger")
    assert machine.started("a") == first
    assert machine.ledger.read_text() == "ran\n"


def test_folders_are_made_before_the_task_starts(machine):
    folders = tuple(str(machine.here / name) for name in ("runs", "runs/p/t", "runs"))
    assert machine.run("a", "/bin/sh", "-c", "test -d runs/p/t", make=folders).code == 0


def test_a_launch_under_an_older_fence_does_nothing(machine):
    machine.recall("a", fence=7)
    machine.absent("a")
    machine.launch("a", "/bin/true", fence=6)
    machine.settle()
    assert machine.last(Ended, "a") is None
    assert machine.last(Outdated, "a") == Outdated(machine.id("a"), 7)
    assert machine.run("a", "/bin/true", fence=7).code == 0


def test_what_is_recalled_under_an_older_fence_may_still_start_and_is_not_absent(machine):
    machine.recall("a", fence=7)
    machine.absent("a")
    machine.seen.clear()
    machine.recall("a", fence=6)
    machine.settle()
    assert [type(each) for each in machine.seen if each.attempt == machine.id("a")] == [Outdated]


def test_a_timeout_stops_the_task_and_says_so(machine):
    end = machine.run("a", "sleep", "60", timeout_s=0.3)
    assert end.reason == Reason.TIMEOUT
    assert end.message == "it ran longer than its timeout of 0.3 s"
    assert end.code == 143


def test_a_forgotten_pipeline_is_unknown_but_its_attempts_never_run_again(machine):
    machine.shell("a", "echo ran >> ledger")
    machine.executor.acknowledge([machine.end("a").attempt])
    machine.executor.forget(["test-abcd1234"])
    machine.seen.clear()
    machine.shell("a", "echo ran >> ledger")
    assert machine.end("a").reason == Reason.LOST
    assert machine.ledger.read_text() == "ran\n"


def test_an_acknowledged_end_is_not_reported_again_but_still_known(machine):
    machine.run("a", "/bin/true")
    machine.run("b", "/bin/true")
    machine.executor.acknowledge([machine.id("a")])
    machine.settle()
    machine.crash()
    machine.seen.clear()
    machine.open()
    assert machine.end("b").code == 0
    assert machine.last(Ended, "a") is None
    machine.recall("a")
    assert machine.end("a").code == 0


def test_a_data_folder_with_a_long_path_works(new_machine):
    new_machine.root = new_machine.root / ("long" * 30)
    new_machine.data, new_machine.here = new_machine.root / "data", new_machine.root / "here"
    new_machine.here.mkdir(parents=True)
    assert new_machine.open().run("a", "/bin/true").code == 0


def test_the_runner_ends_when_its_server_says_goodbye_and_nothing_runs(machine):
    machine.run("a", "/bin/true")
    pid = machine.pid
    machine.close()
    machine.until(lambda: not (machine.data / "runner" / "socket").exists())
    machine.until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_runner_stays_with_what_runs_when_its_server_says_goodbye(machine):
    machine.shell("a", "echo ran >> ledger; while [ ! -e go ]; do sleep 0.05; done; exit 4")
    machine.wait_for_file("ledger")
    machine.close()
    (machine.here / "go").touch()
    machine.until(lambda: not (machine.data / "runner" / "socket").exists())
    machine.seen.clear()
    machine.open()
    assert machine.end("a").code == 4


def test_f91_reading_standard_input_or_asking_for_a_password_meets_its_end_at_once(machine):
    assert machine.run("cat", "cat").code == 0
    assert machine.run("read", "/bin/sh", "-c", "read x || echo nothing to read").code == 0
    assert machine.log("read") == b"nothing to read\n"
    machine.launch("ask", sys.executable, "-W", "ignore", "-c", "import getpass; getpass.getpass('password: ')")
    assert machine.end("ask").code == 1
    assert b"password: " in machine.log("ask")
    assert machine.run("tty", "/bin/sh", "-c", "exec 3</dev/tty").code != 0


def test_f92_tasks_that_end_at_once_are_all_seen_to_start_and_end(machine):
    names = [f"t{number}" for number in range(2000)]
    for start in range(0, len(names), 200):
        machine.executor.launch([machine.task(name, "/bin/true") for name in names[start : start + 200]])
        machine.until(lambda total=start + 200: sum(isinstance(report, Ended) for report in machine.seen) >= total)
    ends = [report for report in machine.seen if isinstance(report, Ended)]
    starts = [report for report in machine.seen if isinstance(report, Started)]
    assert sorted(report.attempt for report in ends) == sorted(map(machine.id, names))
    assert sorted(report.attempt for report in starts) == sorted(map(machine.id, names))
    assert {report.code for report in ends} == {0}


def test_f87_no_zombies_are_left(linux):
    for number in range(100):
        linux.shell(f"t{number}", "(sleep 0.01 &) ; (true &) ; true")
    for number in range(100):
        linux.end(f"t{number}")
    linux.settle()
    children = subprocess.run(
        ["ps", "--ppid", str(linux.pid), "-o", "stat="], capture_output=True, text=True, check=False
    )
    assert children.stdout.split() == []


def test_a37_every_character_of_an_argument_arrives_byte_for_byte(machine):
    characters = [chr(code) for code in range(1, 128)]
    args = [
        *characters,
        *(a + b for a in characters for b in "\\'\"$`;|&<>(){}[]*?!#~ \t\n-=%^\r\x1b\x7f"),
        "",
        "é",
        "日本",
        "\U0001f642",
    ]
    assert len(args) > 4000
    script = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    for start in range(0, len(args), 500):
        name = f"t{start}"
        machine.python(name, script, *args[start : start + 500])
        assert machine.end(name).code == 0
        assert machine.log(name) == "\0".join(args[start : start + 500]).encode()


def test_a37_the_environment_arrives_byte_for_byte(machine):
    value = "".join(map(chr, range(1, 128)))
    script = "import os; os.write(1, os.environb[b'VALUE'])"
    machine.python("a", script, env={"VALUE": value})
    machine.end("a")
    assert machine.log("a") == value.encode()


def test_a_null_character_is_refused_with_a_sentence(machine):
    end = machine.run("a", "/bin/echo", "a\0b")
    assert (end.code, end.reason) == (126, Reason.NOT_STARTED)
    assert "null" in end.message


@pytest.mark.parametrize(
    "linux",
    [
        {
            "environ": {
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                "LC_ALL": "C.UTF-8",
                "HOME": "/root",
                "SECRET": "x",
                "LD_PRELOAD": "",
                "ODIN_ROOT_PASS": "x",
            }
        }
    ],
    indirect=True,
)
def test_a101_a_task_gets_the_listed_environment_and_nothing_else(linux):
    linux.launch("a", "/usr/bin/env", env={"ODIN_TASK_ID": "x", "HOME": "/elsewhere"})
    linux.end("a")
    lines = dict(line.split("=", 1) for line in linux.log("a").decode().splitlines())
    assert lines == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": "/elsewhere",
        "ODIN_TASK_ID": "x",
    }


def test_a101_a_task_inherits_three_descriptors_its_folder_and_no_core_file(machine):
    machine.python(
        "a",
        "import os; print(sorted(os.listdir('/proc/self/fd'))); print(os.getcwd()); print(os.readlink('/proc/self/fd/0'))",
    )
    assert machine.end("a").code == 0
    descriptors, folder, stdin = machine.log("a").decode().splitlines()
    assert descriptors == "['0', '1', '2', '3']"  # the last is the listing's own
    assert folder == str(machine.here)
    assert stdin == "/dev/null"
    machine.shell("b", "ulimit -c; grep -E 'Sig(Ign|Blk)' /proc/self/status")
    machine.end("b")
    core, _, blocked, _, ignored = machine.log("b").split()
    assert (core, int(blocked, 16)) == (b"0", 0)
    assert int(ignored, 16) & ~(3 << 31) == 0  # glibc keeps 32 and 33 for itself


@pytest.mark.parametrize("linux", [{"cards": ("0", "1", "2")}], indirect=True)
def test_a_task_sees_the_gpus_given_to_it_and_no_other(linux):
    script = "echo [$CUDA_VISIBLE_DEVICES] $CUDA_DEVICE_ORDER"
    linux.shell("two", script, cards=("0", "2"))
    linux.shell("none", script, env={"CUDA_VISIBLE_DEVICES": "1"})
    linux.end("two"), linux.end("none")
    assert linux.log("two") == b"[0,2] PCI_BUS_ID\n"
    assert linux.log("none") == b"[] PCI_BUS_ID\n"


def test_a102_nothing_that_is_made_can_be_read_by_others(machine):
    folder = machine.here / "runs" / "task"
    machine.run("a", "/bin/sh", "-c", "echo x > runs/task/file", make=(str(folder),))
    paths = [*machine.data.rglob("*"), folder, folder / "file"]
    modes = {str(path): path.lstat().st_mode & 0o777 for path in paths}
    allowed = {path: 0o700 if Path(path).is_dir() else 0o600 for path in modes}
    assert modes == allowed
    assert {path.name for path in machine.data.rglob("*") if path.is_socket()} == {"socket"}


def test_a102_a_stranger_on_the_socket_is_not_listened_to(machine):
    import socket

    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(machine.data / "runner" / "socket"))
        stranger.sendall(b'{"op":"launch","id":"x-1--a"}\n')
        assert b'"op":"hello"' in stranger.recv(1 << 16)
        assert stranger.recv(1) == b""
    assert machine.run("a", "/bin/true").code == 0
