"""The API's JSON objects as Python objects: attributes in snake_case over the raw answer.

A class names its attributes by annotations alone, which cost nothing at start and which editors and type checkers read.
A field that an older server does not send is None.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Record:
    """One JSON object, read-only; ``raw`` is the object as the server sent it, keys in camelCase."""

    __slots__ = ("raw",)
    __match_args__ = ("raw",)
    raw: dict[str, Any]

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    if not TYPE_CHECKING:  # a checker would take every misspelt name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name == "raw" or not named(type(self), name):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            return self._fact(camel(name))

    def _fact(self, key: str) -> Any:
        return self.raw.get(key)

    def __dir__(self) -> list[str]:
        return sorted(
            {*object.__dir__(self), *(name for kind in type(self).__mro__ for name in noted(kind) if name[0] != "_")}
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and type(self) is type(other) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]  # equal by content, which may change

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.raw.get('id') or self.raw.get('name') or ''}>"


def named(kind: type, name: str) -> bool:
    return any(name in noted(one) for one in kind.__mro__)


def noted(kind: type) -> dict[str, object]:
    """The annotations that the class itself has."""
    return getattr(kind, "__annotations__", {})


def camel(name: str) -> str:
    """``exit_code`` is ``exitCode`` in JSON."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
