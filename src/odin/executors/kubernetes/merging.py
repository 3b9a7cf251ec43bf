"""The log of several pods in one: each line behind the name of who wrote it, and taken apart again. Pure.

[worker-0] a line
[worker-0+] what did not fit into the line before
[worker-0!] what Odin has to say of this log

In a line that is written over, as progress bars do, the name stands behind each carriage return too: whoever looks at
the last state alone sees whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

LONGEST = 64 << 10  # bytes of a line that are held back until it ends
State = tuple[Mapping[str, bytes], frozenset[str]]  # what waits, and who goes on with a line
_LINE = re.compile(rb"\[([^\]\n]*?)([+!]?)\] ")
_ANEW = re.compile(rb"\r(?=[^\r])")


class Alone:
    """The log of one pod: as it is."""

    def lines(self, name: str, data: bytes) -> bytes:  # noqa: ARG002
        return data

    def remark(self, name: str, said: str) -> bytes:  # noqa: ARG002
        return f"\n[odin: {said}]\n".encode()

    def rests(self) -> bytes:
        return b""

    def state(self) -> State:
        return {}, frozenset()

    def reset(self, state: State) -> None:
        """Nothing waits, so nothing is to be undone."""


class Merged:
    """Lines of several; one that has not ended yet waits, so that no other comes between its parts."""

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._cut: set[str] = set()  # who goes on with a line that was too long

    def lines(self, name: str, data: bytes) -> bytes:
        """What may be written now, with its ends."""
        *whole, rest = (self._waiting.pop(name, b"") + data).split(b"\n")
        made = [self._line(name, line) for line in whole]
        while len(rest) > LONGEST:
            made.append(self._line(name, rest[:LONGEST]))
            self._cut.add(name)
            rest = rest[LONGEST:]
        if rest:
            self._waiting[name] = rest
        return b"".join(made)

    def remark(self, name: str, said: str) -> bytes:
        return self._rest(name) + f"[{name}!] odin: {said}\n".encode()

    def rests(self) -> bytes:
        """The last line of each that has no end; nothing follows them."""
        return b"".join(map(self._rest, sorted(self._waiting)))

    def state(self) -> State:
        return dict(self._waiting), frozenset(self._cut)

    def reset(self, state: State) -> None:
        """What was given out since ``state`` could not be written."""
        waiting, cut = state
        self._waiting, self._cut = dict(waiting), set(cut)

    def _rest(self, name: str) -> bytes:
        rest = self._waiting.pop(name, b"")
        return self._line(name, rest) if rest else b""

    def _line(self, name: str, line: bytes) -> bytes:
        mark = b"+" if name in self._cut else b""
        self._cut.discard(name)
        return b"[" + name.encode() + mark + b"] " + _ANEW.sub(_anew(name), line) + b"\n"


def _anew(name: str) -> bytes:
    return b"\r[" + name.encode() + b"] "


def apart(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes, bool]]:
    """The name, the words, and whether they are a remark, of each line of a merged log.

    Words carry the end of the line before them, so of the last line of each its end is missing: it may be Odin's.
    """
    known: set[bytes] = set()
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        name, mark = found.groups()
        words = line[found.end() :].removesuffix(b"\n")
        if mark == b"!":
            yield name.decode(), words.removeprefix(b"odin: "), True
            continue
        words = words.replace(_anew(name.decode()), b"\r")
        before = b"" if mark or name not in known else b"\n"
        known.add(name)
        yield name.decode(), before + words, False


def one(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    """What one of them wrote, as its pod's log alone would be."""
    begun = False
    for of, words, is_remark in apart(lines):
        if of == name:
            begun = True
            yield b"\n[odin: " + words + b"]" if is_remark else words
    if begun:
        yield b"\n"
