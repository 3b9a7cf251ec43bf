"""What was measured, judged against its target: as a table for people and as JSON for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HEAD = ("id", "figure", "floor", "Odin", "ratio", "first", "goal", "met")
LEFT = ("id", "figure")


@dataclass(frozen=True, slots=True)
class Target:
    """``first`` must hold now, ``goal`` is where it shall go; both are limits, from above unless ``at_least``."""

    first: float
    goal: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """``goal``, ``first`` or ``no``."""
        return next((word for word in ("goal", "first") if self._holds(value, getattr(self, word))), "no")

    def shown(self, limit: float) -> str:
        if math.isinf(limit):
            return "bounded"
        return f"{'≥' if self.at_least else '≤'} {number(limit)}"

    def _holds(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all rounds, and the floor's in the same rounds; without a floor the figure itself is judged.

    ``percentile`` is judged where there is no floor: 50 is the median.
    """

    id: str
    figure: str
    unit: str
    odin: Sequence[float]
    floor: Sequence[float] = ()
    target: Target | None = None
    percentile: int = 50

    @property
    def ratios(self) -> list[float]:
        """Round by round, because a shared machine is slow in some and fast in others."""
        return [mine / other for mine, other in zip(self.odin, self.floor, strict=True)] if self.floor else []

    @property
    def value(self) -> float:
        """What the target speaks of."""
        return statistics.median(self.ratios) if self.floor else percentile(self.odin, self.percentile)

    @property
    def verdict(self) -> str:
        return self.target.verdict(self.value) if self.target else ""

    def cells(self) -> tuple[str, ...]:
        limits = (
            [self.target.shown(limit) for limit in (self.target.first, self.target.goal)] if self.target else ["", ""]
        )
        shown = {"goal": "goal", "first": "yes", "no": "NO", "": ""}[self.verdict]
        return (
            self.id,
            self.figure,
            with_unit(statistics.median(self.floor), self.unit) if self.floor else "",
            with_unit(percentile(self.odin, self.percentile), self.unit),
            number(self.value) if self.floor else "",
            *limits,
            shown,
        )

    def facts(self) -> dict[str, Any]:
        target = self.target
        return {
            "id": self.id,
            "figure": self.figure,
            "unit": self.unit,
            "odin": spread(self.odin),
            "floor": spread(self.floor) if self.floor else None,
            "ratio": spread(self.ratios) if self.floor else None,
            "judged": self.value,
            "first": target.first if target else None,
            "goal": target.goal if target else None,
            "verdict": self.verdict or None,
        }


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest value at or above which ``100 - percent`` % lie; the middle of two for an even median."""
    if percent == 50:
        return statistics.median(values)
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """How the rounds differ; ``p99`` only where there are enough of them to speak of it."""
    facts = {"min": min(values), "median": statistics.median(values), "max": max(values), "rounds": len(values)}
    return facts | ({"p99": percentile(values, 99)} if len(values) >= 100 else {})


def number(value: float) -> str:
    """Three digits that count."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def render(rows: Sequence[Row]) -> str:
    """The table; figures to the right, words to the left."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    rule = ["-" * width for width in widths]
    return "\n".join("  ".join(_padded(line, widths)).rstrip() for line in (lines[0], rule, *lines[1:]))


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    pairs = zip(HEAD, cells, widths, strict=True)
    return [cell.ljust(width) if head in LEFT else cell.rjust(width) for head, cell, width in pairs]


def missed(rows: Sequence[Row]) -> list[str]:
    """The figures that are short of their first target."""
    return [f"{row.id} {row.figure}" for row in rows if row.verdict == "no"]
