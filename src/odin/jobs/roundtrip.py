"""Exchanges tasks in the text of a main.yml and leaves every other character as it is.

A task that means the same keeps its text; in one that differs only the fields that differ are rewritten, so
comments, anchors and other keys stay. Each step is judged by reading the result again; where fine strokes do not
lead there (a field that came through ``<<`` is to go), the task is written anew, and at last the whole list.
Source: api.md, ``PUT /v1/jobs/{id}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from odin.jobs.patches import Patch, dumped, patched
from odin.jobs.spans import Lines, Span, spans
from odin.jobs.tasks import field_name, same, same_task, wanted, written
from odin.model.document import Map, Seq, load
from odin.model.errors import Conflict, InvalidInput, OdinError

Fields = dict[str, Any]
PASSES = 4  # an anchor's new value can make another task differ, whose alias is then written out


def with_tasks(content: bytes, tasks: Sequence[Mapping[str, Any]], *, file: str) -> bytes:
    """The file with these tasks, given in camelCase.

    Raises ValidationFailed where the file is no YAML, InvalidInput for tasks that are no tasks, and Conflict
    where an anchor that is needed elsewhere would go.
    """
    new = [wanted(task) for task in tasks]
    names = [task["name"] for task in new]
    if len(set(names)) < len(names):
        raise InvalidInput("two tasks have the same name")
    text = content.decode("utf-8-sig")
    if _stands(text, new, file=file):
        return content
    unix = text.replace("\r\n", "\n")
    edited = _edited(unix, new, file=file)
    return (edited.replace("\n", "\r\n") if "\r\n" in text else edited).encode()


def _edited(text: str, new: list[Fields], *, file: str) -> str:
    for step in (_finely, _task_wise, _whole):
        result = text
        for _ in range(PASSES):
            root = load(result, file=file)
            span = spans(result)
            if not isinstance(root, Map) or span is None:
                raise InvalidInput(f"{file} is no mapping; push the file instead")
            result = step(_Sheet(result, root, span), new)
            if not _is_yaml(result, file):
                break
            if _stands(result, new, file=file):
                return result
    raise Conflict(f"{file} has anchors in its tasks that other places need; edit and push the file instead")


def _is_yaml(text: str, file: str) -> bool:
    try:
        load(text, file=file)
    except OdinError:
        return False
    return True


def _stands(text: str, new: list[Fields], *, file: str) -> bool:
    """Whether the text has these tasks already."""
    root = load(text, file=file)
    old = root.get("tasks") if isinstance(root, Map) else None
    if not isinstance(old, Seq):
        return False
    return len(old) == len(new) and all(
        isinstance(task, Map) and same_task(task, fields) for task, fields in zip(old, new, strict=True)
    )


class _Sheet:
    """A text with its meaning and the places of its tasks."""

    def __init__(self, text: str, root: Map, span: Span) -> None:
        self.text = text
        self.lines = Lines(text)
        self.root = span
        found = next((pair for pair in span.pairs() if pair[0].text == "tasks"), None)
        self.key_end = found[0].end if found else 0
        self.place = found[1] if found else None
        tasks = root.get("tasks")
        self.tasks: list[Any] = list(tasks) if isinstance(tasks, Seq) else []

    def items(self) -> list[Span] | None:
        """The tasks' places where each begins on lines of its own, else None."""
        if self.place is None or self.place.kind != "list" or self.place.is_flow or not self.tasks:
            return None
        return self.place.children


def _whole(sheet: _Sheet, new: list[Fields]) -> str:
    """The list written anew, in place of the old value."""
    place = sheet.place
    if place is None:
        gap = "" if sheet.text.endswith("\n") or not sheet.text else "\n"
        return f"{sheet.text}{gap}{dumped({'tasks': new}, flow=False)}\n"
    if sheet.root.is_flow or not new:
        return patched(sheet.text, [Patch(_before(sheet.text, place.start), place.end, " " + dumped(new, flow=True))])
    column = sheet.lines.column(place.start) if not place.is_flow and place.kind == "list" else 0
    lead = "\n" + " " * column
    block = lead + dumped(new, flow=False, column=column)
    return patched(sheet.text, [Patch(_before(sheet.text, place.start), place.end, block)])


def _before(text: str, start: int) -> int:
    """Where the blanks before a value begin; they belong to what is replaced."""
    return len(text[:start].rstrip())


def _finely(sheet: _Sheet, new: list[Fields]) -> str:
    return _by_task(sheet, new, _strokes)


def _task_wise(sheet: _Sheet, new: list[Fields]) -> str:
    return _by_task(sheet, new, _no_strokes)


def _no_strokes(*_: object) -> None:
    return None


Strokes = Callable[[_Sheet, Span, Map, Fields], list[Patch] | None]


def _by_task(sheet: _Sheet, new: list[Fields], strokes: Strokes) -> str:
    """Put the tasks into their new order, each with the text and the comments it had."""
    items = sheet.items()
    if items is None or not new:
        return _whole(sheet, new)
    column = sheet.lines.column(_dash(sheet, items[0]))
    begin = sheet.lines.finish(sheet.key_end) + 1
    ends = [sheet.lines.finish(item.end) for item in items]
    starts = [begin, *(end + 1 for end in ends[:-1])]
    partner = _partners([str(_name(task)) for task in sheet.tasks], [task["name"] for task in new])
    chunks = []
    for fields, old in zip(new, partner, strict=True):
        if old is None:
            chunks.append(" " * column + dumped([fields], flow=False, column=column))
            continue
        chunk = _chunk(sheet, starts[old], ends[old], old, fields, strokes)
        chunks.append(chunk)
    return sheet.text[:begin] + "\n".join(chunks) + sheet.text[ends[-1] :]


def _dash(sheet: _Sheet, item: Span) -> int:
    return sheet.text.rindex("-", 0, item.start)


def _chunk(sheet: _Sheet, start: int, end: int, index: int, fields: Fields, strokes: Strokes) -> str:
    """The lines of one task, comments above it included, saying ``fields``."""
    assert sheet.place is not None
    task, span = sheet.tasks[index], sheet.place.children[index]
    text = sheet.text[start:end]
    if isinstance(task, Map) and same_task(task, fields):
        return text
    patches = strokes(sheet, span, task, fields) if isinstance(task, Map) else None
    if patches is None:
        dash = _dash(sheet, span)
        block = "- " + dumped(fields, flow=False, column=sheet.lines.column(dash) + 2)
        patches = [Patch(dash, span.end, block)]
    return patched(text, [Patch(each.start - start, each.end - start, each.text) for each in patches])


def _strokes(sheet: _Sheet, span: Span, task: Map, fields: Fields) -> list[Patch] | None:
    """The fewest changes that make the task say ``fields``; None where lines cannot be told apart."""
    if span.kind != "mapping" or span.is_flow:
        return None
    old, pairs = written(task), {field_name(key.text): (key, value) for key, value in span.pairs()}
    patches = []
    for name in old.keys() - fields.keys():
        if name not in pairs or sheet.lines.begin(pairs[name][0].start) == sheet.lines.begin(span.start):
            return None
        key, value = pairs[name]
        patches.append(Patch(sheet.lines.begin(key.start) - 1, sheet.lines.finish(max(value.end, key.end)), ""))
    changed = {name: value for name, value in fields.items() if name not in old or not same(name, old[name], value)}
    for name in changed.keys() & pairs.keys():
        patches.append(_exchange(sheet, *pairs[name], changed[name]))
    added = {name: value for name, value in changed.items() if name not in pairs}
    if added:
        column = sheet.lines.column(span.children[0].start)
        lines = "\n" + " " * column + dumped(added, flow=False, column=column)
        end = sheet.lines.finish(span.end)
        patches.append(Patch(end, end, lines))
    return patches


def _exchange(sheet: _Sheet, key: Span, old: Span, value: Any) -> Patch:
    """A new value in the style of the old one; an anchor stays."""
    if not old.is_flow and old.anchor is None and isinstance(value, (list, dict)) and value:
        return Patch(old.start, old.end, dumped(value, flow=False, column=sheet.lines.column(old.start)))
    anchor = f"&{old.anchor} " if old.anchor else ""
    start = len(sheet.text[: old.start].rstrip()) if old.start > key.end else key.end + 1
    return Patch(start, max(old.end, start), f" {anchor}{dumped(value, flow=True)}")


def _name(task: Any) -> Any:
    node = task.get("name") if isinstance(task, Map) else None
    return getattr(node, "text", None)


def _partners(old: list[str], new: list[str]) -> list[int | None]:
    """For each new task the old one it comes from: of the same name, else renamed in the same place."""
    by_name = {name: index for index, name in enumerate(old)}
    left = set(range(len(old))) - {by_name[name] for name in new if name in by_name}
    return [by_name.get(name, index if index in left else None) for index, name in enumerate(new)]
