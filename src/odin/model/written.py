"""The job file as others see it: its tasks as they are written, and its JSON Schema for editors."""

from __future__ import annotations

from typing import Any, Final

from odin.model.document import load
from odin.model.fields import OPAQUE, SHAPES, JobFields, Shape, TaskFields, camel, snake
from odin.model.nodes import Map, Node, Scalar, Seq, plain

_SHAPES: Final[tuple[type[Shape], ...]] = (TaskFields, *dict.fromkeys(SHAPES.values()))
_TEXTUAL: Final = OPAQUE | {"command", "args", "inputs", "depends", "name", "image"}


def tasks_as_written(text: bytes | str, *, file: str = "main.yml") -> list[dict[str, Any]]:
    """The entries of ``tasks`` as plain values, field names in camelCase; raises ValidationFailed if it is no YAML.

    Text stays as it is written, ``1.10`` in ``args`` too. Entries that are no mapping are left out. The keys of
    ``env``, ``labels``, ``annotations``, ``node_selector`` and ``outputs`` are the author's own.
    """
    root = load(text, file=file)
    tasks = root.get("tasks") if isinstance(root, Map) else None
    entries = tasks if isinstance(tasks, Seq) else ()
    return [_as_written(entry) for entry in entries if isinstance(entry, Map)]


def _as_written(node: Map) -> dict[str, Any]:
    return {camel(key): _field(snake(key), value) for key, value in node.items()}


def _field(name: str, node: Node) -> Any:
    if isinstance(node, Scalar) and node.value is None:
        return None
    if name in _TEXTUAL:
        return _texts(node)
    if isinstance(node, Map):
        return _as_written(node)
    if isinstance(node, Seq):
        return [_field("", item) for item in node]
    return plain(node)


def _texts(node: Node) -> Any:
    if isinstance(node, Map):
        return {key: _texts(value) for key, value in node.items()}
    if isinstance(node, Seq):
        return [_texts(item) for item in node]
    return node.text


def schema() -> dict[str, Any]:
    """JSON Schema of a job file, for editors; both spellings of every field."""
    found = JobFields.model_json_schema()
    _spell_out(JobFields, found)
    for shape in _SHAPES:
        _spell_out(shape, found["$defs"][shape.__name__])
    return found


def _spell_out(shape: type[Shape], described: dict[str, Any]) -> None:
    fields = described["properties"]
    described["properties"] = {written: fields[name] for written, name in shape.spellings().items()}
