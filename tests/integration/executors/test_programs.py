"""Commands that cannot be executed, and processes that signals end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from odin.executors.protocol import Reason


def _file(machine, name, content, mode=0o755):
    path = machine.here / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_f88_a_program_that_is_not_in_path(machine):
    end = machine.run("a", "no-such-program", env={"PATH": "/usr/bin:/bin"})
    assert (end.code, end.reason) == (127, Reason.NOT_STARTED)
    assert end.message == "there is no program 'no-such-program' in PATH (/usr/bin:/bin)"
    assert end.started_at is None


def test_f88_a_path_that_does_not_exist(machine):
    end = machine.run("a", "/no/such/program")
    assert (end.code, end.message) == (127, "/no/such/program does not exist")


def test_f88_a_path_through_a_file(machine):
    end = machine.run("a", "/etc/passwd/program")
    assert (end.code, end.message) == (127, "/etc/passwd/program does not exist: a part of it is not a folder")


def test_f88_a_file_that_is_not_executable(machine):
    path = _file(machine, "my-script", b"#!/bin/sh\n", 0o644)
    end = machine.run("a", path)
    assert (end.code, end.message) == (126, f"{path} is not executable (chmod +x may help)")


def test_f88_a_file_in_path_that_is_not_executable(machine):
    path = _file(machine, "my-script", b"#!/bin/sh\n", 0o644)
    end = machine.run("a", "my-script", env={"PATH": f"/usr/bin:{machine.here}"})
    assert (end.code, end.message) == (126, f"{path} is not executable (chmod +x may help)")


def test_f88_a_folder(machine):
    end = machine.run("a", str(machine.here))
    assert (end.code, end.message) == (126, f"{machine.here} is a folder, not a program")


@pytest.mark.parametrize("content", [b"echo no first line\n", b"", b"\x7fELF\x02\x01\x01" + bytes(100)])
def test_f88_a_wrong_format(machine, content):
    path = _file(machine, "program", content)
    end = machine.run("a", path)
    assert (end.code, end.reason) == (126, Reason.NOT_STARTED)
    assert end.message == f"{path} is no program for this machine: wrong format, or no #! line"


def test_f88_an_interpreter_that_does_not_exist(machine):
    path = _file(machine, "my-script", b"#! /no/such/python -u\n")
    end = machine.run("a", path)
    assert (end.code, end.message) == (127, f"{path} cannot run: its interpreter /no/such/python does not exist")


def test_f88_a_loop_of_links(machine):
    path = machine.here / "loop"
    path.symlink_to(path)
    end = machine.run("a", str(path))
    assert end.code == 126
    assert end.message.startswith(f"{path} could not be executed: too many levels of symbolic links")


def test_f88_arguments_that_are_too_large(machine):
    end = machine.run("a", "/bin/echo", "x" * (1 << 18))
    assert (end.code, end.message) == (126, "the arguments and environment of /bin/echo are too large")


def test_f88_a_working_folder_that_is_gone(machine):
    end = machine.run("a", "/bin/true", work="/no/such/folder")
    assert (end.code, end.message) == (127, "cannot start in the folder /no/such/folder: no such file or directory")


def test_f88_a_working_folder_that_is_a_file(machine):
    end = machine.run("a", "/bin/true", work="/etc/passwd")
    assert (end.code, end.message) == (126, "cannot start in the folder /etc/passwd: not a directory")


def test_f88_a_folder_that_cannot_be_made(machine):
    _file(machine, "file", b"")
    end = machine.run("a", "/bin/true", make=(str(machine.here / "file" / "x"),))
    assert (end.code, end.message) == (126, f"cannot make the folder {machine.here}/file/x: not a directory")


@pytest.mark.parametrize("program", ["", "a\0b"])
def test_f88_a_name_that_no_program_can_have(machine, program):
    end = machine.run("a", program)
    assert (end.code, end.message) == (127, f"the command {program!r} is not the name of a program")


@pytest.mark.parametrize("linux", [{"task_user": "no-such-user"}], indirect=True)
def test_f88_an_unknown_user(linux):
    end = linux.run("a", "/bin/true")
    assert (end.code, end.message) == (126, "the user 'no-such-user' that tasks should run as does not exist")


def test_a_relative_program_is_looked_for_in_the_working_folder(machine):
    _file(machine, "my-script", b"#!/bin/sh\nexit 9\n")
    assert machine.run("a", "./my-script").code == 9
    assert machine.run("b", "my-script", env={"PATH": "."}).code == 9


HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
DEADLY = [number for number in range(1, 32) if number not in HARMLESS | STOPPING]


def test_f93_death_by_each_signal_is_told_in_words(machine):
    for number in DEADLY:
        machine.python(
            f"t{number}",
            f"import os, signal; signal.signal({number}, signal.SIG_DFL) if {number} != 9 else 0; os.kill(os.getpid(), {number})",
        )
    for number in DEADLY:
        end = machine.end(f"t{number}")
        assert (end.code, end.reason) == (128 + number, Reason.SIGNAL)
        assert end.message.startswith(f"killed by {signal.Signals(number).name} (")
    assert machine.end("t11").message == "killed by SIGSEGV (segmentation fault)"
    assert not list(machine.here.glob("core*"))


@pytest.mark.parametrize("number", sorted(HARMLESS))
def test_f93_signals_that_kill_nobody(machine, number):
    assert machine.run("a", "/bin/sh", "-c", f"kill -{int(number)} $$; exit 5").code == 5


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run tasks as somebody else")
class TestTaskUser:
    """Tasks of another user. The test's folders lie below one that others may pass."""

    @pytest.fixture
    def nobody(self, linux):
        linux.root.chmod(0o711)
        linux.here.chmod(0o777)
        return linux

    @pytest.mark.parametrize("linux", [{"task_user": "nobody"}], indirect=True)
    def test_a105_tasks_run_as_the_other_user_with_no_way_back(self, nobody):
        nobody.shell("a", "id -un; id -G; grep NoNewPrivs /proc/self/status; echo $HOME $USER; echo x >> /dev/stdout")
        assert nobody.end("a").code == 0
        name, groups, _, no_way_back, identity, _ = nobody.log("a").decode().replace("\t", "\n").splitlines()
        assert (name, no_way_back, identity) == ("nobody", "1", "/nonexistent nobody")
        assert "0" not in groups.split()

    @pytest.mark.parametrize("linux", [{"task_user": "nobody"}], indirect=True)
    def test_a105_tasks_of_another_user_cannot_reach_server_and_runner(self, nobody):
        nobody.shell("other", "exec sleep 60")
        pid = nobody.started("other").pid
        for name, script in {
            "journal": f"cat {nobody.data}/runner/journal",
            "logs": f"cat {nobody.data}/logs/*/*",
            "socket": f"ls {nobody.data}/runner",
            "runner": f"kill -0 {nobody.pid}",
            "memory": f"cat /proc/{nobody.pid}/environ",
            "server": f"kill -0 {os.getpid()}",
        }.items():
            nobody.shell(name, script)
            assert nobody.end(name).code != 0, name
        assert Path(f"/proc/{pid}").exists()

    @pytest.mark.parametrize("linux", [{"task_user": "nobody"}], indirect=True)
    def test_a105_the_folders_of_a_task_belong_to_its_user(self, nobody):
        run = nobody.here / "run"
        nobody.shell("a", f"echo x > {run}/task/file", make=(str(run), str(run / "task")))
        assert nobody.end("a").code == 0
        assert (run / "task" / "file").owner() == "nobody"
        assert (run / "task").stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("linux", [{"task_user": "nobody"}], indirect=True)
    def test_a105_a_link_in_place_of_a_folder_gives_nothing_away(self, nobody):
        target = nobody.root / "ours"
        target.mkdir()
        (nobody.here / "task").symlink_to(target)
        nobody.run("a", "/bin/true", make=(str(nobody.here / "task"),))
        assert target.stat().st_uid == 0

    @pytest.mark.parametrize("linux", [{"task_user": "nobody"}], indirect=True)
    def test_a105_a_task_of_another_user_can_be_stopped(self, nobody):
        nobody.shell("a", "trap '' TERM; while :; do sleep 0.1; done")
        nobody.started("a")
        nobody.stop("a", grace_s=0.3)
        assert nobody.end("a").code == 137
