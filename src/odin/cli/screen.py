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

CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "match": "1;31",
}
# Where there are 256 colours: of middling brightness, so that each stands out from white and from black by 3.3 to 1 or
# more. The first sixteen are the reader's theme's, whose yellow and cyan are often unreadable on white.
FIXED_CODES = {
    **CODES,
    "dim": "38;5;243",
    "red": "38;5;167",
    "green": "38;5;28",
    "yellow": "38;5;136",
    "blue": "38;5;68",
    "magenta": "38;5;133",
    "cyan": "38;5;31",
    "violet": "38;5;99",
    "teal": "38;5;66",
    "tan": "38;5;137",
    "pink": "38;5;168",
    "match": "1;38;5;167",
}
PALETTE = ("cyan", "magenta", "green", "yellow", "blue")  # for names; red is for what failed
FIXED_PALETTE = (*PALETTE, "violet", "tan", "teal", "pink")

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
        self.unicode = speaks_unicode(self.stream)
        many = has_many_colours()
        self.codes = FIXED_CODES if many else CODES
        self.palette = FIXED_PALETTE if many else PALETTE

    def say(self, text: str = "") -> None:
        self.stream.write(text + "\n")

    def write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def paint(self, text: str, look: str | None) -> str:
        return f"\x1b[{self.codes[look]}m{text}\x1b[0m" if look and self.colour and text else text

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

    def line(self, answer: Any) -> None:
        """One JSON object on one line, at once."""
        self.write(self.one_line(answer))

    def one_line(self, answer: Any) -> str:
        import json

        return json.dumps(answer).replace("\x7f", "\\u007f") + "\n"

    def size(self) -> tuple[int, int]:
        """Columns and lines, of a terminal that may not say."""
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24


def has_many_colours() -> bool:
    """Whatever calls itself an xterm does; what it emulates has had them since 1999."""
    term = os.environ.get("TERM", "")
    return term.startswith("xterm") or "256color" in term or bool(os.environ.get("COLORTERM"))


def speaks_unicode(stream: TextIO) -> bool:
    """Not where the reader asks for the C locale; Python itself writes UTF-8 even then (PEP 538, PEP 540)."""
    named = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return encoding == "utf8" and named not in ("C", "POSIX")
