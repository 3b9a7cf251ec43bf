"""Where each value of a YAML text lies, to the character, so that one can be exchanged and the rest stays.

Only for texts that ``odin.model.document`` has accepted. Unlike there, an alias stays an alias and comments stay
outside of every span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import yaml

_LINE_END = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Span:
    """One node: ``start`` includes its anchor, ``end`` is after its last character.

    ``children`` are a list's items, or keys and values in turn. ``text`` is a scalar's value.
    """

    start: int
    end: int
    kind: str  # scalar, alias, list, mapping
    anchor: str | None = None
    is_flow: bool = True
    text: str = ""
    children: list[Span] = field(default_factory=list)

    def pairs(self) -> Iterator[tuple[Span, Span]]:
        """Keys with their values, in the file's order."""
        return zip(self.children[::2], self.children[1::2], strict=True)


class Lines:
    """Offsets in a text, by line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(found.end() for found in _LINE_END.finditer(text))]

    def at(self, mark: Any) -> int:
        return self.starts[int(mark.line)] + int(mark.column)

    def begin(self, at: int) -> int:
        """Where the line of that character begins."""
        return max(start for start in self.starts if start <= at)

    def finish(self, at: int) -> int:
        """Where that line ends, before its line break."""
        found = _LINE_END.search(self.text, at)
        return found.start() if found else len(self.text)

    def column(self, at: int) -> int:
        return at - self.begin(at)


def spans(text: str) -> Span | None:
    """The text's one document; None where it is empty."""
    builder = _Builder(text)
    parsed: Any = yaml.parse(text, Loader=_LOADER)
    with closing(parsed) as events:
        for event in events:
            builder.take(event)
    return builder.root


class _Builder:
    def __init__(self, text: str) -> None:
        self.root: Span | None = None
        self._text = text
        self._lines = Lines(text)
        self._open: list[Span] = []
        self._take: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._list,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
        }

    def take(self, event: Any) -> None:
        taken = self._take.get(type(event))
        if taken is not None:
            taken(event)

    def _scalar(self, event: Any) -> None:
        start, end = self._lines.at(event.start_mark), self._lines.at(event.end_mark)
        if event.style in ("|", ">"):  # ends where the next token begins
            end = start + len(self._text[start:end].rstrip())
        self._add(Span(start, end, "scalar", event.anchor, text=event.value))

    def _alias(self, event: Any) -> None:
        self._add(Span(self._lines.at(event.start_mark), self._lines.at(event.end_mark), "alias"))

    def _list(self, event: Any) -> None:
        self._begin(event, "list")

    def _mapping(self, event: Any) -> None:
        self._begin(event, "mapping")

    def _begin(self, event: Any, kind: str) -> None:
        start = self._lines.at(event.start_mark)
        span = Span(start, start, kind, event.anchor, is_flow=bool(event.flow_style))
        self._add(span)
        self._open.append(span)

    def _close(self, event: Any) -> None:
        span = self._open.pop()
        if span.is_flow:
            span.end = self._lines.at(event.end_mark)
        elif span.children:
            span.end = max(span.start, span.children[-1].end)

    def _add(self, span: Span) -> None:
        if self._open:
            self._open[-1].children.append(span)
        else:
            self.root = span
