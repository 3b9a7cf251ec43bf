"""A pipeline's files are those of its commit, whatever anybody does."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.errors import InvalidInput, NotFound
from odin.model.ids import Sha


@pytest.fixture
def version(repository: Repository, ann: Author) -> Sha:
    files = {"run.sh": b"#!/bin/sh\n", "a/b/c.txt": b"deep\n", "empty": b""}
    return repository.write("nlp/sst2", files, ann, create=True).version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shared/checkouts"


@pytest.fixture
def checkouts(repository: Repository, root: Path) -> Checkouts:
    return Checkouts(repository, root)


def not_in_use() -> bool:
    return False


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def test_a_checkout_has_the_files_of_its_commit_read_only(
    repository: Repository, ann: Author, checkouts: Checkouts, version: Sha
) -> None:
    repository.write("nlp/sst2", {"a/b/c.txt": b"later\n"}, ann)
    path = checkouts.ensure(version)
    assert (path / "nlp/sst2/a/b/c.txt").read_bytes() == b"deep\n"
    modes = {str(each.relative_to(path)): oct(each.stat().st_mode & 0o7777) for each in (path, *path.rglob("*"))}
    assert modes["."] == modes["nlp/sst2/a"] == modes["nlp/sst2/run.sh"] == "0o555"
    assert modes["nlp/sst2/a/b/c.txt"] == modes["nlp/sst2/empty"] == "0o444"


def test_a_checkout_is_shared(checkouts: Checkouts, version: Sha, root: Path) -> None:
    assert checkouts.ready(version) is None
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: checkouts.ensure(version), range(100)))
    assert paths == {root / version} == {checkouts.ready(version)}
    assert folders(root) == [version]


def test_an_unknown_commit_has_no_checkout(checkouts: Checkouts, root: Path) -> None:
    with pytest.raises(NotFound):
        checkouts.ensure(Sha("1" * 40))
    with pytest.raises(InvalidInput):
        checkouts.ensure(Sha("../../etc"))
    assert folders(root) == []


def _write(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"evil\n")
    path.chmod(0o444)


def _write_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    _write(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_by_link(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    path.symlink_to("/etc/hostname")
    path.parent.chmod(0o555)


def _add(path: Path) -> None:
    path.parent.chmod(0o755)
    (path.parent / "more").write_text("x")
    path.parent.chmod(0o555)


def _remove(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    path.parent.chmod(0o555)


def _open_up(path: Path) -> None:
    path.chmod(0o666)


CHANGES = [_write, _write_and_set_the_time_back, _replace_by_link, _add, _remove, _open_up]


@pytest.mark.parametrize("change", CHANGES)
def test_a08_a_checkout_that_was_changed_is_made_again(checkouts: Checkouts, version: Sha, change, caplog) -> None:
    path = checkouts.ensure(version)
    change(path / "nlp/sst2/a/b/c.txt")
    again = checkouts.ensure(version)
    assert (again / "nlp/sst2/a/b/c.txt").read_bytes() == b"deep\n"
    assert not (again / "nlp/sst2/a/b/c.txt").is_symlink()
    assert os.listdir(again / "nlp/sst2/a/b") == ["c.txt"]
    assert f"checkout {version} was changed" in caplog.text


def test_after_a_restart_of_the_machine_the_content_is_looked_at(
    repository: Repository, root: Path, checkouts: Checkouts, version: Sha
) -> None:
    path = checkouts.ensure(version)
    seal = root / ".seals" / version
    seal.write_text(f"another-boot {seal.read_text().split()[1]}")
    later = Checkouts(repository, root)
    inode = path.stat().st_ino
    assert later.ready(version) is None
    assert later.ensure(version).stat().st_ino == inode
    assert later.ready(version) == path


def test_a_checkout_in_use_is_not_collected(checkouts: Checkouts, version: Sha) -> None:
    path = checkouts.ensure(version)
    assert not checkouts.collect(version, lambda: True)
    with checkouts.hold(version):
        assert not checkouts.collect(version, not_in_use)
        checkouts.ensure(version)
    assert (path / "nlp/sst2/empty").exists()


def test_a_collected_checkout_and_its_pin_are_gone(
    repository: Repository, checkouts: Checkouts, version: Sha, root: Path
) -> None:
    repository.pin(version)
    checkouts.ensure(version)
    assert checkouts.collect(version, not_in_use)
    assert checkouts.collect(version, not_in_use)
    assert folders(root) == []
    assert checkouts.ready(version) is None
    shown = subprocess.run(["git", f"--git-dir={repository.path}", "show-ref"], capture_output=True, check=True)
    assert b"pins" not in shown.stdout
    assert checkouts.ensure(version).is_dir()


def test_collecting_and_making_at_once_never_shows_half_a_checkout(
    repository: Repository, checkouts: Checkouts, version: Sha
) -> None:
    def use(_: int) -> bool:
        with checkouts.hold(version):
            path = checkouts.ensure(version)
            return (path / "nlp/sst2/a/b/c.txt").read_bytes() == b"deep\n" and (path / "nlp/sst2/run.sh").exists()

    def collect(_: int) -> bool:
        checkouts.collect(version, not_in_use)
        return True

    with ThreadPoolExecutor(8) as pool:
        results = [*pool.map(use, range(100)), *pool.map(collect, range(100)), *pool.map(use, range(100))]
        mixed = [pool.submit(use if number % 2 else collect, number) for number in range(200)]
    assert all(results)
    assert all(each.result() for each in mixed)


def test_leftovers_of_the_living_are_left_alone(
    repository: Repository, checkouts: Checkouts, version: Sha, root: Path
) -> None:
    leftover = root / f"tmp-{version}-00000000"
    leftover.mkdir()
    with checkouts.hold(version):
        Checkouts(repository, root)
        assert leftover.exists()
    Checkouts(repository, root)
    assert not leftover.exists()


def test_removing_stays_beneath_the_checkout(checkouts: Checkouts, version: Sha, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    path = checkouts.ensure(version)
    path.chmod(0o755)
    (path / "link").symlink_to(outside)
    assert checkouts.collect(version, not_in_use)
    assert (outside / "canary").read_text() == "alive"
