"""JSON of requests, read strictly: one meaning or none.

Refused besides broken syntax: duplicate keys, NaN and Infinity, numbers beyond a double or of more than 4,000 digits,
lone surrogates, other encodings than UTF-8, and more than 64 levels. Source: RFC 8259, section 4; reliability.md, A-22.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from odin.model.errors import InvalidInput

DEEPEST = 64
LONGEST_NUMBER = 4_000


def loads(data: bytes) -> Any:
    """The value; raises InvalidInput with the place where it can be told."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 (byte {error.start})") from error
    if _depth(data) > DEEPEST:
        raise InvalidInput(f"the body is nested deeper than {DEEPEST} levels")
    try:
        value = _DECODER.decode(text)
        _texts(value)
        return value
    except json.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error


def _depth(data: bytes) -> int:
    """The deepest nesting of brackets outside strings, found without building anything."""
    deepest = depth = 0
    inside = escaped = False
    for byte in data if data.count(b"[") + data.count(b"{") > DEEPEST else b"":
        if inside:
            inside = escaped or byte != 0x22
            escaped = not escaped and byte == 0x5C
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidInput(f'the key "{twice}" is there twice')
    for key, value in pairs:
        _text(key)
        _texts(value)
    return found


def _texts(value: Any) -> None:
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, list):
        for one in value:
            _texts(one)


def _text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidInput("the body holds half a character (a lone surrogate)")


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise InvalidInput(f"a number has more than {LONGEST_NUMBER} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidInput("a number is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
