"""How a setting is read: the forms that values come in, each from a file, a variable or a flag alike."""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from odin.model.errors import InvalidInput, Problem
from odin.model.names import user_name
from odin.model.quantities import memory_bytes

TRUTH = {
    "yes": True,
    "on": True,
    "true": True,
    "1": True,
    "no": False,
    "off": False,
    "false": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Raw:
    """One value as it was given, and where; ``base`` is what relative paths start from."""

    value: Any
    origin: str
    base: Path
    line: int | None = None

    def problem(self, message: str) -> Problem:
        if self.line is None:
            return Problem(f"{self.origin}: {message}")
        return Problem(message, file=self.origin, line=self.line)

    def place(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


def text(raw: Raw) -> str:
    if not isinstance(raw.value, str) or not raw.value.strip():
        raise ValueError("must be a text that is not empty")
    return raw.value.strip()


def folder(raw: Raw) -> Path:
    path = Path(str(raw.value)).expanduser()
    return Path(os.path.normpath(raw.base / path))


def integer(least: int, most: int) -> Callable[[Raw], int]:
    def parse(raw: Raw) -> int:
        digits = str(raw.value).strip()
        if isinstance(raw.value, bool) or not digits.isdecimal() or not least <= int(digits) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(digits)

    return parse


def cores(raw: Raw) -> float:
    try:
        count = float(raw.value)
    except (TypeError, ValueError):
        count = 0.0
    if isinstance(raw.value, bool) or not 0.001 <= count <= 100_000:
        raise ValueError("must be a number of CPUs above 0, such as 4 or 0.5")
    return count


def days(raw: Raw) -> float:
    try:
        count = float(raw.value)
    except (TypeError, ValueError):
        count = 0.0
    if isinstance(raw.value, bool) or not 0 < count <= 36_500:
        raise ValueError("must be a number of days above 0, such as 30 or 0.5")
    return count


def size(raw: Raw) -> int:
    try:
        count = memory_bytes(str(raw.value))
    except InvalidInput:
        count = 0
    if isinstance(raw.value, bool) or count < 1:
        raise ValueError("must be a number of bytes, such as 500G or 64Gi")
    return count


def choice(*words: str) -> Callable[[Raw], str]:
    def parse(raw: Raw) -> str:
        word = ("off", "on")[raw.value] if isinstance(raw.value, bool) else raw.value
        if word not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return str(word)

    return parse


def truth(raw: Raw) -> bool:
    word = str(raw.value).strip().lower()
    if word not in TRUTH:
        raise ValueError("must be yes or no")
    return TRUTH[word]


def items(raw: Raw) -> tuple[str, ...]:
    given = raw.value.split(",") if isinstance(raw.value, str) else raw.value
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise ValueError("must be a list of texts, or one text with commas")
    return tuple(item.strip() for item in given if item.strip())


def networks(raw: Raw) -> tuple[str, ...]:
    for word in items(raw):
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise ValueError("must be addresses or networks, such as 10.0.0.0/8") from None
    return items(raw)


def username(raw: Raw) -> str:
    try:
        return user_name(str(raw.value))
    except InvalidInput:
        raise ValueError("must be 1 to 64 lower-case letters, digits and . _ -, a letter or digit first") from None


def mapping(raw: Raw) -> Mapping[str, str]:
    """Paths to paths: a table, or ``/data=/srv/data,/models=/srv/models``."""
    pairs = raw.value
    if isinstance(pairs, str):
        pairs = dict(item.partition("=")[::2] for item in items(raw))
    if not isinstance(pairs, dict) or not all(
        isinstance(path, str) and path.startswith("/") for pair in pairs.items() for path in pair
    ):
        raise ValueError("must map absolute paths to absolute paths, such as /data=/srv/data")
    return dict(pairs)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one setting is read; a ``default`` may derive from settings above it, ``shown`` says what it is then."""

    parse: Callable[[Raw], Any]
    about: str
    default: Any = None
    shown: str = ""
    unit: str = ""
    masked: Literal["", "password", "all"] = ""  # nothing, the password in a URL, everything

    def fallback(self, known: Mapping[str, Any]) -> Any:
        return self.default(known) if callable(self.default) else self.default
