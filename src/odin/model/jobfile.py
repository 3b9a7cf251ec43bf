"""Reads ``main.yml``: text in, a checked job or every problem of the file out.

Three steps: YAML to a tree (``document``), the tree to fields (``fields``), and what no single field can tell
(``rules``): the graph, references, variables, sizes. A problem of one task does not hide those of another.
Source: job-files.md.
"""

from __future__ import annotations

from typing import Literal, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from odin.model.document import read
from odin.model.fields import (
    AGAIN,
    SHAPES,
    HeadFields,
    JobFields,
    Shape,
    TaskFields,
)
from odin.model.findings import Findings
from odin.model.ids import JobPath
from odin.model.job import Job
from odin.model.names import nearest, one_off, shown
from odin.model.nodes import Map, Node, Scalar, Seq, Step
from odin.model.rules import Entry, check_graph, check_lengths, check_texts, not_yet, warnings
from odin.model.scalars import name_fault, slug
from odin.model.specs import spec
from odin.model.written import schema, tasks_as_written

__all__ = ["parse", "schema", "tasks_as_written"]

_Loc = tuple[int | str, ...]


def parse(text: bytes | str, *, path: JobPath, file: str = "main.yml") -> Job:
    """The job in the folder ``path``; raises ValidationFailed with every problem, in the file's order.

    ``file`` is what the problems call the text. Things that Odin cannot do yet are no problems: they stand in
    the job's ``unsupported``.
    """
    document = read(text, file=file)
    findings = Findings(document, file)
    root = document.root
    if not isinstance(root, Map):
        empty = isinstance(root, Scalar) and root.value is None
        findings.add((), f"{'the file is empty' if empty else 'this is no mapping'}; begin with a line tasks:")
        findings.fail()
    root = cast(Map, root)
    head = _head(root, findings)
    entries = _entries(root, findings)
    name = _name(head, path, findings)
    check_graph(entries, findings)
    check_texts(entries, findings)
    check_lengths(name, entries, findings)
    findings.fail()
    return _job(cast(HeadFields, head), name, path, entries, findings)


def _job(head: HeadFields, name: str, path: JobPath, entries: list[Entry], findings: Findings) -> Job:
    return Job(
        path=path,
        name=name,
        tasks=tuple(spec(entry.fields, tuple(dict.fromkeys(entry.depends))) for entry in entries),
        on_failure=cast(Literal["stop", "continue"], head.on_failure),
        timeout_s=head.timeout,
        unsupported=tuple(not_yet(entries, findings)),
        warnings=tuple(str(warning) for warning in warnings(entries, findings)),
    )


def _head(root: Map, findings: Findings) -> HeadFields | None:
    meant = _check_keys(root, findings)
    if "tasks" not in root and "tasks" not in meant:
        findings.add(("tasks",), "tasks is missing; add a line tasks: with a list below it")
    known = HeadFields.spellings()
    try:
        return HeadFields.model_validate({key: value for key, value in root.items() if key in known})
    except ValidationError as error:
        _blame(error, HeadFields, (), findings)
        return None


def _check_keys(root: Map, findings: Findings) -> set[str]:
    """Refuse keys that are nearly known ones; which ones those are."""
    names = JobFields.spellings()
    meant = set()
    for key in root:
        near = (
            None if key in names or key.startswith("x-") else next((name for name in names if _near(key, name)), None)
        )
        if near:
            meant.add(near)
            message = f"unknown key {shown(key)}; did you mean {near}? (a key of your own may begin with x-)"
            findings.add((key,), message, at_key=True)
    return meant


def _near(key: str, name: str) -> bool:
    if abs(len(key) - len(name)) > 1:
        return False
    folded = key.lower().replace("-", "_")
    return folded == name.lower() or one_off(folded, name) or folded.replace("_", "") == name.replace("_", "")


def _entries(root: Map, findings: Findings) -> list[Entry]:
    tasks = root.get("tasks")
    if tasks is None or (isinstance(tasks, Scalar) and tasks.value is None):
        return []
    if not isinstance(tasks, Seq):
        findings.add(("tasks",), "tasks must be a list; begin each task with - name:")
        return []
    entries = []
    for i, node in enumerate(tasks):
        if findings.are_full:
            break
        fields = _task(node, ("tasks", i), findings)
        if fields:
            entries.append(Entry.of(i, _written_name(i, node), fields))
    return entries


def _written_name(index: int, node: Node) -> str:
    """What others call the task, even where it is no good name."""
    name = node.get("name") if isinstance(node, Map) else None
    return name.text if isinstance(name, Scalar) and name.value is not None else f"{AGAIN}{index}"


def _task(node: Node, steps: tuple[Step, ...], findings: Findings) -> TaskFields | None:
    try:
        return TaskFields.model_validate(node)
    except ValidationError as error:
        details = _blame(error, TaskFields, steps, findings)
        return _remnant(node, details) if isinstance(node, Map) else None


def _remnant(node: Map, details: list[ErrorDetails]) -> TaskFields:
    """The task without the fields that are wrong, so that the others are checked in the same go."""
    known = TaskFields.spellings()
    wrong = {str(detail["loc"][0]).removeprefix(AGAIN) for detail in details}
    wrong |= {known[key] for key in wrong if key in known}
    rest = {known[key]: value for key, value in node.items() if key in known and known[key] not in wrong}
    some = Scalar("x", "x", node.place)
    return TaskFields.model_validate({"name": some, "command": some} | rest)


def _name(head: HeadFields | None, path: JobPath, findings: Findings) -> str:
    """The job's name, empty where it is wrong."""
    if head is None:
        return ""
    if head.name:
        return head.name
    folder = path.rpartition("/")[2]
    name = slug(folder)
    if name_fault(name):
        findings.add((), f"the folder {shown(folder)} gives no name for pipelines; add a line like name: job-{name}")
        return ""
    return name


def _blame(
    error: ValidationError, shape: type[Shape], steps: tuple[Step, ...], findings: Findings
) -> list[ErrorDetails]:
    """Say pydantic's errors in our words, each in its place."""
    details = error.errors(include_url=False, include_input=False)
    misspelt = set()
    for detail in details:
        if findings.are_full:
            break
        if detail["type"] == "extra_forbidden":
            misspelt.add(_blame_key(detail, shape, steps, findings))
    for detail in details:
        if not findings.are_full and detail["loc"] not in misspelt:
            _blame_value(detail, steps, findings)
    return details


def _blame_key(detail: ErrorDetails, shape: type[Shape], steps: tuple[Step, ...], findings: Findings) -> _Loc:
    """Say that a field is unknown; the place of the one that is probably meant, which is no longer missing then."""
    *outer, key = detail["loc"]
    written = str(key).removeprefix(AGAIN)
    within = next((SHAPES[step] for step in reversed(outer) if step in SHAPES), shape)
    near = () if key != written else nearest(written, within.names(), limit=2)
    if key != written:
        message = f"{written} is given twice, in two spellings; keep one"
    elif near:
        message = f"unknown field {shown(written)}; did you mean {' or '.join(near)}?"
    else:
        message = f"unknown field {shown(written)}; there are {', '.join(within.names())}"
    findings.add((*steps, *outer, written), message, at_key=True)
    return (*outer, near[0] if near else written)


def _blame_value(detail: ErrorDetails, steps: tuple[Step, ...], findings: Findings) -> None:
    place = (*steps, *detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            pass
        case "missing":
            findings.add(place, f"{place[-1]} is missing")
        case _ if place[-1:] == ("[key]",):
            findings.add(place[:-1], detail["msg"], at_key=True)
        case _:
            findings.add(place, detail["msg"])
