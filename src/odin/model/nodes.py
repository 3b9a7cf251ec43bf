"""The tree that a YAML text is read into: scalars, lists and mappings that know their line and column.

A tree is made by ``odin.model.document`` alone; aliases make nodes stand in several places of it.
"""

from __future__ import annotations

from typing import Any

Place = tuple[int, int]  # line and column, both from 1
Step = str | int
Value = str | int | float | bool | None


class Scalar:
    """One value: ``value`` is what it means, ``text`` how it is written (without quotes)."""

    __slots__ = ("place", "text", "value")

    def __init__(self, value: Value, text: str, place: Place) -> None:
        self.value = value
        self.text = text
        self.place = place


class Seq(list["Node"]):
    """A list of nodes; may stand in several places of the tree, where aliases name it."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


class Map(dict[str, "Node"]):
    """A mapping in the file's order; ``keys_at`` has the place of each key."""

    __slots__ = ("keys_at", "place")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.keys_at: dict[str, Place] = {}


Node = Scalar | Seq | Map


def plain(node: Node) -> Any:
    """The node as plain lists, dicts and values, as JSON has them (recursion is bounded by ``MAX_DEPTH``)."""
    if isinstance(node, Map):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, Seq):
        return [plain(value) for value in node]
    value = node.value
    finite = not isinstance(value, float) or abs(value) < float("inf")  # JSON has no nan and no infinity
    return value if finite else node.text


def show_path(steps: tuple[Step, ...] | list[Step]) -> str:
    """A place in the tree, as people write it: ``tasks[2].depends``."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in steps)
    return path.removeprefix(".")
