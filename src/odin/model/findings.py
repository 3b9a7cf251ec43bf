"""Collects what is wrong with a file and finds the line, column and path of each.

A place is named by steps from the root under the fields' own names (``("tasks", 2, "mounts", 0, "path")``); the
path that people see has the file's spelling (``tasks[2].mount.path``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from odin.model.document import Document
from odin.model.errors import Problem, ValidationFailed
from odin.model.fields import spellings
from odin.model.nodes import Map, Node, Place, Seq, Step, show_path

MOST: Final = 500  # problems of one file; an answer with more helps nobody


class Findings:
    """The problems of one file, each place and message once."""

    def __init__(self, document: Document, file: str) -> None:
        self._root = document.root
        self._file = file
        self._spellings = spellings()
        self._found = list(document.problems)
        self._refused = {(problem.line, problem.column) for problem in document.problems}
        self._said: set[tuple[Place, str]] = set()

    @property
    def are_full(self) -> bool:
        return len(self._found) >= MOST

    def add(self, steps: Sequence[Step], message: str, *, at_key: bool = False) -> None:
        """Note a problem, unless the YAML itself is wrong there or the same was said of the same place."""
        path, place = self._locate(steps, at_key=at_key)
        if place in self._refused or (place, message) in self._said or self.are_full:
            return
        self._said.add((place, message))
        self._found.append(Problem(message, path, self._file, *place))

    def problem(self, steps: Sequence[Step], message: str) -> Problem:
        """The message with its place, not noted."""
        path, place = self._locate(steps, at_key=False)
        return Problem(message, path, self._file, *place)

    def fail(self) -> None:
        """Raise ValidationFailed if anything was found."""
        if not self._found:
            return
        problems = sorted(self._found, key=lambda problem: (problem.line or 0, problem.column or 0))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValidationFailed(f"{problems[0]}{more}", problems=problems)

    def _locate(self, steps: Sequence[Step], *, at_key: bool) -> tuple[str, Place]:
        """Follow the steps as far as the file goes; what one-or-list and the like added has no place of its own."""
        node: Node = self._root
        place = node.place
        path: list[Step] = []
        for step in steps:
            if isinstance(node, Map) and isinstance(step, str):
                key = self._written(node, step)
                path.append(key or step)
                if key is None:  # a missing field stands where its mapping begins
                    break
                place = node.keys_at[key] if at_key else node[key].place
                node = node[key]
            elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
                path.append(step)
                node = node[step]
                place = node.place
        return show_path(path), place

    def _written(self, node: Map, field: str) -> str | None:
        """The key of ``node`` that gives ``field``."""
        if field in node:
            return field
        return next((key for key in node if self._spellings.get(key) == field), None)
