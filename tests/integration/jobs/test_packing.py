"""What writes leave loose in the repository is packed in the background, as git does after a push."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from odin.jobs import packing
from odin.jobs.repository import Repository
from odin.jobs.values import Author

DEADLINE_S = 60


@pytest.fixture
def few(monkeypatch) -> None:
    """So few loose objects are many, and nothing rests."""
    monkeypatch.setattr(packing, "LOOSE", 200)
    for name in ("REST_S", "REST_FACTOR", "FUTILE_S"):
        monkeypatch.setattr(packing, name, 0.0)


def until(condition) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def counts(repository: Repository) -> dict[str, int]:
    said = subprocess.check_output(["git", f"--git-dir={repository.path}", "count-objects", "-v"], text=True)
    return {name: int(value) for name, value in (line.split(": ") for line in said.splitlines())}


def write_many(repository: Repository, author: Author, turn: int = 0) -> str:
    files = {f"{turn}-{number}.txt": b"%d %d" % (turn, number) for number in range(600)}
    return repository.write("sst2", files, author, create=True).version


def idle(repository: Repository) -> bool:
    return repository._packing._thread is None


def test_many_small_writes_are_packed_without_a_push(few, repository: Repository, ann: Author) -> None:
    write_many(repository, ann)
    until(lambda: counts(repository)["in-pack"] > 600 and idle(repository))
    assert counts(repository)["count"] == 0
    assert repository.read("sst2", "0-7.txt") == b"0 7"
    repository.write("sst2", {"later.txt": b"x"}, ann)
    assert counts(repository)["count"] == 4  # a few stay as they are
    assert [each.suffix for each in repository.path.glob("gc.*")] == []


def test_packing_keeps_what_is_pinned_though_no_branch_leads_there(
    few, repository: Repository, plumbing, ann: Author
) -> None:
    before = repository.head()
    pinned = write_many(repository, ann)
    until(lambda: idle(repository))
    repository.pin(pinned)
    plumbing.store.references["refs/heads/main"].set_target(before)
    write_many(repository, ann, turn=1)
    until(lambda: counts(repository)["in-pack"] > 1200 and idle(repository))
    assert repository.read("sst2", "0-7.txt", at=pinned) == b"0 7"
    assert (repository.path / "refs/odin/pins" / pinned).exists()  # and quick to look at


def test_packing_goes_on_beside_writes_one_at_a_time(few, repository: Repository, ann: Author, monkeypatch) -> None:
    running, most = [], []
    start = packing.start

    def counted(*given):
        child = start(*given)
        running[:] = [one for one in running if one.returncode is None] + [child]
        most.append(len(running))
        return child

    monkeypatch.setattr(packing, "start", counted)
    writers = [threading.Thread(target=write_many, args=(repository, ann, turn)) for turn in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    until(lambda: idle(repository))
    assert set(most) == {1}
    assert len(repository.folder("sst2").files) == 4 * 600 + 1
    command = ["git", f"--git-dir={repository.path}", "fsck", "--strict", "--no-dangling"]
    assert subprocess.check_output(command, stderr=subprocess.STDOUT, text=True) == ""


@pytest.fixture
def slow_git(tmp_path: Path, monkeypatch) -> Path:
    """A git that never ends, nor does what it starts; the file has their numbers."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nsleep 1000 &\necho $$ $! > {said}.new\nmv {said}.new {said}\nwait\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return said


def test_a_write_never_waits_for_packing_and_a_stop_ends_it(few, tmp_path, slow_git: Path, ann: Author) -> None:
    repository = Repository.open(tmp_path / "jobs.git")
    write_many(repository, ann)
    until(slow_git.exists)
    write_many(repository, ann, turn=1)
    assert not idle(repository)
    repository.close()
    for number in slow_git.read_text().split():
        until(lambda number=number: is_over(number))
    write_many(repository, ann, turn=2)
    assert idle(repository)


def is_over(number: str) -> bool:
    """Gone, or dead and waited for by nobody."""
    try:
        return Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_after_packing_there_is_a_rest(few, repository: Repository, ann: Author, monkeypatch) -> None:
    monkeypatch.setattr(packing, "REST_S", 1000.0)
    write_many(repository, ann)
    until(lambda: counts(repository)["count"] == 0 and idle(repository))
    write_many(repository, ann, turn=1)
    assert idle(repository)
    assert counts(repository)["count"] > 600


def test_a_git_that_does_not_start_is_no_harm_to_the_write(few, tmp_path, ann: Author, monkeypatch, caplog) -> None:
    repository = Repository.open(tmp_path / "jobs.git")
    monkeypatch.setenv("PATH", str(tmp_path))
    write_many(repository, ann)
    until(lambda: "git gc did not start" in caplog.text and idle(repository))
    assert repository.read("sst2", "0-7.txt") == b"0 7"
    repository.close()
