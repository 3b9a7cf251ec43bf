"""Lines drawn over the ones before, on the terminal's own screen, so that the last ones stay to be read.

Each frame is one write: the cursor is hidden, goes up, each line is written and cleared to its end, what is left below
is cleared, the cursor is shown again. So a program that dies between two frames, however it dies, leaves a terminal
that needs no mending. ``CSI ? 2026`` (synchronized output) makes terminals that know it show a frame whole; others
ignore it. Source: https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036
"""

from __future__ import annotations

import signal
import time

from odin.cli.screen import Screen
from odin.cli.text import SGR
from odin.cli.widths import width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Draw = Callable[[tuple[int, int]], list[str]]  # columns, rows -> lines

BEGIN = "\x1b[?2026h\x1b[?25l"
END = "\x1b[?25h\x1b[?2026l"
FRAME_S = 0.1  # between two frames


class Canvas:
    """Asks ``draw`` for the lines whenever it is time; writes nothing when they have not changed."""

    def __init__(self, screen: Screen, draw: Draw) -> None:
        self._screen = screen
        self._draw = draw
        self._lines: list[str] = []
        self._size = screen.size()
        self._drawn_at = 0.0
        self._busy = False

    def __enter__(self) -> Canvas:
        self._before = {number: signal.signal(number, self._disturbed) for number in (signal.SIGWINCH, signal.SIGCONT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._lines:  # once more, in case Ctrl-C came in the middle of a write
            self._screen.write(END)

    def refresh(self, *, now: bool = False) -> None:
        """Draw, unless the last frame is younger than ``FRAME_S`` and ``now`` does not insist."""
        if not now and time.monotonic() - self._drawn_at < FRAME_S:
            return
        self._busy = True
        try:
            self._frame()
        finally:
            self._busy = False

    def _frame(self) -> None:
        size = self._screen.size()
        lines = self._draw((size[0] - 1, size[1] - 1))
        moved = size != self._size
        self._drawn_at = time.monotonic()
        if lines == self._lines and not moved:
            return
        # Terminals that break lines anew have moved the old ones; how far, no two of them agree on.
        wrapped = any(width(SGR.sub("", line)) > size[0] for line in self._lines)
        up = "\x1b[H\x1b[2J" if wrapped else f"\x1b[{len(self._lines)}F" if self._lines else "\r"
        self._screen.write(BEGIN + up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J" + END)
        self._lines = lines
        self._size = size

    def _disturbed(self, number: int, _frame: FrameType | None) -> None:
        """The window has another size, or the shell wrote something while the command was stopped."""
        if number == signal.SIGCONT:
            self._lines = []
        if not self._busy:
            self.refresh(now=True)
