"""A full disk below the runner's journal and the logs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from odin.executors.protocol import Ended, Held, Reason, Started

from .conftest import Machine


@pytest.fixture
def small():
    """A machine whose data folder lies on a disk of 2 MiB."""
    root = Path(tempfile.mkdtemp(prefix="odin", dir="/tmp"))
    data = root / "data"
    data.mkdir(mode=0o700)
    if (
        os.getuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=64,mode=700", "tmpfs", str(data)], check=False
        ).returncode
    ):
        shutil.rmtree(root)
        pytest.skip("needs the right to mount")
    made = Machine(root=root)
    try:
        yield made.open()
    finally:
        made.close()
        with suppress(AssertionError):
            made.until(lambda: not (data / "runner" / "socket").exists())
        subprocess.run(["umount", "-l", str(data)], check=True)
        made.dispose()


def fill(machine: Machine) -> Path:
    filler = machine.data / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


def test_f13_a_task_whose_log_cannot_be_made_is_refused_with_a_sentence(small):
    small.run("first", "/bin/true")
    fillers = []
    with suppress(OSError):
        while True:
            fillers.append(small.data / f"filler{len(fillers)}")
            fillers[-1].touch()
    refused = small.run("a", "/bin/true")
    assert refused.reason == Reason.REFUSED
    assert refused.message.endswith("no space left on device")
    fillers[0].unlink()
    assert small.run("b", "/bin/true").code == 0


def test_f13_tasks_that_run_when_the_disk_fills_end_with_their_codes(small):
    names = [f"t{number}" for number in range(30)]
    for name in names:
        small.shell(name, "while [ ! -e go ]; do sleep 0.05; done; exit 4")
    for name in names:
        small.started(name)
    fill(small)
    (small.here / "go").touch()
    assert {small.end(name).code for name in names} == {4}
    small.kill_runner()
    small.seen.clear()
    small.recall(*names)
    assert {small.end(name).code for name in names} == {4}


def test_f13_a_task_whose_log_has_no_room_gets_the_error_itself(small):
    fill(small)
    os.truncate(small.data / "filler", 4096)
    end = small.run("a", "dd", "if=/dev/zero", "bs=64k", "count=64")
    assert (end.code, end.reason) == (1, Reason.EXIT)


def test_f13_without_room_in_the_journal_launches_wait_until_there_is(small):
    """Nothing is asked again: the runner looks by itself."""
    filler = fill(small)
    small.executor.stop(small.id("a"), kind="Pod", grace_s=0, message="x" * 300_000)
    attempts = (f"t{number}" for number in range(5000))
    small.until(lambda: launched(small, next(attempts)) is Held)
    held = small.last(Held)
    assert held.why == "the disk of the runner's journal is full"
    small.shell("b", "echo b >> ledger")
    small.settle()
    assert small.last(Held, "b").why == held.why
    assert small.last(Started, "b") is None
    filler.unlink()
    assert small.end("b").code == 0
    assert small.until(lambda: [one for one in small.seen if isinstance(one, Ended) and one.attempt == held.attempt])
    small.kill_runner()
    small.seen.clear()
    small.recall("a", "b")
    assert small.end("a").reason == Reason.VOID
    assert small.end("b").code == 0
    assert small.ledger.read_text() == "b\n"


def test_f13_what_waits_for_the_disk_can_be_cancelled(small):
    filler = fill(small)
    small.executor.stop(small.id("a"), kind="Pod", grace_s=0, message="x" * 300_000)
    attempts = (f"t{number}" for number in range(5000))
    small.until(lambda: launched(small, next(attempts)) is Held)
    small.shell("b", "echo b >> ledger")
    small.stop("b")
    assert small.end("b").reason == Reason.VOID
    filler.unlink()
    assert small.run("c", "/bin/sh", "-c", "echo c >> ledger").code == 0
    assert small.ledger.read_text() == "c\n"


def launched(machine: Machine, name: str) -> type:
    """What becomes of it: it ends, or is held."""
    machine.launch(name, "/bin/true", make=())
    return type(machine.until(lambda: machine.last(Ended, name) or machine.last(Held, name)))
