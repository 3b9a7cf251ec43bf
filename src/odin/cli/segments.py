"""The bar: how many tasks are in which status, in proportion."""

from __future__ import annotations

from odin.cli.screen import LOOKS, Screen
from odin.cli.signs import Signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# The order in the bar and in its counts.
STATUSES = ("executed", "failed", "terminated", "executing", "queued", "waiting", "skipped")
EMPTY = ("queued", "waiting", "skipped")  # their part of the bar is a thin line


def segments(screen: Screen, signs: Signs, counts: Mapping[str, int], length: int) -> str:
    shares = spread([counts.get(status, 0) for status in STATUSES], length)
    bar = "".join(
        screen.paint((signs.empty if status in EMPTY else signs.full) * share, LOOKS[status])
        for status, share in zip(STATUSES, shares, strict=True)
    )
    return bar or " " * length


def spread(counts: list[int], length: int) -> list[int]:
    """``length`` columns, at least as many as counts, shared out in proportion; what is not zero gets one."""
    whole = sum(counts)
    if not whole:
        return [0] * len(counts)
    shares = [max(1, count * length // whole) if count else 0 for count in counts]
    while sum(shares) != length:
        step = 1 if sum(shares) < length else -1
        errors = [(count * length / whole - share) * step for count, share in zip(counts, shares, strict=True)]
        usable = [place for place, share in enumerate(shares) if counts[place] and (step > 0 or share > 1)]
        shares[max(usable, key=lambda place: errors[place])] += step
    return shares
