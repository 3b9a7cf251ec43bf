"""What an older program reads from an answer, written as a pattern beside the recorded request.

A pattern is what YAML gives. A plain value is itself. A mapping names the keys that the program reads; further ones may
be there, but for ``{<only>: {…}}``, which is built into a record of exactly these. ``{<each>: P}`` is a list whose every
item is ``P``, with at least ``<least>`` of them; a list of patterns is a list of just these items. Words in brackets are
kinds: ``<text>``, ``<time or null>``, ``<like REGEX>``, ``<one of A|B>`` …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any


def differences(pattern: Any, value: Any, where: str = "$") -> Iterator[str]:
    """What in the value is not as the pattern says, each as ``place: what``."""
    if isinstance(pattern, dict):
        yield from _mapping(pattern, value, where)
    elif isinstance(pattern, list):
        yield from _items(pattern, value, where)
    elif isinstance(pattern, str) and pattern.startswith("<") and pattern.endswith(">"):
        if not _kind(pattern[1:-1], value):
            yield f"{where}: {value!r} is not {pattern}"
    elif pattern != value or type(pattern) is not type(value):
        yield f"{where}: {value!r} is not {pattern!r}"


def _mapping(pattern: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    if "<each>" in pattern:
        yield from _list(pattern, value, where)
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
    elif "<only>" in pattern:
        if value.keys() != pattern["<only>"].keys():
            yield f"{where}: has the keys {sorted(value)}, not exactly {sorted(pattern['<only>'])}"
        else:
            yield from _fields(pattern["<only>"], value, where)
    else:
        yield from _fields(pattern, value, where)


def _fields(pattern: dict[str, Any], value: dict[str, Any], where: str) -> Iterator[str]:
    for key, wanted in pattern.items():
        if key in value:
            yield from differences(wanted, value[key], f"{where}.{key}")
        else:
            yield f"{where}: has no {key}, only {sorted(value)}"


def _list(pattern: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where}: {value!r} is no list"
        return
    if len(value) < pattern.get("<least>", 0):
        yield f"{where}: has {len(value)} items, not at least {pattern['<least>']}"
    for position, item in enumerate(value):
        yield from differences(pattern["<each>"], item, f"{where}[{position}]")


def _items(pattern: list[Any], value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list) or len(value) != len(pattern):
        yield f"{where}: {value!r} is no list of {len(pattern)}"
        return
    for position, (wanted, item) in enumerate(zip(pattern, value, strict=True)):
        yield from differences(wanted, item, f"{where}[{position}]")


def _kind(words: str, value: Any) -> bool:
    if words.endswith(" or null"):
        return value is None or _kind(words.removesuffix(" or null"), value)
    if words.startswith("like "):
        return isinstance(value, str) and re.fullmatch(words.removeprefix("like "), value, re.S) is not None
    if words.startswith("one of "):
        return value in words.removeprefix("one of ").split("|")
    return KINDS[words](value)


def _moment(value: Any) -> bool:
    """A time as a table shows it, and as programs that read it parse it."""
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _an_integer(value: Any) -> bool:
    """What ``int()`` takes, as programs do with it before they show it."""
    try:
        int(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "word": lambda value: isinstance(value, str) and value != "",
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "truth": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "time": _moment,
    "int()": _an_integer,
    "anything": lambda value: True,
}
