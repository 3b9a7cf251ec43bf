"""Trees that no well-meaning program writes: refused at push, and harmless where they arrived unchecked."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.errors import InvalidInput, OdinError, TooLarge, ValidationFailed

GOOD = b"tasks:\n- name: fetch\n  command: echo\n"
MODES = ["120000", "160000", "100664", "100600", "100777", "040755", "010000", "020000", "060000", "140000", "0"]
FORMS_OF_GIT = [
    b".git", b".GIT", b".Git", b"git~1", b"GIT~1", ".g\u200cit".encode(), ".git\u200c".encode(), ".gi\u206ft".encode(),
    b".git ", b".git.", b".git. .", b".git::$INDEX_ALLOCATION", b"git~1:x",
]  # fmt: skip
WAYS_OUT = [b"..", b".", b"a/../../x", b"/etc", b"a/b", b"", b"a\\..\\b", b"..\\x"]
ODD = [
    b"a\nb",
    b"a\x1b[2J",
    "a\u202eb".encode(),
    "e\u0301".encode(),
    b"\xff\xfe",
    b"\xc0\xae\xc0\xae",
    b"-rf",
    b"x" * 256,
]


def with_entry(mode: str, name: bytes) -> Callable:
    return lambda p: p.tree((mode, name, p.tree() if mode.endswith("40755") else p.blob(b"../../canary")))


def link_then_through(p) -> str:
    """``a`` is a link out and ``a/canary`` a file: who writes one after the other writes outside."""
    inner = p.tree(("100644", b"canary", p.blob(b"overwritten")))
    return p.tree(("120000", b"a", p.blob(b"../..")), ("40000", b"a", inner))


def reused_prefix(p) -> str:
    """A folder, then a link of the same name, then the folder again (gitoxide's prefix reuse)."""
    inner = p.tree(("100644", b"canary", p.blob(b"overwritten")))
    return p.tree(("40000", b"a", inner), ("120000", b"a", p.blob(b"../..")), ("40000", b"a", inner))


def deep(levels: int) -> Callable:
    def make(p) -> str:
        tree = p.tree(("100644", b"x", p.blob()))
        for _ in range(levels):
            tree = p.tree(("40000", b"d", tree))
        return tree

    return make


def bomb(p) -> str:
    """Eleven levels of ten: a hundred billion paths in a dozen objects."""
    tree = p.tree(("100644", b"main.yml", p.blob()))
    for _ in range(11):
        tree = p.tree(*(("40000", b"%d" % n, tree) for n in range(10)))
    return tree


def beneath(name: bytes) -> Callable:
    return lambda p: p.tree(("40000", name, p.tree(("100644", b"main.yml", p.blob(GOOD)))))


HOSTILE = {
    **{f"mode {mode}": with_entry(mode, b"x") for mode in MODES},
    **{f"mode {mode} as main.yml": with_entry(mode, b"main.yml") for mode in MODES if mode != "0"},
    **{f"form of git {name!r}": with_entry("100644", name) for name in FORMS_OF_GIT},
    **{f"folder {name!r}": beneath(name) for name in FORMS_OF_GIT[:4]},
    **{f"way out {name!r}": with_entry("100644", name) for name in WAYS_OUT},
    **{f"way out by folder {name!r}": beneath(name) for name in WAYS_OUT},
    **{f"odd {name!r}": with_entry("100644", name) for name in ODD},
    **{f"job {name!r}": beneath(name) for name in (b"a__b", b"_a", b"a_", b"a b", "é".encode(), b".a", b"a.")},
    "twice": lambda p: p.tree(("100644", b"a", p.blob(b"1")), ("100644", b"a", p.blob(b"2"))),
    "file and folder": lambda p: p.tree(("100644", b"a", p.blob()), ("40000", b"a", p.tree())),
    "upper and lower case": lambda p: p.tree(("100644", b"A", p.blob()), ("100644", b"a", p.blob())),
    "sharp s": lambda p: p.tree(("100644", b"strasse", p.blob()), ("100644", "straße".encode(), p.blob())),
    "link then through": link_then_through,
    "reused prefix": reused_prefix,
    "deep": deep(33),
    "very deep": deep(3000),
    "bomb": bomb,
    "submodule with file": lambda p: p.tree(("160000", b"sub", p.blob()), ("100644", b".gitmodules", p.blob())),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where checkouts lie, with a canary beside and above it."""
    for folder in (tmp_path, tmp_path / "shared"):
        folder.mkdir(exist_ok=True)
        (folder / "canary").write_text("alive")
    return tmp_path / "shared/checkouts"


def alive(root: Path) -> bool:
    return all((folder / "canary").read_text() == "alive" for folder in root.parents[:2])


def place(plumbing, hostile: str, *, inside_job: bool) -> str:
    """The hostile tree beside a job's files, or at the root."""
    if not inside_job:
        return hostile
    main = plumbing.blob(GOOD)
    return plumbing.tree(("40000", b"job", plumbing.tree(("40000", b"data", hostile), ("100644", b"main.yml", main))))


@pytest.mark.parametrize("inside_job", [False, True], ids=["at the root", "in a job"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a04_a_hostile_tree_that_arrived_unchecked_is_never_checked_out(
    repository: Repository, plumbing, root: Path, name: str, inside_job: bool
) -> None:
    version = plumbing.arrive(place(plumbing, HOSTILE[name](plumbing), inside_job=inside_job))
    checkouts = Checkouts(repository, root)
    with pytest.raises(OdinError):
        checkouts.ensure(version)
    if inside_job:
        with pytest.raises((ValidationFailed, TooLarge)):
            repository.render("job", {})
    assert checkouts.ready(version) is None
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == []
    assert alive(root)


PUSHED = ["mode 120000", "mode 160000", "mode 100664", "twice", "link then through", "upper and lower case",
          "form of git b'.g\\xe2\\x80\\x8cit'", "form of git b'git~1'", "way out b'..'", "odd b'\\xff\\xfe'",
          "deep", "bomb"]  # fmt: skip


@pytest.mark.parametrize("name", PUSHED)
def test_a04_a_hostile_tree_is_refused_at_push(repository: Repository, plumbing, git, url: str, name: str) -> None:
    before = repository.head()
    offered = plumbing.commit(place(plumbing, HOSTILE[name](plumbing), inside_job=True))
    sender = send_from(plumbing, git, offered)
    said = sender("push", url, f"{offered}:refs/heads/main", check=False)
    assert sender.code != 0, said
    assert "remote: " in said
    assert repository.head() == before


def send_from(plumbing, git, offered: str):
    """A repository that holds the offered objects, as the one who pushes has them."""
    sender = git.inside(git.folder / "sender.git")
    git("clone", "-q", "--bare", str(plumbing.repository.path), "sender.git")
    objects = subprocess.run(
        ["git", f"--git-dir={plumbing.repository.path}", "rev-list", "--objects", offered],
        capture_output=True, check=False,
    )  # fmt: skip
    if objects.returncode != 0:
        pytest.skip("git itself cannot walk this tree")
    (sender.folder / "objects/info/alternates").write_text(f"{plumbing.repository.path}/objects\n")
    return sender


@pytest.mark.parametrize("name", ["a__b", "x/_a/y", "x/a_"])
def test_a02_a_pushed_job_whose_name_could_be_another_is_refused(clone, repository: Repository, name: str) -> None:
    folder = clone.folder / name
    folder.mkdir(parents=True)
    (folder / "main.yml").write_bytes(GOOD)
    clone("add", "-A")
    clone("commit", "-q", "-m", "x")
    said = clone("push", "origin", "main", check=False)
    assert clone.code != 0
    assert f"remote: {name}/main.yml: " in said
    assert repository.jobs() == []


def test_a02_other_files_may_have_underscores(clone, repository: Repository) -> None:
    folder = clone.folder / "job/pkg__x/_private"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (clone.folder / "job/main.yml").write_bytes(GOOD)
    clone("add", "-A")
    clone("commit", "-q", "-m", "x")
    clone("push", "-q", "origin", "main")
    assert [file.path for file in repository.folder("job").files] == ["main.yml", "pkg__x/_private/__init__.py"]


def test_a02_names_that_differ_in_case_alone_are_refused_across_writes(repository: Repository, ann: Author) -> None:
    repository.create("nlp/sst2", ann)
    with pytest.raises(InvalidInput, match="upper and lower case"):
        repository.create("NLP/other", ann)
    with pytest.raises(InvalidInput, match="upper and lower case"):
        repository.write("nlp/sst2", {"Main.yml": b""}, ann)


@pytest.mark.parametrize("name", FORMS_OF_GIT)
def test_a33_no_form_of_git_is_written(repository: Repository, ann: Author, name: bytes) -> None:
    repository.create("sst2", ann)
    before = repository.head()
    for path in (name.decode(), f"a/{name.decode()}/config", f"{name.decode()}/hooks/pre-receive"):
        with pytest.raises(InvalidInput):
            repository.write("sst2", {path: b"x"}, ann, draft=True)
    assert repository.head() == before


def test_a34_what_configures_git_is_only_a_file(repository: Repository, ann: Author, git, url: str, root: Path) -> None:
    files = {
        ".gitattributes": b"* text eol=crlf filter=evil ident export-subst\n",
        ".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = ../x\n',
        "lfs.bin": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "a.txt": b"one\r\ntwo\n$Id$\n$Format:%H$\n",
    }
    written = repository.write("sst2", dict(files), ann, create=True)
    checkout = Checkouts(repository, root).ensure(written.version)
    assert {name: (checkout / "sst2" / name).read_bytes() for name in files} == files


def test_a34_replaced_objects_are_not_followed(repository: Repository, ann: Author, git, url: str) -> None:
    repository.write("sst2", {"a.txt": b"true"}, ann, create=True)
    bare = git.inside(repository.path)
    true, false = (bare("hash-object", "-w", "--stdin", stdin=text) for text in (b"true", b"false"))
    bare("replace", true, false)
    git("clone", "-q", url, "copy")
    assert (git.folder / "copy/sst2/a.txt").read_bytes() == b"true"
    assert repository.read("sst2", "a.txt") == b"true"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["HEAD:refs/heads/other"], "only main can be pushed"),
        (["HEAD:refs/odin/pins/x"], "hidden ref"),
        (["HEAD:refs/tags/v1"], "only main can be pushed"),
        (["HEAD:refs/heads/--exec=x"], "only main can be pushed"),
        ([":refs/heads/main"], "main cannot be deleted"),
        (["HEAD:refs/heads/main", "HEAD:refs/heads/other"], "only main can be pushed"),
    ],
)
def test_a35_nothing_but_the_branch_can_be_pushed(
    clone, repository: Repository, arguments: list[str], reason: str
) -> None:
    before = repository.head()
    (clone.folder / "a.txt").write_text("a")
    clone("add", "-A")
    clone("commit", "-q", "-m", "x")
    said = clone("push", "origin", *arguments, check=False)
    assert clone.code != 0
    assert reason in said
    assert repository.head() == before
    assert len(git_refs(repository)) == 1


def git_refs(repository: Repository) -> list[str]:
    shown = subprocess.run(["git", f"--git-dir={repository.path}", "show-ref"], capture_output=True, check=True)
    return shown.stdout.decode().splitlines()


def test_a35_a_forced_push_is_refused(clone, repository: Repository, ann: Author) -> None:
    repository.create("sst2", ann)
    before = repository.head()
    clone("commit", "-q", "--amend", "--allow-empty", "-m", "another beginning")
    said = clone("push", "--force", "origin", "main", check=False)
    assert clone.code != 0
    assert "rejected" in said
    assert repository.head() == before


def test_a35_a_push_over_the_limit_is_refused_and_leaves_nothing(clone, repository: Repository, git) -> None:
    git.inside(repository.path)("config", "receive.maxInputSize", str(1024 * 1024))
    before = repository.head()
    (clone.folder / "noise").write_bytes(os.urandom(5 * 1024 * 1024))
    clone("add", "-A")
    clone("commit", "-q", "-m", "x")
    said = clone("push", "origin", "main", check=False)
    assert clone.code != 0
    assert "exceeds maximum allowed size" in said
    assert repository.head() == before
    assert sum(path.stat().st_size for path in repository.path.rglob("*") if path.is_file()) < 1024 * 1024


def test_a35_a_file_that_unpacks_to_many_times_its_size_is_refused(clone, repository: Repository) -> None:
    with (clone.folder / "zeros").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    clone("-c", "core.bigFileThreshold=1m", "-c", "core.compression=1", "add", "-A")
    clone("commit", "-q", "-m", "x")
    said = clone("-c", "core.bigFileThreshold=1m", "push", "origin", "main", check=False)
    assert "zeros: the file has 314572800 bytes" in said
    assert repository.jobs() == []
