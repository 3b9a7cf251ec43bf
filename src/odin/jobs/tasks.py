"""Tasks as a client sends them, compared with tasks as the file has them.

Clients speak camelCase, files mostly snake_case; one name may stand where a list is meant; null and empty are
the same as leaving a field out. Source: job-files.md; api.md, "Jobs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from odin.model.document import Map, Node, Scalar, Seq, plain
from odin.model.errors import InvalidInput
from odin.model.fields import OPAQUE, SINGULAR, TaskFields

LISTED = frozenset({"command", "args", "depends", "inputs", *SINGULAR.values()})
ADDED = frozenset({"id"})  # fields that answers have and files do not


def field_name(key: str) -> str:
    """The field that a key means, in whatever spelling; an unknown key in snake_case."""
    return TaskFields.spellings().get(key) or snake(key)


def snake(key: str) -> str:
    """``numGpus`` as ``num_gpus``."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0].lower()}", key)


def wanted(task: Mapping[str, Any]) -> dict[str, Any]:
    """A client's task with the field names of a file, empty fields left out. Raises InvalidInput."""
    if not isinstance(task, Mapping) or not isinstance(task.get("name"), str):
        raise InvalidInput('every task is an object with a "name"')
    fields = {field_name(key): value for key, value in task.items() if key not in ADDED}
    return {
        name: value if name in OPAQUE else _snaked(value)
        for name, value in fields.items()
        if value is not None and value not in ([], {})
    }


def _snaked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {snake(key): _snaked(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_snaked(inner) for inner in value]
    return value


def written(task: Map) -> dict[str, Node]:
    """A file's task under its fields' names, empty fields left out."""
    return {field_name(key): node for key, node in task.items() if plain(node) not in (None, [], {})}


def same_task(task: Map, new: Mapping[str, Any]) -> bool:
    """Whether the file's task says what ``wanted`` gave."""
    old = written(task)
    return old.keys() == new.keys() and all(same(name, old[name], value) for name, value in new.items())


def same(name: str, node: Node, value: Any) -> bool:
    """Whether a field's node says what a client sent for it."""
    return _equal(_list(name, node), _list(name, value), opaque=name in OPAQUE)


def _list(name: str, value: Any) -> Any:
    if name not in LISTED or isinstance(value, (Seq, list)):
        return value
    return [value]


def _equal(node: Any, value: Any, *, opaque: bool) -> bool:
    if isinstance(node, Map):
        if not isinstance(value, Mapping):
            return False
        old = {(key if opaque else snake(key)): inner for key, inner in node.items()}
        return old.keys() == value.keys() and all(_equal(old[key], value[key], opaque=opaque) for key in old)
    if isinstance(node, list):
        same_length = isinstance(value, list) and len(node) == len(value)
        return same_length and all(_equal(*pair, opaque=opaque) for pair in zip(node, value, strict=True))
    return isinstance(node, Scalar) and _says(node, value)


def _says(node: Scalar, value: Any) -> bool:
    if isinstance(value, bool) or isinstance(node.value, bool):
        return node.value is value
    return bool(value == (node.text if isinstance(value, str) else node.value))
