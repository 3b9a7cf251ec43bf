"""Logs line by line: whole lines out of pieces, which of them are wanted, and how one is printed."""

from __future__ import annotations

import codecs
import re
import time

from odin.cli.overwriting import folds, last_state, pending
from odin.cli.screen import Screen
from odin.cli.text import clean, clean_line
from odin.client.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, Protocol

    from odin.cli.session import Session

    class Marking(Protocol):
        """Gives a line with colours in it, or None for a line that is not wanted."""

        def marked(self, line: str, screen: Screen) -> str | None: ...


LONGEST = 1 << 20  # characters; a line that is longer is shown in parts
UNKNOWN = " " * 20  # in place of a moment


class Splitter:
    """A log's bytes as lines without their ends; a character or an end may be split between two pieces.

    A lone carriage return, as progress bars write it, begins a new line; or, with ``fold``, the same line anew.
    """

    def __init__(self, *, fold: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""
        self._fold = fold

    def feed(self, piece: bytes, *, final: bool = False) -> list[str]:
        text = self._rest + self._decoder.decode(piece, final)
        return self._folded(text, final) if self._fold else self._unfolded(text, final)

    def _folded(self, text: str, final: bool) -> list[str]:
        *whole, rest = text.split("\n")
        self._rest = pending(rest)
        if rest and (final or len(self._rest) > LONGEST):
            whole.append(rest)
            self._rest = ""
        return [last_state(line) for line in whole]

    def _unfolded(self, text: str, final: bool) -> list[str]:
        held = "\r" if text.endswith("\r") and not final else ""
        text = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n")
        *whole, rest = text.split("\n")
        self._rest = rest + held
        if rest and (final or len(rest) > LONGEST):
            whole.append(rest)
            self._rest = held
        return whole


class Line:
    """``text`` is as the task wrote it. ``at`` is when it arrived here, POSIX seconds; None where that is not known."""

    __slots__ = ("at", "attempt", "text")

    def __init__(self, text: str, attempt: int, at: float | None) -> None:
        self.text = text
        self.attempt = attempt
        self.at = at


def split(pieces: Iterable[bytes], attempt: int, *, fold: bool) -> Generator[list[Line]]:
    """The lines of a log that is there already."""
    splitter = Splitter(fold=fold)
    for piece in pieces:
        yield [Line(text, attempt, None) for text in splitter.feed(piece)]
    yield [Line(text, attempt, None) for text in splitter.feed(b"", final=True)]


def followed(session: Session, task: str, notice: Callable[[str], None], *, timed: bool) -> Generator[list[Line]]:
    """The lines of a task as they come, of all its attempts from the newest one on, or of the one asked for.

    ``timed`` wants to know when they arrived.
    """
    options = session.options
    wanted = {"lines": options.lines, "attempt": options.attempt, "container": options.container}
    fold = folds(session)
    splitter, number, at = Splitter(fold=fold), 0, None
    for piece in session.client.follow_pieces(task, notice=notice, timed=timed, **wanted):
        if piece.attempt != number:
            yield [Line(text, number, at) for text in splitter.feed(b"", final=True)]
            splitter, number = Splitter(fold=fold), piece.attempt
        at = piece.at
        yield [Line(text, number, at) for text in splitter.feed(piece.data)]
    yield [Line(text, number, at) for text in splitter.feed(b"", final=True)]


class Pattern:
    """``--grep``. A line matches by its text, without the escapes in it."""

    def __init__(self, expression: str) -> None:
        try:
            self._matcher = re.compile(expression)
        except re.error as error:
            raise Usage(f'"{expression}" is no regular expression: {error}') from error

    def marked(self, line: str, screen: Screen) -> str | None:
        """The line with what matches highlighted; None if nothing does."""
        text = clean_line(line, colour=False)
        if self._matcher.search(text) is None:
            return None
        return self._matcher.sub(lambda found: screen.paint(found[0], "match"), text) if screen.colour else text


class Printer:
    """Prints the lines that are wanted, as text or as JSON. ``printed`` counts them; ``heading`` comes before them."""

    def __init__(self, session: Session, pattern: Marking | None, *, heading: str = "") -> None:
        self._session = session
        self._screen = session.screen
        self._pattern = pattern
        self._heading = heading
        self.printed = 0

    def lines(self, task: str, lines: Iterable[Line], prefix: str = "") -> None:
        """Print those that match, by one write, so that the lines of two tasks never mix."""
        shown = [
            self._whole(task, line, prefix, text) for line in lines if (text := self._shown(line.text)) is not None
        ]
        if shown:
            heading = "" if self.printed else self._heading
            self._screen.write(heading + "".join(shown))
        self.printed += len(shown)

    def _whole(self, task: str, line: Line, prefix: str, text: str) -> str:
        options = self._session.options
        if options.json:
            return self._screen.one_line(record(task, line))
        moment = self._screen.paint(utc(line.at) or UNKNOWN, "dim") + " " if options.timestamps else ""
        return f"{prefix}{moment}{text}\n"

    def _shown(self, text: str) -> str | None:
        if self._pattern is not None:
            return self._pattern.marked(text, self._screen)
        return clean_line(text, colour=self._screen.colour)


def record(task: str, line: Line) -> dict[str, Any]:
    """The stable JSON object of one line. Source: docs/commands.md, "odin-logs --json"."""
    return {"task": task, "attempt": line.attempt, "line": line.text, "time": utc(line.at) or None}


def utc(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def prefix_of(screen: Screen, name: str, columns: int, place: int) -> str:
    """A task's name before each of its lines, in the colour of its place in the job."""
    from odin.cli.widths import fit

    text = fit(clean(name), columns, "…" if screen.unicode else "~")
    colours = screen.palette
    return screen.paint(f"{text} | ", colours[place % len(colours)])
