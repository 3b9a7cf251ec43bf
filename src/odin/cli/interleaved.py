"""The logs of all tasks of a pipeline at once, each line after its task's name."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from odin.cli import failures
from odin.cli.loglines import Pattern, Printer, followed, prefix_of
from odin.cli.session import Session
from odin.cli.text import clean
from odin.cli.widths import width
from odin.client.errors import ClientError
from odin.client.pipeline import FINAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

READERS = 64  # logs read at the same time; a task after that is read when another has ended
WIDEST = 24  # columns of a task's name; a longer one is cut


class Interleaved:
    """Reads each task from when it begins. ``leave_out`` says which tasks are not wanted."""

    def __init__(
        self, session: Session, pipeline: str, pattern: Pattern | None, *, leave_out: Callable[[Json], bool]
    ) -> None:
        self._session = session
        self._pipeline = pipeline
        self._leave_out = leave_out
        self._printer = Printer(session, pattern)
        self._printing = threading.Lock()
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers: list[threading.Thread] = []
        self._prefixes: dict[str, str] = {}
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
        try:
            for task, is_over in self._as_they_begin():
                if is_over and not self._readers:
                    self._read_one(task)  # what was there before comes in order, task by task
                    continue
                self._waiting.put(task)
                self._one_reader_more()
            for _ in self._readers:
                self._waiting.put(None)
            for reader in self._readers:
                reader.join()
            self._check()
        except BaseException:
            self._printing.acquire()  # for good: no reader is in the middle of a write when Python ends
            raise

    def _one_reader_more(self) -> None:
        if len(self._readers) < READERS:
            self._readers.append(threading.Thread(target=self._read_tasks, daemon=True))
            self._readers[-1].start()

    def _as_they_begin(self) -> Iterator[tuple[str, bool]]:
        """Ids, and whether they were over when first seen; those first, of those that begin together."""
        seen = set()
        least = self._session.options.attempt or 1
        for change in self._session.client.follow(self._pipeline, notice=self.notice, tick_s=0.5):
            self._check()
            if not self._prefixes:
                self._prefixes = prefixes(self._session, tasks_of(change.event, change.data))
            for task in sorted(tasks_of(change.event, change.data), key=turn):
                if int(task.get("attempt") or 0) >= least and task["id"] not in seen:
                    seen.add(task["id"])
                    if not self._leave_out(task):
                        yield str(task["id"]), task["status"] in FINAL

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _read_tasks(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                self._read_one(task)
            except OSError as error:
                self._fault = error
                return

    def _read_one(self, task: str) -> None:
        try:
            self._read(task)
        except ClientError as error:
            self._session.note(f"{task}: {'; '.join(failures.lines(error))}")

    def _read(self, task: str) -> None:
        options = self._session.options
        timed = options.json or options.timestamps
        for lines in followed(self._session, task, self.notice, timed=timed):
            with self._printing:
                self._printer.lines(task, lines, self._prefixes.get(task, ""))


def prefixes(session: Session, tasks: list[Json]) -> dict[str, str]:
    """All of one width, each in the colour of its place in the job."""
    names = {str(task["id"]): clean(str(task["name"])) for task in tasks}
    columns = min(WIDEST, max(map(width, names.values()), default=0))
    return {task: prefix_of(session.screen, name, columns, place) for place, (task, name) in enumerate(names.items())}


def turn(task: Json) -> tuple[bool, str]:
    """Tasks that are over in the order of their start, then the others."""
    return task["status"] not in FINAL, str(task.get("startTime") or "")


def tasks_of(event: str, data: Json) -> list[Json]:
    return [data] if event == "task" else list(data.get("tasks") or [])
