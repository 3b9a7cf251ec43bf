"""A tree of git as a folder: written, compared, and removed.

All by descriptors: no link is followed, nothing outside the folder given is touched. Removing stays on one device
and copes with read-only folders. Source: reliability.md, A-04 to A-06 and A-08.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from types import MappingProxyType

from odin.jobs.objects import EXECUTABLE, Entry, Git, blob, blob_sha, entries
from odin.jobs.values import TEMPLATE_SUFFIX
from odin.model.errors import InvalidInput

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Instead = Mapping[str, bytes]  # paths of templates below a tree, and what they became
AS_IT_IS: Instead = MappingProxyType({})


def write_folder(git: Git, tree: str, parent: int, name: str, *, instead: Instead = AS_IT_IS) -> None:
    """Write a tree as the new folder ``name`` of the one open as ``parent``, all of it read-only.

    A template in ``instead`` is written as what it became, under the name that it has then and with its mode.
    Raises InvalidInput for what is neither file nor folder.
    """
    os.mkdir(name, 0o700, dir_fd=parent)
    folder = os.open(name, FOLDER, dir_fd=parent)
    try:
        for entry in entries(git, tree):
            if entry.is_folder:
                write_folder(git, entry.oid, folder, entry.text, instead=_below(instead, entry.text))
            elif entry.is_file:
                made = instead.get(entry.text)
                content = blob(git, entry.oid) if made is None else made
                _write_file(content, folder, _final(entry, instead), _mode(entry))
            else:
                raise InvalidInput(f"{entry.text} is no file")
        os.fchmod(folder, 0o555)
    finally:
        os.close(folder)


def _below(instead: Instead, name: str) -> Instead:
    if not instead:
        return instead
    return {path.removeprefix(f"{name}/"): made for path, made in instead.items() if path.startswith(f"{name}/")}


def _final(entry: Entry, instead: Instead) -> str:
    return entry.text.removesuffix(TEMPLATE_SUFFIX) if entry.text in instead else entry.text


def _mode(entry: Entry) -> int:
    return 0o555 if entry.mode == EXECUTABLE or entry.is_folder else 0o444


def _write_file(content: bytes, folder: int, name: str, mode: int) -> None:
    with os.fdopen(os.open(name, NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)


def same_content(git: Git, tree: str, parent: int, name: str, *, instead: Instead = AS_IT_IS) -> bool:
    """Whether the folder is what ``write_folder`` would write."""
    try:
        folder = os.open(name, FOLDER, dir_fd=parent)
    except OSError:
        return False
    try:
        wanted = {_final(entry, instead): entry for entry in entries(git, tree)}
        if stat.S_IMODE(os.fstat(folder).st_mode) != 0o555 or _names(folder) != wanted.keys():
            return False
        return all(
            same_content(git, entry.oid, folder, name, instead=_below(instead, name))
            if entry.is_folder
            else _same_file(entry, folder, name, instead.get(entry.text))
            for name, entry in wanted.items()
        )
    finally:
        os.close(folder)


def _names(folder: int) -> set[str]:
    with os.scandir(folder) as scan:
        return {entry.name for entry in scan}


def _same_file(entry: Entry, folder: int, name: str, made: bytes | None) -> bool:
    try:
        descriptor = os.open(name, OLD_FILE, dir_fd=folder)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != _mode(entry):
            return False
        content = file.read()
        return found.st_nlink == 1 and (blob_sha(content) == entry.oid if made is None else content == made)


def remove(name: str, parent: int) -> None:
    """Remove the entry ``name`` of the folder open as ``parent``; nothing there is fine. Raises OSError."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if found.st_dev != os.fstat(parent).st_dev:
        raise OSError(errno.EXDEV, "another file system is mounted here", name)
    folder = _open(name, parent)
    try:
        for entry in _names(folder):
            remove(entry, folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


def _open(name: str, parent: int) -> int:
    """The folder, made writable by its owner: checkouts are read-only."""
    try:
        folder = os.open(name, FOLDER, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        folder = os.open(name, FOLDER, dir_fd=parent)
    os.fchmod(folder, 0o700)
    return folder
