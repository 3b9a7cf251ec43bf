"""One server for a data folder, whatever became of the last one."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from odin.model.errors import Conflict
from odin.store.holder import Holder, Seat, holder_of

HOLD = """
import sys, pathlib
from odin.store.holder import Holder
held = Holder(pathlib.Path(sys.argv[1]), "the folder", "take another")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_only_asks_is_told_the_holder_and_keeps_nobody_out(tmp_path, holder):
    lock = tmp_path / "lock"
    assert holder_of(lock) == f"process {holder.pid} on {socket.gethostname()}"
    holder.kill()
    holder.wait()
    assert holder_of(lock) is None
    assert holder_of(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    Holder(lock, "the folder", "take another").release()


def test_f15_a_second_holder_is_refused_and_told_who_has_it(tmp_path, holder):
    said = f"the folder is in use by process {holder.pid} on {socket.gethostname()}; stop that server, or take another"
    with pytest.raises(Conflict) as caught:
        Holder(tmp_path / "lock", "the folder", "take another")
    assert str(caught.value) == said


def test_f15_the_lock_of_a_dead_holder_is_taken(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    Holder(tmp_path / "lock", "the folder", "take another").release()


def test_f15_a_lock_that_was_released_is_taken(tmp_path):
    Holder(tmp_path / "lock", "the folder", "take another").release()
    Holder(tmp_path / "lock", "the folder", "take another").release()


def test_those_who_share_a_folder_keep_out_who_wants_it_alone(tmp_path):
    lock = tmp_path / "lock"
    sharing = [Holder(lock, "the folder", "wait", shared=True) for _ in range(2)]
    sharing.pop().release()
    assert holder_of(lock) == f"process {os.getpid()} on {socket.gethostname()}"
    with pytest.raises(Conflict):
        Holder(lock, "the folder", "wait")
    sharing.pop().release()
    Holder(lock, "the folder", "wait").release()


def test_f15_who_has_a_folder_alone_keeps_out_those_who_would_share_it(tmp_path, holder):
    with pytest.raises(Conflict, match=f"process {holder.pid}"):
        Holder(tmp_path / "lock", "the folder", "wait", shared=True)


def test_each_server_of_a_folder_has_a_seat_and_the_next_one_takes_that_of_the_dead(tmp_path):
    seats = [Seat(tmp_path / "servers") for _ in range(3)]
    assert [seat.number for seat in seats] == [1, 2, 3]
    seats[1].release()
    again = Seat(tmp_path / "servers")
    assert again.number == 2
    for seat in (seats[0], seats[2], again):
        seat.release()
