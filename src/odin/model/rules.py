"""What no single field can tell about a job: its graph, references, variables, sizes, and what is not there yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from odin.model import variables
from odin.model.errors import Problem
from odin.model.fields import TaskFields
from odin.model.findings import MOST, Findings
from odin.model.graph import faults
from odin.model.ids import LONGEST_ATTEMPT_SUFFIX, LONGEST_OBJECT, SUFFIX_LENGTH
from odin.model.names import shown
from odin.model.nodes import Step
from odin.model.references import Reference, references
from odin.model.specs import texts, unsupported

MOST_WARNINGS: Final = 100
LONGEST_DERIVING: Final = 40  # for kinds whose pods are called after the object and their place in it
LONGEST_OF: Final[Mapping[str, int]] = {"Pod": LONGEST_OBJECT, "Job": LONGEST_OBJECT}
_AROUND_NAMES: Final = len("-") + SUFFIX_LENGTH + len("--") + LONGEST_ATTEMPT_SUFFIX


@dataclass(frozen=True, slots=True)
class Entry:
    """A task as far as it could be read; ``name`` as the file says it, even where it is no good name.

    ``depends`` holds what is written and then what references add; ``places`` has the place of each.
    """

    index: int
    name: str
    fields: TaskFields
    depends: tuple[str, ...]
    places: tuple[tuple[Step, ...], ...]
    references: tuple[tuple[tuple[Step, ...], Reference], ...]

    @classmethod
    def of(cls, index: int, name: str, fields: TaskFields) -> Entry:
        found = tuple((place, reference) for place, text in texts(fields) for reference in references(text))
        added = tuple((place, reference.task) for place, reference in found if reference.task)
        written: tuple[tuple[Step, ...], ...] = tuple(("depends", k) for k in range(len(fields.depends)))
        return cls(
            index,
            name,
            fields,
            (*fields.depends, *(task for _, task in added)),
            (*written, *(place for place, _ in added)),
            found,
        )

    def at(self, *place: Step) -> tuple[Step, ...]:
        return ("tasks", self.index, *place)


def check_graph(entries: Sequence[Entry], findings: Findings) -> None:
    for fault in faults(entries):
        entry = entries[fault.task]
        place = ("name",) if fault.depend is None else entry.places[fault.depend]
        findings.add(entry.at(*place), fault.message)


def check_texts(entries: Sequence[Entry], findings: Findings) -> None:
    """Variables that are nearly right, and what is too large for the kernel."""
    for entry in entries:
        _check_size(entry, findings)
        for place, stray in _strays(entry):
            if findings.are_full:
                return
            if stray.off:
                findings.add(entry.at(*place), str(stray))


def _strays(entry: Entry) -> Iterator[tuple[tuple[Step, ...], variables.Stray]]:
    """Each strange name once for each task."""
    seen: set[str] = set()
    for place, text in texts(entry.fields):
        for stray in variables.strays(text, entry.fields.env):
            if stray.name not in seen:
                seen.add(stray.name)
                yield place, stray


def _check_size(entry: Entry, findings: Findings) -> None:
    fields = entry.fields
    found = variables.oversize((*fields.command, *fields.args), fields.env)
    if found is None:
        return
    place: tuple[Step, ...] = ("env", found.variable) if found.variable else ()
    if found.argument is not None:
        behind = found.argument - len(fields.command)
        place = ("command", found.argument) if behind < 0 else ("args", behind)
    findings.add(entry.at(*place), found.message)


def longest_object(kind: str) -> int:
    """The most characters that the name of an object of this kind may have."""
    return LONGEST_OF.get(kind, LONGEST_DERIVING)


def check_lengths(name: str, entries: Sequence[Entry], findings: Findings) -> None:
    """The longest id, that of the last attempt, must be a name that Kubernetes takes."""
    if not name:
        return
    if len(name) + _AROUND_NAMES >= LONGEST_OBJECT:
        most = LONGEST_OBJECT - _AROUND_NAMES - 1
        findings.add(("name",), f"the name {shown(name)} has {len(name)} characters; at most {most} leave room for ids")
        return
    for entry in entries:
        if message := _too_long(name, entry.name, entry.fields.resource_type):
            findings.add(entry.at("name"), message)


def _too_long(job: str, task: str, kind: str) -> str | None:
    """What is wrong with the names of a job and its task together, with the longest that each may have."""
    most = longest_object(kind)
    over = len(job) + len(task) + _AROUND_NAMES - most
    if over <= 0:
        return None
    ways = [
        f"{whose} to {length - over} characters"
        for whose, length in (("its name", len(task)), ("the job's", len(job)))
        if length > over
    ]
    remedy = " or ".join(ways) or f"both names, by {over} characters together"
    return (
        f"the ids of task {shown(task)} have up to {over + most} characters and {most} fit for a {kind}; "
        f"shorten {remedy}"
    )


def not_yet(entries: Sequence[Entry], findings: Findings) -> Iterator[Problem]:
    """What Odin cannot do yet, with its place; no more than a file may have problems."""
    return islice(_not_yet(entries, findings), MOST)


def _not_yet(entries: Sequence[Entry], findings: Findings) -> Iterator[Problem]:
    for entry in entries:
        for field, feature in unsupported(entry.fields):
            yield findings.problem(entry.at(field), f"Odin cannot do {feature} yet; leave it out")
        for place, reference in entry.references:
            yield findings.problem(
                entry.at(*place), f"Odin cannot do references ({reference.written}) yet; leave it out"
            )


def warnings(entries: Sequence[Entry], findings: Findings) -> Iterator[Problem]:
    """What may be a mistake, at most ``MOST_WARNINGS`` places."""
    return islice(_warnings(entries, findings), MOST_WARNINGS)


def _warnings(entries: Sequence[Entry], findings: Findings) -> Iterator[Problem]:
    for entry in entries:
        program = entry.fields.command[0]
        if " " in program.strip():
            said = f"{shown(program)} is taken for the name of one program; put its arguments into args"
            yield findings.problem(entry.at("command", 0), said)
        for place, stray in _strays(entry):
            yield findings.problem(entry.at(*place), str(stray))
