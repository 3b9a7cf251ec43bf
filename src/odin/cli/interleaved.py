"""The logs of all tasks of a pipeline at once, each line after its task's name."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from odin.cli.session import Session
from odin.cli.text import LogText, clean
from odin.client.errors import ClientError
from odin.client.following import pipeline_events
from odin.client.logs import Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Making = Callable[[str, Callable[[str], None]], Follower]
READERS = 16  # logs read at the same time; a task after that is read when another has ended


class Interleaved:
    """Reads each task from when it begins. ``follower`` makes the reader of one task, which tells its notices."""

    def __init__(self, session: Session, pipeline: str, follower: Making) -> None:
        self._session = session
        self._pipeline = pipeline
        self._follower = follower
        self._printing = threading.Lock()
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._fault: OSError | None = None
        self._told: set[str] = set()

    def notice(self, text: str) -> None:
        """Many streams lose the same connection; that is said once."""
        with self._printing:
            if text not in self._told:
                self._told.add(text)
                self._session.note(text)

    def run(self) -> None:
        """Return when the pipeline has ended and all is printed. Raises OSError when the output is gone."""
        readers = [threading.Thread(target=self._read_tasks, daemon=True) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            for task in self._as_they_begin():
                self._waiting.put(task)
            for _ in readers:
                self._waiting.put(None)
            for reader in readers:
                reader.join()
            self._check()
        except BaseException:
            self._printing.acquire()  # for good: no reader is in the middle of a write when Python ends
            raise

    def _as_they_begin(self) -> Iterator[str]:
        seen = set()
        for event in pipeline_events(self._session.server, self._pipeline, notice=self.notice):
            self._check()
            for task in [] if event is None else tasks_of(*event):
                if task.get("attempt") and task["id"] not in seen:
                    seen.add(task["id"])
                    yield str(task["id"])

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _read_tasks(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                self._read(task)
            except ClientError as error:
                self._session.note(f"{task}: {error}")
            except OSError as error:
                self._fault = error
                return

    def _read(self, task: str) -> None:
        """Whole lines only, so that those of two tasks do not mix."""
        screen = self._session.screen
        name = screen.paint(f"{clean(task.partition('--')[2]):<12} | ", "cyan")
        text = LogText(colour=screen.colour)
        rest = ""
        for piece in self._follower(task, self.notice).pieces():
            *lines, rest = (rest + text.feed(piece)).split("\n")
            self._print("".join(f"{name}{line}\n" for line in lines))
        rest += text.feed(b"", final=True)
        self._print(f"{name}{rest}\n" if rest else "")

    def _print(self, lines: str) -> None:
        with self._printing:
            self._session.screen.write(lines)


def tasks_of(event: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    return [data] if event == "task" else list(data.get("pipeline", data).get("tasks") or [])
