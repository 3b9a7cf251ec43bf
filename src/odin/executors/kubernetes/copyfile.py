"""The file that the copy of a log grows in: ``<name>.part``, renamed when it is whole. All of it blocks.

What is in the file is all that is remembered: after a crash it is read again. A write that fails leaves the file as
it was, so that a full disk costs nothing but time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from odin.executors.kubernetes.merging import Alone, Merged, apart
from odin.executors.kubernetes.readings import Held, held

PIECE = 1 << 20
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def part_path(path: Path) -> Path:
    """Where a copy is while it grows."""
    return path.with_name(path.name + ".part")


class CopyFile:
    """``path`` is what it becomes; ``merged`` tells that it holds lines of several."""

    def __init__(self, path: Path, *, merged: bool) -> None:
        self.path = path
        self.part = part_path(path)
        self.is_merged = merged
        self._form = Merged() if merged else Alone()
        self._fd = -1

    @property
    def is_whole(self) -> bool:
        return self.path.exists()

    def begin(self) -> None:
        """There is a log, even if nothing is in it."""
        self._open()

    def append(self, name: str, data: bytes) -> None:
        with self._unless_full():
            self._write(self._form.lines(name, data))

    def remark(self, name: str, said: str) -> None:
        with self._unless_full():
            self._write(self._form.remark(name, said))

    def recover(self) -> dict[str, Held]:
        """What the file holds of each, by name; of the log of one pod all of it, under the name ""."""
        if not self.part.exists():
            return {}
        if not self.is_merged:
            return {"": held(pieces(self.part))}
        self._drop_half_a_line()
        found: dict[str, Held] = {}
        with self.part.open("rb") as file:
            for name, words, is_remark in apart(file):
                if not is_remark:
                    found.setdefault(name, Held(owes_end=True)).take(words)
        return found

    def settle(self) -> None:
        """It is whole: on the disk before anything else relies on it. Nothing if nobody wrote."""
        if not self.part.exists():
            return
        with self._unless_full():
            self._write(self._form.rests())
        os.fsync(self._open())
        self.part.rename(self.path)
        self.close()
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def _unless_full(self) -> Iterator[None]:
        """What could not be written still waits."""
        before = self._form.state()
        try:
            yield
        except OSError:
            self._form.reset(before)
            raise

    def _open(self) -> int:
        if self._fd < 0:
            self.part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.part, _FLAGS, 0o600)
        return self._fd

    def _write(self, data: bytes) -> None:
        if not data:
            return
        fd = self._open()
        before = os.fstat(fd).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, before)
            raise

    def _drop_half_a_line(self) -> None:
        """The last line was not written to its end when the server died."""
        with self.part.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            while size:
                start = max(0, size - PIECE)
                file.seek(start)
                end = file.read(size - start).rfind(b"\n")
                if end >= 0:
                    file.truncate(start + end + 1)
                    return
                size = start
            file.truncate(0)


def pieces(path: Path, at: int = 0) -> Iterator[bytes]:
    """What a file holds from a byte on."""
    with path.open("rb", buffering=0) as file:
        file.seek(at)
        while piece := file.read(PIECE):
            yield piece
