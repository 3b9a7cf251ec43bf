"""The last line of the log of each task that runs and is on the screen, asked for in the background.

Light for the server: at most ``AT_ONCE`` requests a second for all of them, fewer where a log does not grow, none for
what is not shown. A log is read from its end; one whose last line is long, as progress bars make them, only from where
it was read before.
"""

from __future__ import annotations

import re
import threading
import time

from odin.cli.text import clean
from odin.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from odin.client.client import Client

AT_ONCE = 4  # requests a second
SOONEST_S = 1.0  # before the same task is asked again
LATEST_S = 8.0  # where nothing came
LONG = 16 << 10  # characters
KEPT = 400  # characters of a line, more than a window shows
# Cursor movements, titles and the like; a picture of one line has no use for them, nor for their text.
CONTROLS = re.compile(r"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


class Tail:
    """What is known of one task's log."""

    def __init__(self) -> None:
        self.size = 0
        self.long = False
        self.pause_s = SOONEST_S
        self.due_at = 0.0


class Tails:
    """``lines`` maps a task's id to its last line; another dictionary after each change."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tails: dict[str, Tail] = {}
        self._wanted: tuple[str, ...] = ()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None
        self.lines: dict[str, str] = {}

    def want(self, tasks: Iterable[str]) -> None:
        """Only these, from now on."""
        wanted = tuple(tasks)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._asked.set()
        if wanted and self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._asked.clear()
            task = self._next()
            if task is None:
                self._asked.wait()
                continue
            tail = self._tails.setdefault(task, Tail())
            wait_s = tail.due_at - time.monotonic()
            if wait_s > 0:
                self._asked.wait(wait_s)
                continue
            try:
                self._read(task, tail)
            except ClientError:  # a server that restarts, a log that is gone: the picture does without
                tail.pause_s = LATEST_S
            tail.due_at = time.monotonic() + tail.pause_s
            time.sleep(1 / AT_ONCE)

    def _next(self) -> str | None:
        return min(
            self._wanted, key=lambda task: self._tails[task].due_at if task in self._tails else 0.0, default=None
        )

    def _read(self, task: str, tail: Tail) -> None:
        part = self._client.log_part(task, offset=tail.size) if tail.long else self._client.log_part(task, lines=3)
        text, size = part.text, int(part.size or 0)
        grown = size != tail.size
        tail.size, tail.long = size, len(text) > LONG or (tail.long and grown)
        tail.pause_s = SOONEST_S if grown else min(LATEST_S, tail.pause_s * 2)
        line = last_line(text)
        if line and grown:
            self.lines = {**self.lines, task: line}


def last_line(text: str) -> str:
    """The last line with something on it, as one clean line without colours; a progress bar's newest state."""
    for line in reversed(re.split(r"[\r\n]+", text[-LONG:])):
        shown = clean(CONTROLS.sub("", line).replace("\t", " ")).strip()
        if shown:
            return shown[:KEPT]
    return ""
