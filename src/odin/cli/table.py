"""Rows as aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from odin.cli.text import clean

GAP = "  "


def render(head: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint, *, right: str = "") -> list[str]:
    """The table's lines. Cells are made safe here; ``paint(name of column, cell, padded)`` may colour one.

    ``right`` names columns, separated by blanks, whose numbers are aligned to the right.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(head, *cells, strict=True)]
    aligned = [column in right.split() for column in head]
    lines = [paint("", "", line(head, widths, aligned))]
    for row in cells:
        padded = pad(row, widths, aligned)
        painted = [paint(name, cell, text) for name, cell, text in zip(head, row, padded, strict=True)]
        lines.append(GAP.join(painted).rstrip())
    return lines


def pad(row: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> list[str]:
    padded = []
    for cell, width, to_right in zip(row, widths, aligned, strict=True):
        blanks = " " * (width - columns(cell))
        padded.append(blanks + cell if to_right else cell + blanks)
    return padded


def columns(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    from odin.cli.widths import width

    return width(cell)


def line(row: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> str:
    return GAP.join(pad(row, widths, aligned)).rstrip()


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Paint = Callable[[str, str, str], str]
