"""The bare repository's folder: made on first start, its settings, its hook, and what a dead server left in it.

Whoever uses the repository (the server, the git programs it starts, their hooks) holds a shared lock on
``odin.lock`` by an inherited descriptor. So a start that gets it alone knows that every lock file of git in
there belongs to the dead. Source: reliability.md, F-64.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, Option

from odin.jobs.failures import translated
from odin.jobs.folders import FOLDER, remove
from odin.jobs.objects import Git
from odin.jobs.refs import Branch
from odin.jobs.values import MAX_PUSH_BYTES, ODIN, Author
from odin.model.errors import InvalidInput

HOOKS = "odin-hooks"
LEFTOVERS = (
    "*.lock",
    "gc.pid",
    "refs/**/*.lock",
    "_git2_*",
    "objects/tmp_object_git2_*",
    "objects/??/tmp_obj_*",
    "objects/pack/tmp_*",
    "objects/incoming-*",
    "objects/tmp_objdir-*",
)
SETTINGS = {
    "core.bare": "true",
    "core.repositoryformatversion": "0",
    "core.fsync": "all",
    "core.logAllRefUpdates": "false",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "16m",
    "gc.autoDetach": "false",
    "http.getanyfile": "false",
    "http.receivepack": "true",
    "http.uploadpack": "true",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "receive.advertisePushOptions": "true",
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "true",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": str(MAX_PUSH_BYTES),
    "transfer.hideRefs": "refs/odin",
}
_once = threading.Lock()


def configure() -> None:
    """Make libgit2 durable and deaf to the settings of the user and the machine. For the whole process."""
    with _once:
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
        # The folder is the operator's own choice, and volumes of containers often belong to another user.
        pygit2.option(Option.SET_OWNER_VALIDATION, False)
        for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.PROGRAMDATA):
            pygit2.settings.search_path[level] = ""


def prepare(folder: Path, branch: str) -> int:
    """Make the repository ready for use; returns the descriptor that keeps it owned. May be repeated.

    Raises NoSpace, Unavailable, and InvalidInput where the folder holds another branch.
    """
    configure()
    with translated(folder.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with translated(folder), _one_at_a_time(folder):
        owner = _own(folder)
        try:
            _make(folder, branch)
        except BaseException:
            os.close(owner)
            raise
    return owner


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Servers on one data folder may start together."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _own(folder: Path) -> int:
    owner = os.open(folder / "odin.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        _remove_leftovers(folder)
    fcntl.flock(owner, fcntl.LOCK_SH)
    return owner


def _remove_leftovers(folder: Path) -> None:
    for path in leftovers(folder):
        parent = os.open(path.parent, FOLDER)
        try:
            remove(path.name, parent)
        finally:
            os.close(parent)


def leftovers(folder: Path) -> Iterator[Path]:
    for pattern in LEFTOVERS:
        yield from (path for path in folder.glob(pattern) if path.name != "odin.lock")


def _make(folder: Path, branch: str) -> None:
    head = folder / "HEAD"
    if not head.exists() or not head.stat().st_size:  # the power went when it was new, and nothing stood in it yet
        head.unlink(missing_ok=True)
        pygit2.init_repository(str(folder), bare=True, initial_head=branch)
    git = pygit2.Repository(str(folder))
    _write_settings(git, folder)
    _write_hook(folder)
    _sync(folder)
    ref = Branch(folder, branch).ref
    if git.references.get(ref) is None:
        _begin(git, ref)


def _write_settings(git: Git, folder: Path) -> None:
    wanted = {**SETTINGS, "core.hooksPath": str(folder.absolute() / HOOKS)}
    config = git.config
    for name, value in wanted.items():
        if name not in config or config[name] != value:
            config[name] = value


def _write_hook(folder: Path) -> None:
    """git starts this before it accepts a push; it is the only program in the hooks' folder."""
    hooks = folder / HOOKS
    hooks.mkdir(mode=0o700, exist_ok=True)
    script = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m odin.jobs.receive\n".encode()
    hook = hooks / "pre-receive"
    if hook.exists() and hook.read_bytes() == script:
        return
    new = hooks / f"pre-receive.{os.getpid()}"
    new.write_bytes(script)
    new.chmod(0o700)
    new.replace(hook)


def _sync(folder: Path) -> None:
    """libgit2 syncs objects and references alone. Without the rest there is no repository after a power loss."""
    for name in ("HEAD", "config", f"{HOOKS}/pre-receive", HOOKS, ""):
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _begin(git: Git, ref: str) -> None:
    others = [name for name in git.references if name.startswith("refs/heads/")]
    if others:
        raise InvalidInput(f"the repository has no {ref}; it has {', '.join(others)}")
    who = signature(ODIN)
    first = git.create_commit(None, who, who, "Begin", git.TreeBuilder().write(), [])
    try:
        git.references.create(ref, first)
    except pygit2.AlreadyExistsError:
        return


def signature(author: Author) -> pygit2.Signature:
    """The author's line of a commit made now, in UTC."""
    return pygit2.Signature(*author.line(), int(time.time()), 0)
