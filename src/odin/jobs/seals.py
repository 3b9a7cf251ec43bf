"""Whether a checkout is still as it was left, without reading it.

A seal is a digest over what the file system says of every entry: path, mode, size, inode and time of change,
which no task can set back. It names the run of the machine it was made in: after a power loss the content may be
gone while the names stand, so a seal of an earlier run says nothing.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from odin.model.ids import Sha

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Seals:
    """One file for each checkout in ``folder``, ``<boot id> <digest>``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._boot = _boot()

    def holds(self, version: Sha) -> bool:
        """Whether the checkout was sealed since the machine started."""
        return self._read(version)[0] == self._boot

    def unbroken(self, version: Sha, path: Path) -> bool:
        boot, digest = self._read(version)
        return boot == self._boot and digest == _digest(path)

    def close(self, version: Sha, path: Path) -> None:
        new = self._folder / f"{version}.{os.getpid()}"
        new.write_text(f"{self._boot} {_digest(path)}")
        new.replace(self._folder / version)

    def open(self, version: Sha) -> None:
        (self._folder / version).unlink(missing_ok=True)

    def _read(self, version: Sha) -> tuple[str, str]:
        try:
            boot, _, digest = (self._folder / version).read_text().partition(" ")
        except FileNotFoundError:
            return "", ""
        return boot, digest


def _boot() -> str:
    """This run of the machine; where it has no name, this run of the server."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    _add(state, path, ".")
    return state.hexdigest()


def _add(state: hashlib._Hash, folder: Path, name: str) -> None:
    with os.scandir(folder) as scan:
        found = sorted(scan, key=lambda entry: entry.name)
    _note(state, name, folder.stat())
    for entry in found:
        inner = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _add(state, Path(entry.path), inner)
        else:
            _note(state, inner, entry.stat(follow_symlinks=False))


def _note(state: hashlib._Hash, name: str, found: os.stat_result) -> None:
    line = (name, found.st_mode, found.st_size, found.st_ino, found.st_ctime_ns, found.st_nlink)
    state.update(repr(line).encode())
