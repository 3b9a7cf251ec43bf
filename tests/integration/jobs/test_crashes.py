"""The server dies in the middle of a write, or its disk is full: the repository stays whole and goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from odin.jobs import failures
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.errors import NoSpace, Unavailable

WRITER = """
import sys
from pathlib import Path
from odin.jobs.repository import Repository
from odin.jobs.checkouts import Checkouts
from odin.jobs.values import Author
repository = Repository.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    version = repository.write("sst2", {f"{number}.txt": b"%d" % number}, Author("ann"), create=True).version
    print(version, flush=True)
    if len(sys.argv) > 3:
        Checkouts(repository, Path(sys.argv[3])).ensure(version)
sys.stdin.read()
"""


def writer(repository: Path, *arguments: str, fault: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(repository), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "ODIN_FAULT": fault},
    )  # fmt: skip


def killed(repository: Path, *arguments: str, fault: str) -> list[str]:
    """Versions that were acknowledged before the writer killed itself."""
    child = writer(repository, *arguments, fault=fault)
    said, _ = child.communicate("", timeout=60)
    assert child.returncode == -signal.SIGKILL
    return said.split()


def fsck(repository: Path) -> str:
    command = ["git", f"--git-dir={repository}", "fsck", "--strict", "--no-dangling"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("point", "kept"), [("git:objects-written", 2), ("git:ref-moved", 3)])
def test_f64_a_write_that_was_cut_off_is_there_whole_or_not_at_all(tmp_path: Path, point: str, kept: int) -> None:
    folder = tmp_path / "jobs.git"
    acknowledged = killed(folder, "5", fault=f"{point}:3:kill")
    repository = Repository.open(folder)
    assert len(acknowledged) == 2
    assert [file.path for file in repository.folder("sst2").files] == [
        *(f"{number}.txt" for number in range(kept)),
        "main.yml",
    ]
    repository.write("sst2", {"next.txt": b"x"}, Author("ann"))
    assert fsck(folder) == ""
    repository.close()


def test_f64_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "jobs.git"
    for turn in range(8):
        child = writer(folder, "100000")
        seen = [child.stdout.readline().strip() for _ in range(turn * 5 + 1)]
        time.sleep(turn / 1000)
        child.kill()
        seen += [line for line in child.communicate()[0].splitlines() if len(line) == 40]
        repository = Repository.open(folder)
        walked = {str(commit.id) for commit in pygit2.Repository(str(folder)).walk(repository.head())}
        assert set(seen) <= walked
        repository.write("other", {"turn.txt": b"%d" % turn}, Author("ann"), create=True)
        repository.close()
    assert fsck(folder) == ""


def test_f64_locks_of_the_dead_are_removed_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "jobs.git"
    Repository.open(folder).close()
    left = ["refs/heads/main.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"]
    left += ["gc.pid", "objects/tmp_object_git2_x"]
    for name in left:
        (folder / name).touch()
    (folder / "objects/tmp_objdir-incoming-x/aa").mkdir(parents=True)
    repository = Repository.open(folder)
    assert not any((folder / name).exists() for name in left)
    assert not list((folder / "objects").glob("tmp_objdir*"))
    repository.create("sst2", Author("ann"))
    repository.close()


def test_f64_locks_of_the_living_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "jobs.git"
    other = writer(folder, "1")
    other.stdout.readline()
    lock = folder / "refs/heads/main.lock"
    lock.touch()
    Repository.open(folder).close()
    assert lock.exists()
    other.communicate("")
    Repository.open(folder).close()
    assert not lock.exists()


@pytest.mark.parametrize(("point", "stands"), [("checkout:half-made", False), ("checkout:done", True)])
def test_f64_a_checkout_that_was_cut_off_is_made_again(tmp_path: Path, point: str, stands: bool) -> None:
    folder, root = tmp_path / "jobs.git", tmp_path / "checkouts"
    killed(folder, "1", str(root), fault=f"{point}:kill")
    assert any(path.name.startswith("tmp-") for path in root.iterdir()) is not stands
    repository = Repository.open(folder)
    checkouts = Checkouts(repository, root)
    assert (checkouts.ready(repository.head()) is not None) is stands
    path = checkouts.ensure(repository.head())
    assert (path / "sst2/0.txt").read_bytes() == b"0"
    assert sorted(each.name for each in root.iterdir() if not each.name.startswith(".")) == [path.name]
    repository.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def test_f13_a_full_disk_refuses_writes_and_the_repository_goes_on_after(small_disk: Path) -> None:
    repository = Repository.open(small_disk / "jobs.git")
    ann = Author("ann")
    before = repository.create("sst2", ann).version
    filler = fill(small_disk)
    for content in (b"x", os.urandom(100_000)):
        with pytest.raises(NoSpace):
            repository.write("sst2", {"a.bin": content}, ann)
    assert repository.head() == before
    assert repository.read("sst2", "main.yml")
    filler.unlink()
    repository.write("sst2", {"a.bin": b"x"}, ann)
    assert fsck(repository.path) == ""
    repository.close()


def test_f13_a_write_that_fills_the_disk_leaves_nothing_half_written(small_disk: Path) -> None:
    repository = Repository.open(small_disk / "jobs.git")
    ann = Author("ann")
    repository.create("sst2", ann)
    last, refused = repository.head(), False
    for number in range(20):
        try:
            last = repository.write("sst2", {f"{number}.bin": os.urandom(500_000)}, ann).version
        except NoSpace:
            refused = True
    assert refused
    assert repository.head() == last
    assert fsck(repository.path) == ""
    repository.close()


def test_f13_a_push_to_a_full_disk_is_refused_and_works_after(small_disk: Path, serve, git, tmp_path: Path) -> None:
    repository = Repository.open(small_disk / "jobs.git")
    before = repository.head()
    git("clone", "-q", serve(repository), "clone")
    clone = git.inside(tmp_path / "clone")
    (clone.folder / "a.bin").write_bytes(os.urandom(200_000))
    clone("add", "-A")
    clone("commit", "-q", "-m", "x")
    filler = fill(small_disk)
    clone("push", "-q", "origin", "main", check=False)
    assert clone.code != 0
    assert repository.head() == before
    filler.unlink()
    clone("push", "-q", "origin", "main")
    assert fsck(repository.path) == ""
    repository.close()


def test_f13_a_checkout_on_a_full_disk_leaves_nothing_half_made(
    small_disk: Path, repository: Repository, ann: Author
) -> None:
    version = repository.write("sst2", {"a.bin": os.urandom(500_000)}, ann, create=True).version
    checkouts = Checkouts(repository, small_disk / "checkouts")
    filler = fill(small_disk)
    with pytest.raises(NoSpace):
        checkouts.ensure(version)
    filler.unlink()
    assert [path.name for path in (small_disk / "checkouts").iterdir() if not path.name.startswith(".")] == []
    assert checkouts.ensure(version).is_dir()


def test_f65_a_damaged_object_fails_what_needs_it_and_nothing_else(repository: Repository, ann: Author) -> None:
    repository.write("bad", {"a.txt": b"damaged soon"}, ann, create=True)
    version = repository.write("good", {"a.txt": b"fine"}, ann, create=True).version
    oid = pygit2.hash(b"damaged soon")
    stored = repository.path / "objects" / str(oid)[:2] / str(oid)[2:]
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-6] + b"\0" * 6)
    with pytest.raises(Unavailable):
        repository.read("bad", "a.txt")
    assert repository.read("good", "a.txt") == b"fine"
    assert repository.write("good", {"b.txt": b"more"}, ann).version != version


def test_f65_git_may_collect_garbage_while_jobs_are_written_and_read(repository: Repository, ann: Author) -> None:
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            subprocess.run(["git", f"--git-dir={repository.path}", "gc", "-q"], check=True)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for number in range(60):
            repository.write("sst2", {f"{number}.txt": b"%d" % number}, ann, create=True)
            assert repository.read("sst2", f"{number}.txt") == b"%d" % number
    finally:
        done.set()
        collector.join()
    assert len(repository.folder("sst2").files) == 61
    assert fsck(repository.path) == ""


@pytest.mark.parametrize(
    "error", [each for each in vars(pygit2).values() if isinstance(each, type) and issubclass(each, pygit2.GitError)]
)
def test_every_error_of_the_library_becomes_one_of_ours(tmp_path: Path, error: type[Exception]) -> None:
    with pytest.raises(Unavailable), failures.translated(tmp_path):
        raise error("said so")


def test_f02_a_repository_that_was_new_when_the_power_went_is_made_again(tmp_path: Path) -> None:
    """Names were on the disk and content was not."""
    folder = tmp_path / "jobs.git"
    Repository.open(folder).close()
    for name in ("HEAD", "config", "odin-hooks/pre-receive"):
        (folder / name).write_bytes(b"")
    repository = Repository.open(folder)
    version = repository.write("sst2", {"1.txt": b"1"}, Author("ann"), create=True).version
    repository.close()
    assert fsck(folder) == ""
    shown = subprocess.run(["git", f"--git-dir={folder}", "rev-parse", "HEAD"], capture_output=True, text=True)
    assert shown.stdout.strip() == version
