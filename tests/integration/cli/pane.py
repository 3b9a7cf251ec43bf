"""A command in a terminal, and what a person sees there: a pty read by a terminal emulator."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pexpect
import pyte

from integration.cli.scripted import Shell

DEADLINE_S = 60.0


class Pane:
    """``raw`` is everything that the command wrote."""

    def __init__(self, child: pexpect.spawn, columns: int, rows: int) -> None:
        self.child = child
        self.raw = ""
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.01)
        self._stream = pyte.Stream(self._screen)

    @property
    def lines(self) -> list[str]:
        """The screen, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")

    @property
    def above(self) -> list[str]:
        """What has scrolled off the top."""
        return ["".join(row[x].data for x in range(self._screen.columns)).rstrip() for row in self._screen.history.top]

    @property
    def cursor_is_hidden(self) -> bool:
        return self._screen.cursor.hidden

    def shows(self, *words: str) -> list[str]:
        """Wait until all the words are on the screen."""
        self.until(lambda: all(word in "\n".join(self.lines) for word in words))
        return self.lines

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def interrupt(self) -> None:
        self.child.sendintr()

    def ended(self) -> int | None:
        """Read to the end; the exit code."""
        self.until(lambda: not self.read())
        self.child.close()
        return self.child.exitstatus

    def colours(self) -> set[str]:
        return set(re.findall(r"\x1b\[([0-9;]*)m", self.raw)) - {"0"}

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.raw
            self.read()

    def drain(self) -> None:
        """Read what a command that is stopped wrote before."""
        length = -1
        while length != len(self.raw):
            length = len(self.raw)
            self.read()

    def read(self) -> bool:
        """False at the end."""
        try:
            text = self.child.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += text
        self._stream.feed(text)
        return True


@contextmanager
def pane(shell: Shell, command: str, *arguments: str, size: tuple[int, int] = (80, 24), **env: str) -> Iterator[Pane]:
    """``size`` is columns and rows."""
    argv = shell.argv(command, *arguments)
    columns, rows = size
    child = pexpect.spawn(
        argv[0], argv[1:], env=shell.environ(**{"TERM": "xterm-256color", **env}), encoding="utf-8",
        dimensions=(rows, columns),
    )  # fmt: skip
    child.setecho(False)
    try:
        yield Pane(child, columns, rows)
    finally:
        child.close(force=True)
