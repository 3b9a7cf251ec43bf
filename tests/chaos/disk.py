"""What a disk may hold after a power loss: all that was synced, and of the rest some.

Names are as in a file system with a journal (ext4, XFS, btrfs): they become durable in the order in which they were
made, with any sync at the latest. Of a file's content each page of each write that no sync of that file followed may be
there or not, whatever became of its name. Source: reliability.md, 2.3.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from chaos.syscalls import Call, Word

PAGE = 4096
OURS = 0o700  # what the umask of the server, its runner and git leaves
Keeps = Callable[[], bool]


@dataclass(eq=False)
class Node:
    """A file, folder or symbolic link. ``changes`` since its last sync: offset and bytes, or a size and None."""

    kind: str
    mode: int = OURS
    synced: bytes = b""
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)
    size: int = 0

    def write(self, data: bytes, offset: int) -> None:
        self.changes.append((offset, data))
        self.size = max(self.size, offset + len(data))

    def resize(self, size: int) -> None:
        self.changes.append((size, None))
        self.size = size

    def sync(self) -> None:
        self.synced = self.content(lambda: True)
        self.changes.clear()

    def content(self, keeps: Keeps) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.changes:
            if data is None:
                if keeps():
                    _resize(content, offset)
                continue
            for first, page in _pages(offset, data):
                if keeps():
                    _resize(content, max(len(content), first + len(page)))
                    content[first : first + len(page)] = page
        return bytes(content)


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _pages(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    end = offset + len(data)
    cuts = [offset, *range((offset // PAGE + 1) * PAGE, end, PAGE), end]
    return [(first, data[first - offset : last - offset]) for first, last in pairwise(cuts)]


Names = dict[str, Node]
Renaming = Callable[[Names], object]


class Disk:
    """``follow`` calls, one after the other, and ask at any moment what would be ``left``."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._durable: Names = {}
        self._renamed: list[Renaming] = []
        self._verbs: dict[str, Callable[[Call], object]] = {
            "openat": self._open,
            "write": lambda call: self._append(self._of(call), _raw(call)[: call.result]),
            "pwrite64": lambda call: self._of(call).write(_raw(call)[: call.result], int(call.words[3])),
            "ftruncate": lambda call: self._of(call).resize(int(call.words[1])),
            "fallocate": self._allocate,
            "mkdir": lambda call: self._make(_at(call.words[:1]), Node("folder", _mode(call.words[1]))),
            "mkdirat": lambda call: self._make(_at(call.words[:2]), Node("folder", _mode(call.words[2]))),
            "symlink": lambda call: self._make(_at(call.words[1:]), Node("link", synced=_raw(call, 0))),
            "link": lambda call: self._make(_at(call.words[1:]), self.names[_at(call.words[:1])]),
            "rename": lambda call: self._do(partial(_rename, _at(call.words[:1]), _at(call.words[1:]))),
            "renameat": lambda call: self._do(partial(_rename, _at(call.words[:2]), _at(call.words[2:4]))),
            "unlink": lambda call: self._do(partial(_unlink, _at(call.words[:1]))),
            "rmdir": lambda call: self._do(partial(_unlink, _at(call.words[:1]))),
            "unlinkat": lambda call: self._do(partial(_unlink, _at(call.words[:2]))),
            "chmod": self._change_mode,
            "fchmod": self._change_mode,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "syncfs": self._sync_all,
        }

    def follow(self, call: Call) -> None:
        """Raises KeyError for a call that it does not know."""
        self._verbs[call.name](call)

    @property
    def is_synced(self) -> bool:
        return not self._renamed and not any(node.changes for node in self.names.values())

    def left(self, rng: random.Random, share: float) -> dict[str, tuple[Node, bytes]]:
        """By path, if ``share`` of what was not synced has reached the disk: nothing with 0, everything with 1."""
        names = dict(self._durable)
        for renaming in self._renamed[: round(len(self._renamed) * (share if share in (0, 1) else rng.random()))]:
            renaming(names)
        found: dict[int, bytes] = {}
        for node in names.values():
            if id(node) not in found:
                found[id(node)] = node.content(lambda: rng.random() < share)
        return {path: (node, found[id(node)]) for path, node in names.items()}

    # Names

    def _do(self, renaming: Renaming) -> None:
        renaming(self.names)
        self._renamed.append(renaming)

    def _make(self, path: str, node: Node) -> None:
        self._do(partial(_add, path, node))

    def _open(self, call: Call) -> None:
        flags = str(call.words[2]).split("|")
        if "O_CREAT" in flags and call.opened not in self.names:
            self._make(call.opened, Node("file", _mode(call.words[3])))
        elif "O_TRUNC" in flags:
            self.names[call.opened].resize(0)

    # Content

    def _of(self, call: Call) -> Node:
        """What has no name any more is nobody's."""
        return self.names.get(str(call.words[0])) or Node("file")

    def _append(self, node: Node, data: bytes) -> None:
        node.write(data, node.size)

    def _allocate(self, call: Call) -> None:
        node, end = self._of(call), int(call.words[2]) + int(call.words[3])
        node.resize(max(node.size, end))

    def _change_mode(self, call: Call) -> None:
        node = self.names.get(_at(call.words[:1]))
        if node is not None:
            node.mode = int(str(call.words[1]), 8) & 0o777

    # Syncs

    def _sync(self, call: Call) -> None:
        self._of(call).sync()
        self._durable, self._renamed = dict(self.names), []

    def _sync_all(self, _: Call) -> None:
        for node in self.names.values():
            node.sync()
        self._durable, self._renamed = dict(self.names), []


def _at(words: tuple[Word, ...]) -> str:
    """A path, or a folder and a path in it."""
    return os.path.join(*(word.decode() if isinstance(word, bytes) else word for word in words))


def _mode(word: Word) -> int:
    return int(str(word), 8) & OURS


def _raw(call: Call, at: int = 1) -> bytes:
    word = call.words[at]
    assert isinstance(word, bytes), call
    return word


def _add(path: str, node: Node, names: Names) -> None:
    names[path] = node


def _unlink(path: str, names: Names) -> None:
    names.pop(path, None)


def _rename(old: str, new: str, names: Names) -> None:
    for path in [path for path in names if path == old or path.startswith(f"{old}/")]:
        names[new + path[len(old) :]] = names.pop(path)


def put(state: dict[str, tuple[Node, bytes]]) -> None:
    """Make it be so; nothing of it is there yet."""
    folders = sorted(path for path, (node, _) in state.items() if node.kind == "folder")
    for path in folders:
        Path(path).mkdir(parents=True)
    for path, (node, content) in state.items():
        if node.kind == "link":
            os.symlink(content, path)
        elif node.kind == "file":
            Path(path).write_bytes(content)
            Path(path).chmod(node.mode)
    for path in reversed(folders):
        Path(path).chmod(state[path][0].mode)
