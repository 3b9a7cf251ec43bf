"""The rows of the scoreboard: a figure, what was wanted, and whether it is met. Source: reliability.md, 6.

A measure is a function that takes figures with real parts and gives rows. Each is a module of its own in this folder;
``__main__`` holds the list. It prints what it does as it goes on; the rows are printed together at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """How much is to be measured. ``long`` asks for the numbers of a release instead of those of the gate."""

    long: bool = False
    soak_min: float = 0.0
    seed: str = "1"


@dataclass(frozen=True)
class Row:
    """One line. ``met`` is None where it was not measured here; ``figure`` says why then."""

    name: str
    what: str
    figure: str
    target: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "NOT MET", None: "not measured here"}[self.met]


Measure = Callable[[Asked], Iterable[Row]]


def unmeasured(name: str, what: str, target: str, why: str) -> Row:
    return Row(name, what, why, target, None)


def number(name: str) -> int:
    return int(name.removeprefix("R"))


def show(rows: Sequence[Row]) -> None:
    """As a table, in the order of the rows' numbers."""
    lines = [("", "what", "figure", "wanted", "")]
    lines += [
        (one.name, one.what, one.figure, one.target, one.verdict)
        for one in sorted(rows, key=lambda row: number(row.name))
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(5)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
