"""What a plain scalar means in YAML 1.2: ``no`` is a text, ``010`` is ten, ``12:30`` is a text.

Source: https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from odin.model.nodes import Value

_LONGEST_INT: Final = 400  # digits; longer ones become a float, as int() is quadratic


def _int(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INT else float(text)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


# The core schema: group name -> value. The order of the groups is that of the specification.
_CORE: Final = re.compile(
    r"(?P<null>null|Null|NULL|~|)|(?P<bool>true|True|TRUE|false|False|FALSE)|(?P<int>[-+]?[0-9]+)"
    r"|(?P<oct>0o[0-7]+)|(?P<hex>0x[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<special>[-+]?\.(?:inf|Inf|INF)|\.nan|\.NaN|\.NAN)"
)
_MEANING: Final[dict[str, Callable[[str], Value]]] = {
    "null": lambda _: None,
    "bool": lambda text: text in ("true", "True", "TRUE"),
    "int": _int,
    "oct": lambda text: int(text[2:], 8),
    "hex": lambda text: int(text, 16),
    "float": _float,
    "special": lambda text: _float(text.lower()),
}
_STARTS: Final = frozenset("0123456789+-.~nNtTfF")  # of every text that is not a string
_KINDS: Final = {"null": "null", "bool": "bool", "int": "int", "oct": "int", "hex": "int"}


def resolve(text: str) -> Value:
    """The value of a plain scalar."""
    if text and text[0] not in _STARTS:
        return text
    found = _CORE.fullmatch(text)
    return _MEANING[str(found.lastgroup)](text) if found else text


def kind(text: str) -> str:
    """The tag of a plain scalar: ``null``, ``bool``, ``int``, ``float`` or ``str``."""
    found = _CORE.fullmatch(text)
    return _KINDS.get(str(found.lastgroup), "float") if found else "str"
