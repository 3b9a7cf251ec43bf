"""Writes are commits: whole, by their author, on top of whatever came first."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable, ValidationFailed
from odin.model.ids import Sha

GOOD = b"tasks:\n- name: fetch\n  command: echo\n"
BROKEN = b"tasks:\n- name: fetch\n  comand: echo\n"


def log_of(repository: Repository, *options: str) -> list[str]:
    command = ["git", f"--git-dir={repository.path}", "log", *options, "main"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def fsck(repository: Repository) -> str:
    """What git complains of, dangling objects aside."""
    command = ["git", f"--git-dir={repository.path}", "fsck", "--strict", "--no-dangling"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_new_repository_has_one_empty_commit(repository: Repository) -> None:
    assert repository.jobs() == []
    assert log_of(repository, "--format=%an <%ae>") == ["Odin <odin@odin>"]


def test_opening_again_keeps_everything(repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    again = Repository.open(repository.path)
    assert again.jobs() == ["sst2"]
    assert again.head() == repository.head()
    again.close()


def test_a_created_job_has_no_tasks(repository: Repository, ann: Author) -> None:
    written = repository.create("nlp__sst2", ann)
    assert written.paths == ("nlp/sst2/main.yml",)
    assert repository.render("nlp/sst2", {}).job.tasks == ()
    with pytest.raises(Conflict, match="nlp/sst2 exists already"):
        repository.create("nlp/sst2", ann)


def test_a_write_is_a_commit_by_its_author(repository: Repository, ann: Author) -> None:
    written = repository.write("sst2", {"main.yml": GOOD, "conf/a.yml": b"a: 1\n"}, ann, create=True)
    assert log_of(repository, "-1", "--format=%H %an %ae %s") == [
        f"{written.version} Ann Example ann@odin Write sst2: conf/a.yml, main.yml"
    ]
    assert written.paths == ("sst2/main.yml", "sst2/conf/a.yml")
    assert written.sizes == (len(GOOD), 5)


def test_a_name_cannot_forge_an_author_line(repository: Repository) -> None:
    mallory = Author("mal", "Root <root@odin>\nauthor Root <root@odin> 0 +0000\0\u202e")
    repository.create("sst2", mallory)
    (line,) = log_of(repository, "-1", "--format=%an|%ae|%cn|%ce")
    name, address, *_ = line.split("|")
    assert address == "mal@odin"
    assert "<" not in name
    assert log_of(repository, "-1", "--author=<root@odin>") == []


def test_the_same_bytes_again_make_no_commit(repository: Repository, ann: Author) -> None:
    first = repository.write("sst2", {"main.yml": GOOD}, ann, create=True)
    again = repository.write("sst2", {"main.yml": GOOD}, ann)
    assert again.version == first.version == repository.head()


def test_a_job_is_made_by_a_write_only_when_asked(repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    with pytest.raises(NotFound, match="did you mean sst2"):
        repository.write("sst3", {"a.txt": b"a"}, ann)
    repository.write("sst3", {"a.txt": b"a"}, ann, create=True)
    assert [file.path for file in repository.folder("sst3").files] == ["a.txt", "main.yml"]


def test_a_broken_job_is_refused_and_nothing_is_stored(repository: Repository, ann: Author) -> None:
    before = repository.head()
    with pytest.raises(ValidationFailed) as refused:
        repository.write("sst2", {"main.yml": BROKEN, "a.txt": b"a"}, ann, create=True)
    places = {(problem.file, problem.line, problem.column) for problem in refused.value.problems}
    assert ("sst2/main.yml", 3, 3) in places
    assert repository.head() == before


def test_a_draft_is_stored_and_then_fails_its_check(repository: Repository, ann: Author) -> None:
    repository.write("sst2", {"main.yml": BROKEN}, ann, create=True, draft=True)
    with pytest.raises(ValidationFailed):
        repository.render("sst2", {})
    with pytest.raises(ValidationFailed):
        repository.write("sst2", {"a.txt": b"a"}, ann)
    repository.write("sst2", {"a.txt": b"a"}, ann, draft=True)


def test_a_draft_is_no_way_around_the_check_of_the_tree(repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    with pytest.raises(InvalidInput, match="differ in upper and lower case"):
        repository.write("sst2", {"A.txt": b"", "a.txt": b""}, ann, draft=True)


def test_a_file_and_a_folder_cannot_share_a_name(repository: Repository, ann: Author) -> None:
    repository.write("sst2", {"a/b": b"b"}, ann, create=True)
    with pytest.raises(InvalidInput, match='"sst2/a" is a folder'):
        repository.write("sst2", {"a": b"a"}, ann)
    with pytest.raises(InvalidInput, match='"sst2/a/b" is a file'):
        repository.write("sst2", {"a/b/c": b"c"}, ann)


def test_a_deleted_file_is_gone_and_its_folder_too(repository: Repository, ann: Author) -> None:
    repository.write("sst2", {"a/b": b"b", "c": b"c"}, ann, create=True)
    repository.write("sst2", {"a/b": None}, ann)
    assert [file.path for file in repository.folder("sst2").files] == ["c", "main.yml"]
    with pytest.raises(NotFound):
        repository.write("sst2", {"a/b": None}, ann)
    with pytest.raises(Conflict, match=r"without its main\.yml"):
        repository.write("sst2", {"main.yml": None}, ann)


def test_a_deleted_job_is_gone_and_its_history_stays(repository: Repository, ann: Author) -> None:
    then = repository.write("sst2", {"main.yml": GOOD, "a/b": b"b"}, ann, create=True).version
    repository.delete("sst2", ann)
    assert repository.jobs() == []
    assert repository.read("sst2", "a/b", at=then) == b"b"


def test_a_job_with_others_inside_is_not_deleted(repository: Repository, ann: Author) -> None:
    repository.create("nlp", ann)
    repository.create("nlp/sst2", ann)
    with pytest.raises(Conflict, match="nlp/sst2"):
        repository.delete("nlp", ann)
    repository.delete("nlp/sst2", ann)
    repository.delete("nlp", ann)


def test_unknown_things_are_named_with_the_nearest(repository: Repository, ann: Author) -> None:
    repository.write("nlp/sst2", {"main.yml": GOOD, "train.yml": b""}, ann, create=True)
    with pytest.raises(NotFound) as missing:
        repository.folder("nlp/sst3")
    assert missing.value.near == ("nlp/sst2",)
    with pytest.raises(NotFound) as missing:
        repository.read("nlp/sst2", "trian.yml")
    assert missing.value.near[0] == "train.yml"
    with pytest.raises(NotFound):
        repository.read("nlp/sst2", "main.yml", at=Sha("0" * 40))


def test_a_program_stays_executable(repository: Repository, ann: Author) -> None:
    repository.write("sst2", {"run.sh": b"#!/bin/sh\n", "a.txt": b"a"}, ann, create=True)
    repository.write("sst2", {"run.sh": b"echo\n"}, ann)
    modes = {file.path: file.executable for file in repository.folder("sst2").files}
    assert modes == {"run.sh": True, "a.txt": False, "main.yml": False}


def test_a_job_keeps_its_age_through_writes(repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    born = repository.folder("sst2").created_at
    repository.write("sst2", {"a.txt": b"a"}, ann)
    repository.create("other", ann)
    fresh = Repository.open(repository.path)
    assert repository.folder("sst2").created_at == fresh.folder("sst2").created_at == born
    fresh.close()


def test_a_write_after_a_change_of_the_job_is_refused_if_it_must_match(repository: Repository, ann: Author) -> None:
    seen = repository.create("sst2", ann).version
    repository.create("other", ann)
    repository.write("sst2", {"a": b"1"}, ann, if_match=seen)
    with pytest.raises(Conflict, match="has changed since"):
        repository.write("sst2", {"a": b"2"}, ann, if_match=seen)


@pytest.mark.parametrize("size", [10 * 1024 * 1024 + 1, 20 * 1024 * 1024])
def test_f63_a_file_over_the_limit_is_refused_by_name(repository: Repository, ann: Author, size: int) -> None:
    with pytest.raises(TooLarge, match=r"sst2/big\.bin has"):
        repository.write("sst2", {"big.bin": bytes(size)}, ann, create=True)


def test_f63_a_file_at_the_limit_is_taken(repository: Repository, ann: Author) -> None:
    repository.write("sst2", {"big.bin": bytes(10 * 1024 * 1024)}, ann, create=True)


def test_a_pinned_commit_survives_what_git_throws_away(repository: Repository, plumbing, ann: Author) -> None:
    lonely = plumbing.commit(plumbing.tree(("100644", b"a", plumbing.blob(b"lonely"))))
    repository.pin(lonely)
    repository.pin(lonely)
    prune = ["git", f"--git-dir={repository.path}", "-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now"]
    subprocess.run(prune, check=True)
    plumbing.store.free()
    assert repository.jobs(at=lonely) == []
    repository.unpin(lonely)
    repository.unpin(lonely)
    subprocess.run(prune, check=True)
    with pytest.raises(NotFound):
        repository.jobs(at=lonely)


def test_f60_200_concurrent_pushes_to_20_jobs_from_20_threads_are_200_commits(
    repository: Repository, ann: Author
) -> None:
    for job in range(20):
        repository.create(f"job{job}", ann)
    before = len(log_of(repository, "--format=%H"))

    def client(number: int) -> list[str]:
        author = Author(f"user{number}")
        return [
            repository.write(f"job{(number + turn) % 20}", {f"{number}-{turn}.txt": b"%d" % turn}, author).version
            for turn in range(10)
        ]

    with ThreadPoolExecutor(20) as pool:
        written = [version for versions in pool.map(client, range(20)) for version in versions]
    history = log_of(repository, "--format=%H %P")
    assert len(set(written)) == 200
    assert len(history) == before + 200
    assert set(written) <= {line.split()[0] for line in history}
    assert all(len(line.split()) == 2 for line in history[:-1])
    assert sum(len(repository.folder(f"job{job}").files) for job in range(20)) == 220
    assert fsck(repository) == ""


def test_f60_writers_to_the_same_file_come_one_on_top_of_the_other(repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    others = [Repository.open(repository.path) for _ in range(4)]  # each as if a server of its own
    barrier = threading.Barrier(4)

    def write(one: Repository, number: int) -> str:
        barrier.wait()
        return one.write("sst2", {"same.txt": b"%d" % number}, ann).version

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(write, others, range(4)))
    history = log_of(repository, "--format=%H")
    assert set(written) <= set(history)
    assert len(history) == 6
    for one in others:
        one.close()


def test_f60_git_pushes_and_writes_at_once_lose_nothing(
    repository: Repository, ann: Author, git, url: str, tmp_path: Path
) -> None:
    repository.create("sst2", ann)

    def person(number: int) -> list[str]:
        git.inside(tmp_path)("clone", "-q", url, f"clone{number}")
        clone, pushed = git.inside(tmp_path / f"clone{number}"), []
        for turn in range(3):
            (clone.folder / f"sst2/by-git-{number}-{turn}.txt").write_text(str(turn))
            clone("add", "-A")
            clone("commit", "-q", "-m", f"{number} {turn}")
            pushed.append(_push(clone))
        return pushed

    def program(number: int) -> list[str]:
        return [repository.write("sst2", {f"by-rest-{number}-{n}.txt": b"x"}, ann).version for n in range(10)]

    with ThreadPoolExecutor(6) as pool:
        people, programs = pool.map(person, range(3)), pool.map(program, range(3))
        written = [version for versions in (*people, *programs) for version in versions]
    history = log_of(repository, "--format=%H %P")
    assert set(written) <= {line.split()[0] for line in history}
    assert all(len(line.split()) == 2 for line in history[:-1])
    assert len(repository.folder("sst2").files) == 1 + 9 + 30
    assert fsck(repository) == ""


def _push(clone) -> str:
    for _ in range(30):
        clone("pull", "-q", "--rebase", "origin", "main")
        clone("push", "-q", "origin", "main", check=False)
        if clone.code == 0:
            break
    assert clone.code == 0
    return clone("rev-parse", "HEAD")


def test_a_write_to_a_locked_repository_fails_with_the_reason_and_the_next_works(
    repository: Repository, ann: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odin.jobs.refs.LOCK_WAIT_S", 0.2)
    repository.create("sst2", ann)
    lock = repository.path / "refs/heads/main.lock"
    lock.touch()
    with pytest.raises(Unavailable, match=r"is locked: main\.lock"):
        repository.write("sst2", {"a": b"a"}, ann)
    lock.unlink()
    repository.write("sst2", {"a": b"a"}, ann)
    assert repository.read("sst2", "a") == b"a"


NAMES = ["-x", "--upload-pack=touch x", "../x", "/etc/passwd", "a/../b", "", ".", "a//b", "a\0b", "a\nb", "a\\b",
         "a b/", "%2e%2e/x", "é", "a/-b", "_a", "a_", "x" * 300, "/".join("abcdefghi")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a30_a_job_name_never_becomes_an_option_or_a_way_out(repository: Repository, ann: Author, name: str) -> None:
    for ask in (repository.folder, lambda job: repository.render(job, {}), lambda job: repository.create(job, ann)):
        with pytest.raises((InvalidInput, NotFound)):
            ask(name)
    assert repository.jobs() == []


REVISIONS = ["main", "HEAD", "--all", "-n1", "main~0", "HEAD:sst2", "refs/heads/main", "abc", "A" * 40, ":/Begin", ""]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a30_only_a_full_object_id_is_a_revision(repository: Repository, ann: Author, revision: str) -> None:
    repository.create("sst2", ann)
    for ask in (repository.pin, repository.check_tree, lambda version: repository.read("sst2", "main.yml", version)):
        with pytest.raises(InvalidInput, match="is not a full commit id"):
            ask(Sha(revision))
