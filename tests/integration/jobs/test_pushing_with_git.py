"""People clone and push over HTTP; what they push is checked before it is accepted."""

from pathlib import Path

import pytest

from odin.jobs.repository import Repository
from odin.model.errors import NotFound

GOOD = b"tasks:\n- name: fetch\n  command: echo\n"
BROKEN = b"# a comment\ntasks:\n- name: fetch\n  comand: echo\n"


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def commit(clone, name: str, content: bytes) -> None:
    put(clone.folder, name, content)
    clone("add", "-A")
    clone("commit", "-q", "-m", f"Change {name}")


def test_a_pushed_job_is_there(clone, repository: Repository) -> None:
    commit(clone, "nlp/sst2/main.yml", GOOD)
    clone("push", "-q", "origin", "main")
    assert repository.jobs() == ["nlp/sst2"]
    assert repository.read("nlp__sst2", "main.yml") == GOOD
    assert repository.head() == clone("rev-parse", "HEAD")


def test_what_was_written_here_can_be_cloned(repository: Repository, ann, git, url: str, tmp_path: Path) -> None:
    repository.write("sst2", {"main.yml": GOOD, "conf/a.yml": b"a: 1\n"}, ann, create=True)
    git("clone", "-q", url, "copy")
    assert (tmp_path / "copy/sst2/conf/a.yml").read_bytes() == b"a: 1\n"
    assert git.inside(tmp_path / "copy")("log", "-1", "--format=%an <%ae>") == "Ann Example <ann@odin>"


def test_a_broken_job_is_refused_with_its_places(clone, repository: Repository) -> None:
    before = repository.head()
    commit(clone, "sst2/main.yml", BROKEN)
    said = clone("push", "origin", "main", check=False)
    assert clone.code != 0
    assert 'remote: sst2/main.yml:4:3: unknown field "comand"' in said
    assert "-o draft" in said
    assert repository.head() == before


def test_a_draft_is_accepted_unchecked(clone, repository: Repository) -> None:
    commit(clone, "sst2/main.yml", BROKEN)
    clone("push", "-q", "-o", "draft", "origin", "main")
    assert repository.jobs() == ["sst2"]


def test_an_unknown_push_option_is_refused(clone) -> None:
    commit(clone, "sst2/main.yml", GOOD)
    said = clone("push", "-o", "force", "origin", "main", check=False)
    assert 'the push option "force" is unknown' in said


def test_a_job_that_a_push_does_not_touch_is_not_checked(clone, repository: Repository) -> None:
    commit(clone, "old/main.yml", BROKEN)
    clone("push", "-q", "-o", "draft", "origin", "main")
    commit(clone, "new/main.yml", GOOD)
    clone("push", "-q", "origin", "main")
    assert repository.jobs() == ["new", "old"]


def test_a_push_of_many_files_arrives_whole(clone, repository: Repository) -> None:
    for number in range(300):
        put(clone.folder, f"big/data/{number}.bin", bytes([number % 256]) * 10_000)
    commit(clone, "big/main.yml", GOOD)
    clone("push", "-q", "origin", "main")
    assert len(repository.folder("big").files) == 301


def test_a_large_file_is_refused_with_its_name(clone, repository: Repository) -> None:
    put(clone.folder, "big/weights.bin", bytes(10 * 1024 * 1024 + 1))
    commit(clone, "big/main.yml", GOOD)
    said = clone("push", "origin", "main", check=False)
    assert "big/weights.bin: the file has 10485761 bytes" in said
    with pytest.raises(NotFound):
        repository.folder("big")


def test_only_the_three_routes_of_smart_http_are_served(url: str, git) -> None:
    import http.client

    host = url.rpartition("@")[2]
    asked = {}
    for method, path in (
        ("GET", "/HEAD"), ("GET", "/config"), ("GET", "/objects/info/packs"), ("GET", "/info/refs"),
        ("GET", "/info/refs?service=git-upload-archive"), ("GET", "/../jobs.git/info/refs?service=git-upload-pack"),
        ("GET", "/git-upload-pack"), ("POST", "/git-receive-pack"), ("POST", "/info/refs?service=git-upload-pack"),
    ):  # fmt: skip
        connection = http.client.HTTPConnection(host)
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        asked[f"{method} {path}"] = answer.status
        connection.close()
    assert all(400 <= status < 500 for status in asked.values()), asked
