"""Standard output: colours where they are wanted, JSON, tables, the terminal's size."""

from __future__ import annotations

import os
import sys

from odin.cli.table import render
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}

# A status or an outcome, and how it looks.
LOOKS = {
    "waiting": "dim",
    "queued": "yellow",
    "executing": "cyan",
    "executed": "green",
    "failed": "red",
    "terminated": "magenta",
    "skipped": "dim",
    "BUILDING": "yellow",
    "RUNNING": "cyan",
    "DONE": "green",
    "TERMINATED": "magenta",
    "succeeded": "green",
    "cancelled": "magenta",
    "running": "cyan",
}
STATES = ("status", "outcome", "state")


class Screen:
    """Where a command prints. ``stream`` decides about colours; results go to standard output."""

    def __init__(self, *, plain: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        self.colour = self.terminal and not (plain or dumb or os.environ.get("NO_COLOR"))
        self.moves = self.terminal and not dumb  # the cursor can go up again

    def say(self, text: str = "") -> None:
        self.stream.write(text + "\n")

    def write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def paint(self, text: str, look: str | None) -> str:
        return f"\x1b[{CODES[look]}m{text}\x1b[0m" if look and self.colour else text

    def state(self, word: str) -> str:
        return self.paint(clean(word), LOOKS.get(word))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> list[str]:
        """The lines of a table; columns named as in STATES are coloured by their word."""
        return render(head, rows, self._cell, right=right)

    def _cell(self, column: str, cell: str, padded: str) -> str:
        if not column:
            return self.paint(padded, "bold")
        return self.paint(padded, LOOKS.get(cell)) if column in STATES else padded

    def json(self, answer: Any) -> None:
        """ASCII only, so that no escape of a server's text reaches the terminal."""
        import json

        self.say(json.dumps(answer, indent=2).replace("\x7f", "\\u007f"))

    def size(self) -> tuple[int, int]:
        """Columns and lines, of a terminal that may not say."""
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24
