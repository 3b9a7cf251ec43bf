"""The kinds of value that a field of a job file takes: text, numbers, durations, names, one or a list.

Each reads a node of ``odin.model.nodes`` and complains in words that hold the remedy. Where text is wanted,
a scalar counts as it is written: ``1.10`` stays ``1.10``, ``true`` stays ``true``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from odin.model import quantities
from odin.model.errors import InvalidInput
from odin.model.ids import NAME
from odin.model.names import nearest, shown
from odin.model.nodes import Map, Scalar, Seq, plain

T = TypeVar("T")

MOST: Final = 2**31 - 1
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODE: Final = re.compile(r"(?:0o?)?([0-7]{3})")
_NO_NAME: Final = re.compile(r"[^a-z0-9]+")


def wrong(message: str) -> PydanticCustomError:
    """An error for people, as pydantic collects it."""
    return PydanticCustomError("odin", "{said}", {"said": message})


def what(node: Any) -> str:
    """What was found instead, for messages."""
    if isinstance(node, Scalar):
        return shown(node.text)
    return "a mapping" if isinstance(node, Map) else "a list"


def text(node: Any) -> str:
    if not isinstance(node, Scalar):
        raise wrong(f"this must be one text, not {what(node)}")
    return node.text


def _filled(value: str) -> str:
    if not value:
        raise wrong("this is empty; write something or leave the field out")
    return value


def _listed(node: Any) -> Any:
    """One or a list, as a list."""
    return node if isinstance(node, Seq) else [node]


def _several(node: Any) -> Any:
    """One text or a list of texts, as a list."""
    if isinstance(node, Map):
        raise wrong("this must be a text or a list of texts, not a mapping")
    return _listed(node)


def mapping(node: Any) -> Any:
    if not isinstance(node, Map):
        raise wrong(f"this must be a mapping of names to values, not {what(node)}")
    return node


def _tolerations(node: Any) -> Any:
    entries = _listed(node)
    for entry in entries:
        mapping(entry)
    return [plain(entry) for entry in entries]


def _count(node: Any) -> int:
    if not isinstance(node, Scalar) or not isinstance(node.value, int) or isinstance(node.value, bool):
        raise wrong(f"this must be a whole number, not {what(node)}")
    return node.value


def _natural(number: int) -> int:
    return _between(number, 0)


def _positive(number: int) -> int:
    return _between(number, 1)


def _priority(number: int) -> int:
    return _between(number, -MOST)


def _between(number: int, least: int) -> int:
    if not least <= number <= MOST:
        raise wrong(f"this must be from {least} to {MOST}")
    return number


def _flag(node: Any) -> bool:
    if not isinstance(node, Scalar) or not isinstance(node.value, bool):
        raise wrong(f"this must be true or false, not {what(node)}")
    return node.value


def _reads(reader: Callable[[str], T]) -> Callable[[Any], T]:
    def read(node: Any) -> T:
        try:
            return reader(text(node))
        except InvalidInput as error:
            raise wrong(error.detail) from None

    return read


def _limit(value: float) -> float:
    if value == 0:
        raise wrong("this must be longer than nothing; leave the field out for no limit")
    return value


def one_of(*choices: str) -> BeforeValidator:
    """One of some words, whatever its case."""
    by_lower = {choice.lower(): choice for choice in choices}

    def read(node: Any) -> str:
        word = text(node)
        if word.lower() not in by_lower:
            near = nearest(word, choices, limit=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise wrong(f"{shown(word)} is none of {', '.join(choices)}; {hint}choose one of them")
        return by_lower[word.lower()]

    return BeforeValidator(read)


def slug(name: str) -> str:
    """The name in lower case, other characters as single ``-``; may still be no name."""
    return _NO_NAME.sub("-", name.lower()).strip("-")


def name_fault(name: str) -> str | None:
    """Why this cannot be the name of a job or task; None if it can. Source: job-files.md."""
    if NAME.fullmatch(name) and "--" not in name:
        return None
    better = slug(name[:63])
    hint = f', like "{better}"' if NAME.fullmatch(better) else ""
    return f"{shown(name)} is no name; use a-z, 0-9 and single -, a letter first, none at the end a -{hint}"


def _name(value: str) -> str:
    fault = name_fault(value)
    if fault:
        raise wrong(fault)
    return value


def _env_name(name: str) -> str:
    if not _ENV_NAME.fullmatch(name):
        raise wrong(f"{shown(name)} is no name of a variable; use letters, digits and _, no digit first")
    if name.startswith("ODIN_"):
        raise wrong(f"{shown(name)} begins with ODIN_, which Odin sets itself; choose another name")
    return name


def _inside(path: str) -> str:
    if not path.startswith(("/", "$")):
        raise wrong(f"{shown(path)} must be absolute; begin it with / or a variable")
    return path


def _mode(value: str) -> int:
    found = _MODE.fullmatch(value)
    if not found:
        raise InvalidInput(f"{shown(value)} is no file mode; write three octal digits, like 0400")
    return int(found[1], 8)


def _without_caret(name: str) -> str:
    return name.removeprefix("^")


_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}
_DURATION: Final = {"type": ["number", "string"], "examples": [90, "90s", "15m", "2h", "1d"]}
_QUANTITY: Final = {"type": ["number", "string"]}

Text = Annotated[str, BeforeValidator(text), WithJsonSchema(_SCALAR)]
Filled = Annotated[Text, AfterValidator(_filled)]
Name = Annotated[
    str,
    BeforeValidator(text),
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"}),
]
Depend = Annotated[
    str,
    BeforeValidator(text),
    AfterValidator(_without_caret),
    AfterValidator(_filled),
    WithJsonSchema({"type": "string"}),
]
EnvName = Annotated[str, AfterValidator(_env_name)]
VolumePath = Annotated[Filled, AfterValidator(_inside)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, AfterValidator(_natural), BeforeValidator(_count)]
Positive = Annotated[int, AfterValidator(_positive), BeforeValidator(_count)]
Priority = Annotated[int, AfterValidator(_priority), BeforeValidator(_count)]
Duration = Annotated[float, BeforeValidator(_reads(quantities.seconds)), WithJsonSchema(_DURATION)]
Limit = Annotated[Duration, AfterValidator(_limit)]
Cpu = Annotated[int, BeforeValidator(_reads(quantities.cpu_m)), WithJsonSchema(_QUANTITY)]
Memory = Annotated[int, BeforeValidator(_reads(quantities.memory_bytes)), WithJsonSchema(_QUANTITY)]
Mode = Annotated[int, BeforeValidator(_reads(_mode)), WithJsonSchema(_QUANTITY)]
Listed: Final = BeforeValidator(_listed)
Several: Final = BeforeValidator(_several)
Named: Final = BeforeValidator(mapping)
Tolerations = Annotated[list[dict[str, Any]], BeforeValidator(_tolerations)]
