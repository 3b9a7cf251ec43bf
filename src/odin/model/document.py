"""YAML text as a tree of values that know their line and column.

The tree is composed here, in one loop over libyaml's events: libyaml's own loader recurses and dies on deep
nesting, and neither it nor its Python twin counts what aliases expand to. A guard in the same loop refuses what
is too large before it is built. Scalars mean what the core schema of YAML 1.2 says.
Source: reliability.md, A-20 and A-21; https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

from odin.model.core_schema import kind, resolve
from odin.model.errors import Problem, ValidationFailed
from odin.model.nodes import Map, Node, Place, Scalar, Seq, Step, plain, show_path

__all__ = ["Document", "Map", "Node", "Place", "Scalar", "Seq", "Step", "load", "plain", "read", "show_path"]

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_NODES: Final = 250_000
MAX_PROBLEMS: Final = 100
_TEXT_NODE: Final = 256  # characters of a text that count as one more node, so that aliases cannot multiply it

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. ``problems`` are breaches that left a tree all the same."""

    root: Node
    problems: tuple[Problem, ...]


def read(text: bytes | str, *, file: str) -> Document:
    """Compose the one document of ``text``; raises ValidationFailed where no tree can be made."""
    composer = _Composer(file)
    checked = _decode(text, composer)
    try:
        with closing(_events(checked)) as events:
            for event in events:
                composer.take(event)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the pure loader, of escapes beyond Unicode
        composer.refuse(*_syntax(error, checked))
    root = composer.root if composer.root is not None else Scalar(None, "", (1, 1))
    return Document(root, tuple(composer.problems))


def load(text: bytes | str, *, file: str) -> Node:
    """The tree of ``text``; raises ValidationFailed with every problem of it."""
    document = read(text, file=file)
    if document.problems:
        raise ValidationFailed(str(document.problems[0]), problems=document.problems)
    return document.root


def _events(text: str) -> Generator[Any, None, None]:
    yield from yaml.parse(text, Loader=_LOADER)


def _decode(text: bytes | str, composer: _Composer) -> str:
    """The text without its byte order mark; refuses what is too large or no text at all."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        composer.refuse(f"the file has {len(raw)} bytes; at most {MAX_BYTES} are read (1 MiB)", (1, 1))
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        byte = raw[error.start]
        composer.refuse(f"the byte 0x{byte:02x} is not UTF-8; save the file as UTF-8", _end(before))
    found = _FORBIDDEN.search(decoded)
    if found:
        code = ord(found.group())
        composer.refuse(f"the control character U+{code:04X} is not allowed", _end(decoded[: found.start()]))
    return decoded


def _end(text: str) -> Place:
    lines = re.split(r"\r\n|\r|\n", text)
    return len(lines), len(lines[-1]) + 1


def _mark(mark: Any) -> Place:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _syntax(error: Exception, text: str) -> tuple[str, Place]:
    """libyaml's words in one sentence, with the remedy for the commonest mistake, and the place."""
    begun, problem_mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    place = _mark(problem_mark or begun)
    context = getattr(error, "context", None)
    if context and begun and begun.line + 1 != place[0]:
        context = f"{context} (begun in line {begun.line + 1})"
    said = ", ".join(part for part in (context, getattr(error, "problem", None)) if part) or str(error)
    written = text.splitlines()[place[0] - 1 : place[0]]
    has_tab = any("\t" in line[: len(line) - len(line.lstrip())] for line in written)
    return f"this is not YAML: {said}" + ("; indent with spaces, not with tabs" if has_tab else ""), place


class _Anchor:
    """A named node. ``size`` counts all that it expands to; None while the node is still open."""

    __slots__ = ("height", "node", "size")

    def __init__(self, node: Node, size: int | None, height: int) -> None:
        self.node = node
        self.size = size
        self.height = height


class _Frame:
    """A list or mapping that is still open."""

    __slots__ = ("anchor", "before", "height", "key", "merges", "node")

    def __init__(self, node: Seq | Map, anchor: _Anchor | None, before: int) -> None:
        self.node = node
        self.anchor = anchor
        self.before = before  # nodes counted when it opened
        self.height = 1  # levels within, this one included
        self.key: Scalar | None = None
        self.merges: list[Node] = []


_DROPPED: Final = Scalar(None, "", (0, 0))  # a key that was refused: its value is read and left out
_MERGE: Final = Scalar("<<", "<<", (0, 0))


class _Composer:
    """Takes events one by one; holds the stack that a recursive composer would have."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0
        self._documents = 0
        self._take: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._open_list,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.MappingEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: Any) -> None:
        taken = self._take.get(type(event))
        if taken:
            taken(event)

    def refuse(self, message: str, place: Place) -> NoReturn:
        """Give up: what follows cannot be read."""
        self.blame(message, place)
        raise ValidationFailed(str(self.problems[0]), problems=self.problems)

    def blame(self, message: str, place: Place) -> None:
        path = show_path(self._path())
        self.problems.append(Problem(message, path, self.file, *place))
        if len(self.problems) == MAX_PROBLEMS:
            raise ValidationFailed(str(self.problems[0]), problems=self.problems)

    def _path(self) -> list[Step]:
        steps: list[Step] = []
        for frame in self._stack:
            if isinstance(frame.node, Seq):
                steps.append(len(frame.node))
            elif frame.key is not None:
                steps.append(frame.key.text)
        return steps

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self.refuse("a second document begins here; a file holds one", _mark(event.start_mark))

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        place = (mark.line + 1, mark.column + 1)
        text = event.value
        if "\0" in text:
            self.blame("the character NUL is not allowed", place)
        is_plain = event.implicit[0] and not event.style
        node = Scalar(resolve(text) if is_plain else text, text, place)
        if event.tag is not None:
            self._tagged(node, event.tag)
        size = 1 + len(text) // _TEXT_NODE
        self._count(size, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(node, size, 0)
        self._add(node, 0, is_merge=is_plain and text == "<<")

    def _tagged(self, node: Scalar, tag: str) -> None:
        if tag in ("!", _TAG + "str"):
            return
        found = kind(node.text)
        wanted = tag.removeprefix(_TAG)
        if wanted not in ("null", "bool", "int", "float"):
            self._bad_tag(tag, node.place)
        elif wanted == found or (wanted, found) == ("float", "int"):
            value = resolve(node.text)
            node.value = float(value) if wanted == "float" and value is not None else value
        else:
            self.blame(f'"{node.text[:80]}" is not what the tag !!{wanted} says; leave the tag out', node.place)

    def _bad_tag(self, tag: str, place: Place) -> None:
        shown = tag.replace(_TAG, "!!", 1)[:80]
        self.blame(f"the tag {shown} is not allowed; leave it out", place)

    def _open_list(self, event: Any) -> None:
        self._open(event, Seq(_mark(event.start_mark)), "seq")

    def _open_mapping(self, event: Any) -> None:
        self._open(event, Map(_mark(event.start_mark)), "map")

    def _open(self, event: Any, node: Seq | Map, tag: str) -> None:
        if event.tag not in (None, "!", _TAG + tag):
            self._bad_tag(event.tag, node.place)
        self._count(1, node.place)
        self._deep(len(self._stack) + 1, node.place)
        anchor = None
        if event.anchor is not None:
            anchor = self._anchors[event.anchor] = _Anchor(node, None, 0)
        self._stack.append(_Frame(node, anchor, self._nodes - 1))

    def _close(self, _: Any) -> None:
        frame = self._stack[-1]
        if isinstance(frame.node, Map):
            for source in frame.merges:
                self._merge(frame.node, source)
        self._stack.pop()
        if frame.anchor is not None:
            frame.anchor.size = self._nodes - frame.before
            frame.anchor.height = frame.height
        self._add(frame.node, frame.height)

    def _alias(self, event: Any) -> None:
        place = _mark(event.start_mark)
        anchor = self._anchors.get(event.anchor)
        if anchor is None or anchor.size is None:
            why = "stands inside its own anchor" if anchor else "has no anchor before it"
            self.blame(f"the alias *{event.anchor[:80]} {why}", place)
            self._add(Scalar(f"*{event.anchor}", f"*{event.anchor}", place), 0)
            return
        self._count(anchor.size, place)
        self._deep(len(self._stack) + anchor.height, place)
        node = anchor.node
        self._add(Scalar(node.value, node.text, place) if isinstance(node, Scalar) else node, anchor.height)

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self.refuse(f"the file expands to more than {MAX_NODES} values; an alias counts as all it names", place)

    def _deep(self, depth: int, place: Place) -> None:
        if depth > MAX_DEPTH:
            self.refuse(f"lists and mappings are nested deeper than {MAX_DEPTH} levels", place)

    def _add(self, node: Node, height: int, *, is_merge: bool = False) -> None:
        """Put a finished node where it belongs: the root, a list, or a mapping's key or value."""
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height + 1)
        holder = frame.node
        if isinstance(holder, Seq):
            holder.append(node)
        elif frame.key is not None:
            _put(frame, holder, node)
        elif is_merge and not frame.merges:
            frame.key = _MERGE
        else:
            frame.key = self._key(holder, node, is_second_merge=is_merge)

    def _key(self, mapping: Map, node: Node, *, is_second_merge: bool) -> Scalar:
        """The node as a key, or ``_DROPPED`` where it cannot be one."""
        if not isinstance(node, Scalar):
            self.blame("a key must be a string, not a list or a mapping", node.place)
        elif not isinstance(node.value, str):
            shown = node.text[:80]
            self.blame(f'the key {shown or "(empty)"} is not a string; write it in quotes: "{shown}"', node.place)
        elif is_second_merge:
            self.blame("<< stands here twice; merge a list: <<: [*one, *two]", node.place)
        elif node.text in mapping:
            line, _ = mapping.keys_at[node.text]
            self.blame(f'the key "{node.text[:80]}" stands here twice, first in line {line}; keep one', node.place)
        else:
            return node
        return _DROPPED

    def _merge(self, mapping: Map, source: Node) -> None:
        """Add what ``<<`` names; the mapping's own keys win, then the first of several sources."""
        for part in source if isinstance(source, Seq) else (source,):
            if not isinstance(part, Map):
                self.blame("<< takes a mapping or a list of mappings", part.place)
                continue
            self._count(len(part), part.place)
            for key, value in part.items():
                if key not in mapping:
                    mapping[key] = value
                    mapping.keys_at[key] = part.keys_at[key]


def _put(frame: _Frame, mapping: Map, node: Node) -> None:
    key = frame.key
    frame.key = None
    if key is _MERGE:
        frame.merges.append(node)
    elif key is not None and key is not _DROPPED:
        mapping[key.text] = node
        mapping.keys_at[key.text] = key.place
