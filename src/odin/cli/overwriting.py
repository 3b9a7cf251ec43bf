"""Progress bars: a line that is written over and over, each state after a carriage return. The last one counts.

Where people look, and in the lines of many tasks, only that one is shown. What a program may read stays as it is: JSON,
``--raw``, and the log of a single task that does not go to a terminal.
"""

from __future__ import annotations

import codecs
import re

from odin.cli.text import SGR, UNFINISHED, clean_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from odin.cli.screen import Screen
    from odin.cli.session import Session

ERASE = re.compile(r"\x1b\[[0-2]?K")  # to the end of the line and the like, as bars write before or after a state
LONGEST = 1 << 16  # characters of a line that is drawn anew when it grows


def folds(session: Session) -> bool:
    """Whether this run of ``odin-logs`` shows last states only."""
    return not session.options.json and (session.screen.terminal or "--" not in session.options.id)


def last_state(line: str) -> str:
    """What a terminal would show at last of a line without its end."""
    return ERASE.sub("", line.rstrip("\r").rpartition("\r")[2]) if "\r" in line else line


def pending(line: str) -> str:
    """Of a line that goes on, what is needed for its last state."""
    body = line.rstrip("\r")
    return body.rpartition("\r")[2] + ("\r" if len(body) < len(line) else "")


class Overwriting:
    """A followed log on a terminal: each state of a line is drawn over the one before, also where lines wrap."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._line = ""
        self._drawn = ""

    def feed(self, piece: bytes, *, final: bool = False) -> str:
        """What to write to the terminal."""
        *whole, self._line = (self._line + self._decoder.decode(piece, final)).split("\n")
        text = "".join(self._drawn_as(line) + self._ended() for line in whole)
        self._line = pending(self._line)
        unfinished = None if final else UNFINISHED.search(self._line.rstrip("\r"))
        text += self._drawn_as(self._line[: unfinished.start()] if unfinished else self._line)
        if len(self._line) > LONGEST:
            self._line = self._drawn = ""
        return text

    def _drawn_as(self, line: str) -> str:
        shown = clean_line(last_state(line), colour=self._screen.colour)
        before, self._drawn = self._drawn, shown
        return shown[len(before) :] if shown.startswith(before) else self._wiped(before) + shown

    def _ended(self) -> str:
        self._drawn = ""
        return "\n"

    def _wiped(self, drawn: str) -> str:
        from odin.cli.widths import wraps

        columns, rows = self._screen.size()
        above = min(rows - 1, wraps(SGR.sub("", drawn).expandtabs(), columns))
        return (f"\x1b[{above}A" if above else "") + "\r\x1b[J"
