"""What is held of a container's log, and what a new reading of it adds.

A container's log has no offsets, so each reading begins at its start: what is held is skipped once it is seen to be
the same. Where a node has rotated the log away, the readings are joined where they overlap. Pure.
Source: reliability.md, F-38.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

HEAD = 1024
JOINT = 4096  # as much of the end must be found again


class Rotated(Exception):
    """The log does not begin with what was read of it before."""


def _digest() -> Any:
    return blake2b(digest_size=16)


@dataclass
class Held:
    """What the copy has of the log that the node has now: ``size`` bytes, their digest, and both ends of them."""

    size: int = 0
    digest: Any = field(default_factory=_digest)
    head: bytes = b""
    tail: bytes = b""
    owes_end: bool = False  # the copy has the end of its last line, the log may not

    def take(self, data: bytes) -> None:
        if len(self.head) < HEAD:
            self.head += data[: HEAD - len(self.head)]
        self.tail = (self.tail + data[-JOINT:])[-JOINT:]
        self.digest.update(data)
        self.size += len(data)


def held(pieces: Iterable[bytes]) -> Held:
    found = Held()
    for piece in pieces:
        found.take(piece)
    return found


class Reading:
    """One reading of the log from its start. Raises Rotated as soon as it is another log than ``held``."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._size = held.size  # what is taken meanwhile was new
        self._at = 0
        self._digest = _digest()

    def new(self, piece: bytes) -> bytes:
        """What this piece adds."""
        known = min(len(piece), self._size - self._at)
        if known > 0:
            self._check_head(piece[:known])
            self._digest.update(piece[:known])
            self._at += known
            if self._at == self._size and self._digest.digest() != self._held.digest.digest():
                raise Rotated
        fresh = piece[max(0, known) :]
        if fresh and self._held.owes_end:
            self._held.owes_end = False
            if not fresh.startswith(b"\n"):
                raise Rotated
            self._held.take(b"\n")
            return fresh[1:]
        return fresh

    def end(self) -> None:
        """The log has no more for now."""
        if self._at < self._size:
            raise Rotated

    def _check_head(self, piece: bytes) -> None:
        if self._at < len(self._held.head):
            known = self._held.head[self._at : self._at + len(piece)]
            if piece[: len(known)] != known:
                raise Rotated


class Join:
    """A log that was rotated, read from its start: what it has after the ``tail`` that is held.

    The bytes are given in pieces; where the tail is found is known at the end alone.
    """

    def __init__(self, tail: bytes) -> None:
        self._tail = tail
        self._last = b""
        self._at = 0
        self.ends: list[int] = []  # the bytes after each place where the tail is
        self.held = Held()

    def take(self, piece: bytes) -> None:
        self.held.take(piece)
        if not self._tail:
            return
        window = self._last + piece
        base = self._at - len(self._last)
        found = window.find(self._tail)
        while found >= 0 and len(self.ends) < 2:
            self.ends.append(base + found + len(self._tail))
            found = window.find(self._tail, found + 1)
        self._at += len(piece)
        self._last = window[-(len(self._tail) - 1) :] if len(self._tail) > 1 else b""
