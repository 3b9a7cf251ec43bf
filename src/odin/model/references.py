"""Finds what stands for a value that an earlier task produced: ``^task.outputs.name`` and ``{^task.outputs.name}``.

Nothing is looked up here. Source: job-files.md, "References".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PARENT: Final = "parent"  # the pipeline itself

_FIELDS: Final = r"(?:\.[A-Za-z_][A-Za-z0-9_-]*)"
_WHOLE: Final = re.compile(rf"\^(?:(?P<name>[a-z][-a-z0-9]*){_FIELDS}+|(?P<parent>{PARENT}))")
_WITHIN: Final = re.compile(rf"\{{\^(?P<name>[a-z][-a-z0-9]*){_FIELDS}*\}}")


@dataclass(frozen=True, slots=True)
class Reference:
    """``task`` is the task that produces the value, None for the pipeline; ``written`` as in the file."""

    task: str | None
    written: str


def references(text: str) -> Iterator[Reference]:
    """The references in one argument, variable or path, in order."""
    if "^" not in text:
        return
    whole = _WHOLE.fullmatch(text)
    for found in (whole,) if whole else _WITHIN.finditer(text):
        name = found["name"]
        yield Reference(None if name in (None, PARENT) else name, found[0])
