"""What a process and its children did to files, as strace tells it: each call with when it was over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "openat", "open", "creat", "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range",
    "ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
    "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "fsync", "fdatasync", "syncfs",
)  # fmt: skip
_LINE = re.compile(r"([\d.]+) (\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?.* <([\d.]+)>$")
_WORD = re.compile(r'(?:AT_FDCWD|\d+)<[^>]*>(?:\(deleted\))?|"[^"]*"(?:\.\.\.)?|[^\s,"<>\[\]{}]+')


Word = str | bytes


class Call(NamedTuple):
    """``words`` are its arguments: a path for a descriptor, bytes for a string, else the text. ``at`` is POSIX time."""

    at: float
    name: str
    words: tuple[Word, ...]
    result: int
    opened: str


def command(into: Path) -> list[str]:
    """What to put before a command. One file for each thread, for a line is whole then."""
    said = ["-ttt", "-T", "-y", "-xx", "-s", "100000000", "-e", f"trace={','.join(CALLS)}", "-e", "signal=none"]
    return ["strace", "-f", "-ff", "--seccomp-bpf", "-qq", *said, "-o", str(into / "thread")]


def calls(written: Path, below: Sequence[Path]) -> list[Call]:
    """Those that worked and are about something below these folders, in the order in which they were over."""
    names = tuple(f"{each}" for each in below)
    found = [
        call
        for path in written.iterdir()
        for line in path.read_text().splitlines()
        if (call := _call(line)) is not None and _is_below(call, names)
    ]
    return sorted(found, key=lambda call: call.at)


def _call(line: str) -> Call | None:
    found = _LINE.match(line)
    if found is None or found[4] == "-1":
        return None
    at, name, rest, result, opened, took_s = found.groups()
    return Call(
        float(at) + float(took_s), name, tuple(map(_word, _WORD.findall(rest))), int(result), _text(opened or "")
    )


def _word(word: str) -> Word:
    if word.startswith('"'):
        assert not word.endswith("..."), "strace left something out"
        return _bytes(word.strip('"'))
    _number, bracket, path = word.partition("<")
    if not bracket:
        return word
    return "" if path.endswith("(deleted)") else _text(path.rstrip(">"))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _text(text: str) -> str:
    return _bytes(text).decode(errors="replace") if text.startswith("\\x") else text


def _is_below(call: Call, folders: tuple[str, ...]) -> bool:
    """An absolute path that is opened may be elsewhere than the folder it is opened from."""
    words = (call.opened,) if call.name == "openat" else call.words
    said = [word.decode(errors="replace") if isinstance(word, bytes) else word for word in words]
    return any(word == each or word.startswith(f"{each}/") for word in said for each in folders)
