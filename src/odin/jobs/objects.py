"""Trees and blobs of the bare repository, read and written without a work tree or an index.

Trees are read from their raw bytes, so that a hostile one shows itself as it is: libgit2 and git tidy modes and
names up. Everything here takes an open ``pygit2.Repository``, which belongs to one thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pygit2
from pygit2.enums import ObjectType

from odin.jobs.values import MIB, TEMPLATE_SUFFIX
from odin.model.errors import InvalidInput, NotFound, TooLarge
from odin.model.ids import Sha

FILE = 0o100644
EXECUTABLE = 0o100755
FOLDER = 0o040000
LINK = 0o120000
SUBMODULE = 0o160000
MAX_TREE_BYTES = 32 * MIB
ATTEMPTS = 5
FULL_SHA = re.compile(r"[0-9a-f]{40}")
NO_SHA = Sha("0" * 40)
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

Git = Any  # pygit2.Repository; the library ships no types for what is used here


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tree. ``name`` is bytes, since a hostile tree need not be UTF-8."""

    mode: int
    name: bytes
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER

    @property
    def is_file(self) -> bool:
        return self.mode in (FILE, EXECUTABLE)

    @property
    def is_template(self) -> bool:
        return self.is_file and self.text.endswith(TEMPLATE_SUFFIX)

    @property
    def text(self) -> str:
        return self.name.decode("utf-8", "backslashreplace")


def blob_sha(content: bytes) -> str:
    """The id that git gives these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha_of(text: str) -> Sha:
    """A full object id. Raises InvalidInput; nothing else may reach git as a revision."""
    if not FULL_SHA.fullmatch(text):
        raise InvalidInput(f'"{text[:64]}" is not a full commit id (40 characters of 0-9 and a-f)')
    return Sha(text)


def commit_of(git: Git, version: str) -> Any:
    """The commit of that id. Raises NotFound."""
    found = git.get(sha_of(version))
    if found is None or found.type != ObjectType.COMMIT:
        raise NotFound(f"no commit {version} in the repository")
    return found


def tree_of(git: Git, version: str) -> str:
    return str(commit_of(git, version).tree_id)


def entries(git: Git, tree: str) -> list[Entry]:
    """The lines of a tree as stored. Raises TooLarge before a giant one is read."""
    oid = pygit2.Oid(hex=tree)
    _, size = git.odb.read_header(oid)
    if size > MAX_TREE_BYTES:
        raise TooLarge(f"the folder with the id {tree} has {size} bytes of names, more than {MAX_TREE_BYTES}")
    kind, data = git.odb.read(oid)
    if kind != ObjectType.TREE:
        raise InvalidInput(f"object {tree} is not a tree")
    try:
        return list(_parse(data))
    except ValueError as error:
        raise InvalidInput(f"tree {tree} is damaged: {error}") from error


def _parse(data: bytes) -> Iterator[Entry]:
    """Lines of ``<mode> <name> NUL <20 bytes>``. Source: gitformat of a tree object."""
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        yield Entry(int(data[at:space], 8), data[space + 1 : end], data[end + 1 : end + 21].hex())
        at = end + 21


def find(git: Git, tree: str, path: str) -> Entry | None:
    """The entry at ``path`` below a tree, folders only on the way; the root itself for the empty path."""
    entry = Entry(FOLDER, b"", tree)
    for segment in filter(None, path.split("/")):
        if not entry.is_folder:
            return None
        name = segment.encode()
        found = next((each for each in entries(git, entry.oid) if each.name == name), None)
        if found is None:
            return None
        entry = found
    return entry


def walk(git: Git, tree: str, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """Every entry below a tree that is no folder, with its path, in git's order.

    Only for trees that ``survey`` found small: a few shared subtrees can stand for billions of paths.
    """
    for entry in entries(git, tree):
        path = f"{prefix}{entry.text}"
        if entry.is_folder:
            yield from walk(git, entry.oid, f"{path}/")
        else:
            yield path, entry


def blob_size(git: Git, oid: str) -> int:
    """Bytes of a blob, without reading it."""
    return int(git.odb.read_header(pygit2.Oid(hex=oid))[1])


def blob(git: Git, oid: str) -> bytes:
    return bytes(git.odb.read(pygit2.Oid(hex=oid))[1])


def store(git: Git, content: bytes) -> str:
    """Write a blob; returns its id once it is there.

    git's garbage collection can remove the folder that an object is just being renamed into, and libgit2 then
    fails, or does not notice. Raises OSError.
    """
    for attempt in range(ATTEMPTS):
        try:
            oid = git.create_blob(content)
        except (pygit2.GitError, OSError):
            if attempt == ATTEMPTS - 1:
                raise
        else:
            if git.odb.exists(oid):
                return str(oid)
    raise OSError("the repository did not keep an object")


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob already written, to be placed into a tree. ``executable`` None keeps what the path has."""

    oid: str
    executable: bool | None = None


def edit(git: Git, tree: str, changes: Mapping[str, Blob | None]) -> str:
    """A tree like ``tree`` with files placed or (None) removed; folders left empty go. Returns its id.

    Raises InvalidInput where a file would take the place of a folder or the other way round.
    """
    return _edit(git, tree, changes, "") or str(git.TreeBuilder().write())


def _edit(git: Git, tree: str, changes: Mapping[str, Blob | None], prefix: str) -> str | None:
    here, below = _split(changes)
    old = {entry.name: entry for entry in entries(git, tree)}
    builder = git.TreeBuilder(git[tree])
    for name, inner in below.items():
        entry = old.get(name.encode())
        if entry is not None and not entry.is_folder:
            raise InvalidInput(f'"{prefix}{name}" is a file, so nothing can lie below it')
        subtree = _edit(git, entry.oid if entry else _empty(git), inner, f"{prefix}{name}/")
        _place(builder, name, subtree, FOLDER, there=entry is not None)
    for name, placed in here.items():
        entry = old.get(name.encode())
        if entry is not None and entry.is_folder:
            raise InvalidInput(f'"{prefix}{name}" is a folder, so no file can have that name')
        mode = _mode(placed, entry)
        _place(builder, name, placed.oid if placed else None, mode, there=entry is not None)
    return str(builder.write()) if len(builder) else None


def _split(
    changes: Mapping[str, Blob | None],
) -> tuple[dict[str, Blob | None], dict[str, dict[str, Blob | None]]]:
    here: dict[str, Blob | None] = {}
    below: dict[str, dict[str, Blob | None]] = {}
    for path, change in changes.items():
        first, slash, rest = path.partition("/")
        if slash:
            below.setdefault(first, {})[rest] = change
        else:
            here[first] = change
    clash = next((name for name in here if name in below), None)
    if clash is not None:
        raise InvalidInput(f'"{clash}" is given as a file and as a folder')
    return here, below


def _empty(git: Git) -> str:
    return str(git.TreeBuilder().write())


def _mode(placed: Blob | None, entry: Entry | None) -> int:
    if placed is not None and placed.executable is not None and (entry is None or not entry.is_file):
        return EXECUTABLE if placed.executable else FILE
    return EXECUTABLE if entry is not None and entry.mode == EXECUTABLE else FILE


def _place(builder: Any, name: str, oid: str | None, mode: int, *, there: bool) -> None:
    if oid is not None:
        builder.insert(name, pygit2.Oid(hex=oid), mode)
    elif there:
        builder.remove(name)
