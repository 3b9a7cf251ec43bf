"""What a rule finds wrong, and how rules look into objects that may hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from odin.executors.kubernetes.kind import Object

CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
Found = Iterator[tuple[str, Object]]  # places below an object, each with what stands there


@dataclass(frozen=True, slots=True)
class Violation:
    """``field`` is the place in the object, ``rule`` what it breaks, ``remedy`` what to do."""

    field: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}; {self.remedy}"


def inner(node: Any, *fields: str) -> Object:
    """The object that lies there; an empty one where there is none, or something else."""
    for field in fields:
        node = node.get(field) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def each(node: Any, field: str, path: str) -> Found:
    """The objects of a list with their places; what is no object is for the table of fields to refuse."""
    listed = node.get(field) if isinstance(node, dict) else None
    for idx, item in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(item, dict):
            yield f"{path}.{field}[{idx}]", item


def containers(pod: Object, path: str) -> Found:
    for field in CONTAINERS:
        yield from each(pod, field, path)


def survey(obj: Object) -> tuple[list[tuple[str, Object]], list[tuple[str, Object]]]:
    """Every pod spec at any depth, and every object that is outside of them, each with its place."""
    pods: list[tuple[str, Object]] = []
    others: list[tuple[str, Object]] = []
    stack: list[tuple[str, Any]] = [("", obj)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, list):
            stack += [(f"{path}[{idx}]", item) for idx, item in enumerate(node)]
        elif isinstance(node, dict):
            (pods if is_pod(node) else others).append((path, node))
            if not is_pod(node):
                stack += [(f"{path}.{field}".lstrip("."), value) for field, value in node.items()]
    return pods, others


def is_pod(node: Any) -> bool:
    """Whether this is a pod's spec: what has containers is one, whatever else it has."""
    return isinstance(node, dict) and any(field in node for field in CONTAINERS)


def objects(node: Any, path: str) -> Found:
    """Every object below a node and itself, with its place."""
    if isinstance(node, dict):
        yield path, node
        for field, value in node.items():
            if isinstance(value, dict | list):
                yield from objects(value, f"{path}.{field}")
    elif isinstance(node, list):
        for idx, value in enumerate(node):
            yield from objects(value, f"{path}[{idx}]")
