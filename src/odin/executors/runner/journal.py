"""An append-only file of checked lines: what must outlive the runner.

Each line is ``<crc32> <json>``. Space is allocated ahead, so that a full disk refuses new work and yet has room
for the ends of what runs. What a crash tore off is cut away at the next open.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_sync = getattr(os, "fdatasync", os.fsync)
STEP = 256 << 10  # allocated at a time
RESERVE = 128 << 10  # kept free for the ends of about 300 running attempts


def checked(payload: str) -> bytes:
    data = payload.encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def good_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The records before the first torn or empty line, and where they end."""
    records: list[dict[str, Any]] = []
    end = 0
    while (stop := data.find(b"\n", end)) >= 0:
        check, _, text = data[end:stop].partition(b" ")
        try:
            if int(check, 16) != zlib.crc32(text):
                break
        except ValueError:
            break
        records.append(json.loads(text))
        end = stop + 1
    return records, end


class Journal:
    """Buffered lines; ``flush`` is one write for all of a turn, ``sync`` makes them survive a power loss."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(self._fd, "rb", closefd=False) as file:
            self.records, self._end = good_lines(file.read())
        os.ftruncate(self._fd, self._end)
        self._allocated = self._end
        self._buffer = bytearray()
        self.full = False
        self._allocate()

    @property
    def size(self) -> int:
        return self._end

    def add(self, payload: str) -> None:
        self._buffer += checked(payload)

    def flush(self) -> bool:
        """Write what was added; False, and all of it kept in memory, while the disk is full."""
        if self.full or self._end + len(self._buffer) + RESERVE > self._allocated:
            self._allocate()
        if self._buffer and self._end + len(self._buffer) <= self._allocated:
            self._write()
        return not self._buffer

    def sync(self) -> None:
        """A disk that cannot do it is said so in the messages; there is nothing better to do than to go on."""
        try:
            _sync(self._fd)
        except OSError as error:
            print(f"the journal could not be synced: {error}", file=sys.stderr, flush=True)

    def replace(self, payloads: Iterable[str]) -> None:
        """Write the file anew with these lines only: all of them or, if the disk is full, none."""
        fresh = f"{self._path}.new"
        data = b"".join(map(checked, payloads))
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(fresh)
            return
        self._buffer.clear()
        self._reopen(len(data))

    def close(self) -> None:
        os.close(self._fd)

    def _write(self) -> None:
        """Some disks have no room even where it was allocated (copy on write)."""
        try:
            written = os.pwrite(self._fd, self._buffer, self._end)
        except OSError:
            written = 0
        if written == len(self._buffer):
            self._end += written
            self._buffer.clear()
        else:
            self.full = True

    def _reopen(self, end: int) -> None:
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._end = self._allocated = end
        self._allocate()

    def _allocate(self) -> None:
        wanted = self._end + len(self._buffer) + RESERVE + STEP
        try:
            _extend(self._fd, self._allocated, wanted)
        except OSError:
            self.full = True
            return
        self._allocated = wanted
        self.full = False


def _extend(fd: int, start: int, end: int) -> None:
    """Make room on the disk; where the system or the disk cannot, by writing zeros."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, start, end - start)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    if os.pwrite(fd, bytes(end - start), start) < end - start:
        raise OSError(errno.ENOSPC, "no space left for the journal")
