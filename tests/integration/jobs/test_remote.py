"""With a remote nothing counts before the remote has it; without an answer from it what is here still runs."""

import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from odin.jobs import address, child
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.errors import InvalidInput, Unavailable

GOOD = b"tasks:\n- name: fetch\n  command: echo\n"


@pytest.fixture
def upstream(git, tmp_path: Path):
    """The remote: a bare repository with one job in it."""
    git("init", "-q", "--bare", "-b", "main", "upstream.git")
    other = colleague(git, tmp_path / "upstream.git", "seed")
    change(other, "nlp/main.yml", GOOD)
    return git.inside(tmp_path / "upstream.git")


def colleague(git, upstream: Path, name: str):
    """Somebody who works with the remote alone."""
    git("clone", "-q", str(upstream), name)
    clone = git.inside(git.folder / name)
    clone("checkout", "-q", "-B", "main")
    return clone


def change(clone, name: str, content: bytes, *push: str) -> str:
    path = clone.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    clone("add", "-A")
    clone("commit", "-q", "-m", f"Change {name}")
    clone("push", "-q", *push, "origin", "main")
    return clone("rev-parse", "HEAD")


@pytest.fixture
def mirrored(upstream, tmp_path: Path):
    repository = Repository.open(tmp_path / "data/jobs.git", remote=str(upstream.folder))
    yield repository
    repository.close()


def take_away(upstream) -> Path:
    return upstream.folder.rename(upstream.folder.with_name("away.git"))


def test_the_remotes_jobs_are_there_after_the_first_start(mirrored: Repository, upstream) -> None:
    assert mirrored.jobs() == ["nlp"]
    assert mirrored.head() == upstream("rev-parse", "main")


def test_an_empty_remote_gets_the_first_write(git, tmp_path: Path, ann: Author) -> None:
    git("init", "-q", "--bare", "-b", "main", "empty.git")
    repository = Repository.open(tmp_path / "jobs.git", remote=str(tmp_path / "empty.git"))
    written = repository.create("sst2", ann)
    assert git.inside(tmp_path / "empty.git")("rev-parse", "main") == written.version
    repository.close()


def test_a_write_is_acknowledged_once_the_remote_has_it(mirrored: Repository, upstream, ann: Author) -> None:
    written = mirrored.create("sst2", ann)
    assert upstream("rev-parse", "main") == written.version == mirrored.head()


def test_f61_a_write_lands_on_top_of_what_the_remote_got_in_the_meantime(
    mirrored: Repository, upstream, git, ann: Author
) -> None:
    theirs = change(colleague(git, upstream.folder, "colleague"), "other/main.yml", GOOD)
    written = mirrored.create("sst2", ann)
    assert mirrored.jobs() == ["nlp", "other", "sst2"]
    assert upstream("rev-parse", "main") == written.version
    assert upstream("rev-parse", "main~1") == theirs


def test_f61_while_the_remote_is_away_writes_are_refused_and_the_branch_stays(
    mirrored: Repository, upstream, ann: Author
) -> None:
    before = mirrored.head()
    away = take_away(upstream)
    with pytest.raises(Unavailable, match="cannot be reached") as refused:
        mirrored.create("sst2", ann)
    assert refused.value.retry_after_s
    assert mirrored.head() == before
    assert mirrored.render("nlp", {}).job.tasks[0].name == "fetch"
    assert "cannot be fetched" in (mirrored.refresh() or "")
    away.rename(upstream.folder)
    assert mirrored.refresh() is None
    assert mirrored.create("sst2", ann).version == upstream("rev-parse", "main")


def test_f61_a_server_starts_while_its_remote_is_away(tmp_path: Path, upstream, ann: Author) -> None:
    away = take_away(upstream)
    repository = Repository.open(tmp_path / "jobs.git", remote=str(upstream.folder))
    assert repository.jobs() == []
    away.rename(upstream.folder)
    assert repository.refresh() is None
    assert repository.jobs() == ["nlp"]
    repository.create("sst2", ann)
    repository.close()


def test_f61_before_a_launch_the_remotes_commits_are_fetched(mirrored: Repository, upstream, git) -> None:
    theirs = change(colleague(git, upstream.folder, "colleague"), "nlp/a.txt", b"a")
    assert mirrored.refresh() is None
    assert mirrored.head() == theirs


def test_f61_many_launches_share_a_fetch(mirrored: Repository, upstream, git) -> None:
    change(colleague(git, upstream.folder, "colleague"), "nlp/a.txt", b"a")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: mirrored.refresh(), range(40)))
    assert answers == [None] * 40
    assert mirrored.head() == upstream("rev-parse", "main")


def test_f61_a_remote_that_never_answers_is_given_up_after_the_limit(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken = []
        accepting = threading.Thread(target=lambda: taken.append(silent.accept()), daemon=True)
        accepting.start()
        env = child.environment(tmp_path) | {"GIT_ALLOW_PROTOCOL": "http"}
        asked = ["ls-remote", "--", f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"]
        outcome = child.run(asked, env=env, timeout_s=1.0)
        accepting.join()
        taken[0][0].close()
    assert outcome.code is None
    assert "no answer within 1 s" in outcome.reason


def test_f61_what_the_remote_refuses_is_refused_here_with_its_reason(
    mirrored: Repository, upstream, ann: Author
) -> None:
    before = mirrored.head()
    hook = upstream.folder / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not on a Sunday\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(Unavailable, match=r"refused the commit: .*not on a Sunday"):
        mirrored.create("sst2", ann)
    assert mirrored.head() == before


def test_f61_a_git_push_is_accepted_once_the_remote_has_it(mirrored: Repository, upstream, git, serve) -> None:
    git("clone", "-q", serve(mirrored), "clone")
    clone = git.inside(git.folder / "clone")
    pushed = change(clone, "sst2/main.yml", GOOD)
    assert upstream("rev-parse", "main") == pushed == mirrored.head()
    take_away(upstream)
    (clone.folder / "sst2/b.txt").write_text("b")
    clone("add", "-A")
    clone("commit", "-q", "-m", "b")
    said = clone("push", "origin", "main", check=False)
    assert clone.code != 0
    assert "cannot be reached" in said
    assert mirrored.head() == pushed


def test_f61_a_git_push_behind_the_remote_is_refused_and_can_be_rebased(
    mirrored: Repository, upstream, git, serve
) -> None:
    git("clone", "-q", serve(mirrored), "clone")
    clone = git.inside(git.folder / "clone")
    theirs = change(colleague(git, upstream.folder, "colleague"), "other/main.yml", GOOD)
    (clone.folder / "a.txt").write_text("a")
    clone("add", "-A")
    clone("commit", "-q", "-m", "a")
    said = clone("push", "origin", "main", check=False)
    assert clone.code != 0
    assert "the remote has newer commits" in said
    assert mirrored.head() == theirs
    clone("pull", "-q", "--rebase", "origin", "main")
    clone("push", "-q", "origin", "main")
    assert mirrored.head() == upstream("rev-parse", "main") == clone("rev-parse", "HEAD")


def test_f62_a_rewritten_remote_is_never_followed_and_never_forced(
    mirrored: Repository, upstream, git, ann: Author
) -> None:
    pinned = mirrored.create("sst2", ann).version
    mirrored.pin(pinned)
    other = colleague(git, upstream.folder, "colleague")
    other("reset", "-q", "--hard", "HEAD~1")
    theirs = change(other, "else/main.yml", GOOD, "--force")
    warning = mirrored.refresh() or ""
    assert pinned in warning
    assert theirs in warning
    assert "update-ref" in warning
    assert "push --force-with-lease" in warning
    assert mirrored.head() == pinned
    with pytest.raises(Unavailable, match="another history"):
        mirrored.create("new", ann)
    assert mirrored.head() == pinned
    assert upstream("rev-parse", "main") == theirs
    git.inside(mirrored.path)("gc", "-q", "--prune=now")
    assert mirrored.jobs(at=pinned) == ["nlp", "sst2"]


def test_f62_a_remote_without_the_branch_is_a_warning(mirrored: Repository, upstream) -> None:
    before = mirrored.head()
    upstream("branch", "-m", "main", "renamed")
    assert "cannot be fetched" in (mirrored.refresh() or "")
    assert mirrored.head() == before


REFUSED = [
    "ext::sh -c touch% x", "ext::touch x", "fd::7", "git://host/x.git", "http://host/x.git", "ftp://host/x",
    "file://host/x.git", "--upload-pack=touch x", "-oProxyCommand=x", "-x:path", "ssh://-oProxyCommand=x/y",
    "ssh://host:port/x", "ssh://user@-host/x", "ssh://-user@host/x", "-user@host:x", "user@-host:x", "https://-host/x",
    "https://", "ssh://", "x.git", "./x.git", "../x.git", "~/x.git", "", " ", "https://host/x y", "https://host/\nx",
    "https://host/x?service=1", "https://host/x#y", "ssh://u:p@host/x", "ssh://ho$(st)/x", "ssh://`x`/y", "host`x`:y",
    "https://ho st/x", "transport::x", "ssh+git://host/x", "git+ssh://host/x", "https://[::1/x",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_a31_other_ways_to_a_remote_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        Repository.open(tmp_path / "jobs.git", remote=url or " ")


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("https://host.example:8443/a/b.git", "https://host.example:8443/a/b.git"),
        ("https://ann:s3cr%20t@host/b.git", "https://host/b.git"),
        ("ssh://git@host:22/b.git", "ssh://git@host:22/b.git"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("host:/a/b.git", "host:/a/b.git"),
        ("https://[::1]/b.git", "https://[::1]/b.git"),
        ("/srv/jobs.git", "file:///srv/jobs.git"),
        ("file:///srv/jobs.git", "file:///srv/jobs.git"),
    ],
)
def test_a31_the_address_is_built_again_without_its_password(url: str, given: str) -> None:
    parsed = address.parse(url)
    assert parsed.url == given
    assert ("http.extraHeader" in parsed.settings) is ("s3cr" in url)
    assert "YW5u" not in repr(parsed)


def test_a36_the_password_is_in_no_argument_and_no_message(tmp_path: Path, ann: Author) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {_real_git()} "$@"\n')
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        remote = "https://ann:s3cr3t@127.0.0.1:9/jobs.git"
        repository = Repository.open(tmp_path / "jobs.git", remote=remote)
        with pytest.raises(Unavailable) as refused:
            repository.create("sst2", ann)
        warning = repository.refresh() or ""
    assert "https://127.0.0.1:9/jobs.git" in seen.read_text()
    assert "s3cr3t" not in seen.read_text() + str(refused.value) + warning
    repository.close()


def _real_git() -> str:
    return next(f"{folder}/git" for folder in os.environ["PATH"].split(":") if os.access(f"{folder}/git", os.X_OK))
