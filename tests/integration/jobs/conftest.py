"""A jobs repository, git as a user has it, and the repository behind a real HTTP server."""

import base64
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pygit2
import pytest
import uvicorn
from pygit2.enums import ObjectType

from odin.jobs.http import GitBackend
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.model.ids import Sha


@pytest.fixture
def ann() -> Author:
    return Author("ann", "Ann Example")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    opened = Repository.open(tmp_path / "data" / "jobs.git")
    yield opened
    opened.close()


class Git:
    """git in a folder, with an author and without the settings of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, check: bool = True, stdin: bytes = b"", **env: str) -> str:
        done = subprocess.run(
            ["git", "-c", "protocol.version=2", *arguments],
            cwd=self.folder, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={
                "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_TERMINAL_PROMPT": "0",
                "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C",
                "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org",
                "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org", **env,
            },
        )  # fmt: skip
        self.code = done.returncode
        said = done.stdout.decode("utf-8", "replace")
        assert not check or done.returncode == 0, said
        return said.strip()

    def inside(self, folder: Path) -> "Git":
        return Git(folder)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


def basic_author(scope) -> Author:
    header = dict(scope["headers"]).get(b"authorization", b"Basic YW5uOg==").split()[1]
    return Author(base64.b64decode(header).decode().partition(":")[0])


@pytest.fixture
def serve() -> Iterator[Callable[[Repository], str]]:
    """Serve repositories over HTTP; each call gives a URL."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def start(repository: Repository, **options) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        app = GitBackend(repository, basic_author, **options)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return f"http://ann:secret@127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture
def url(repository: Repository, serve: Callable[[Repository], str]) -> str:
    return serve(repository)


@pytest.fixture
def clone(git: Git, url: str, tmp_path: Path) -> Git:
    """A clone of the repository, over HTTP."""
    git("clone", "-q", url, "clone")
    return git.inside(tmp_path / "clone")


class Plumbing:
    """Objects written byte for byte, as no well-meaning program would, and the branch set to them."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.store = pygit2.Repository(str(repository.path))

    def blob(self, content: bytes = b"x") -> str:
        return str(self.store.create_blob(content))

    def tree(self, *lines: tuple[str, bytes, str]) -> str:
        """``lines`` are mode, name and id, kept in the order given."""
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in lines)
        return str(self.store.odb.write(ObjectType.TREE, raw))

    def commit(self, tree: str, *, parent: str | None = None) -> Sha:
        parent = parent or self.repository.head()
        text = f"tree {tree}\nparent {parent}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n"
        return Sha(str(self.store.odb.write(ObjectType.COMMIT, text.encode())))

    def arrive(self, tree: str) -> Sha:
        """The commit becomes the tip unchecked, as from a remote."""
        made = self.commit(tree)
        self.store.references["refs/heads/main"].set_target(pygit2.Oid(hex=made))
        return made


@pytest.fixture
def plumbing(repository: Repository) -> Plumbing:
    return Plumbing(repository)
