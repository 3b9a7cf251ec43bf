"""A pipeline as it goes on: a picture drawn over itself on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time

from odin.cli.conclusion import conclude
from odin.cli.moments import span
from odin.cli.screen import LOOKS, Screen
from odin.cli.text import clean
from odin.cli.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from odin.cli.session import Session

    Json = dict[str, Any]

EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 7}
NARROWEST = 40  # columns; below that, lines are printed instead of a picture
QUIET = ("waiting", "queued")  # no line of their own, unless there is something to say
TICK_S = 0.25  # how late a picture shows a new last line of a log


class Lines:
    """One line for each change."""

    tick_s = 5.0

    def __init__(self, session: Session, screen: Screen) -> None:
        self._screen = screen
        self.notice: Callable[[str], None] = session.note

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Everything is printed already."""

    def changed(self, _view: View, tasks: list[Json]) -> None:
        now = time.time()
        for task in tasks:
            if not task.get("keptFrom") and (task["status"] not in QUIET or self._is_told(task)):
                self._screen.write(self._line(task, now) + "\n")

    def _is_told(self, task: Json) -> bool:
        """Why it has to wait, where that is not for its parents alone."""
        return bool(task.get("reason")) and (task["status"] == "queued" or bool(task.get("attempt")))

    def _line(self, task: Json, now: float) -> str:
        status = str(task["status"])
        facts = [
            time.strftime("%H:%M:%S", time.localtime(now)),
            f"{clean(str(task['name'])):<16}",
            self._screen.paint(f"{clean(status):<10}", LOOKS.get(status)),
            span(task.get("startTime"), task.get("completionTime"), now) if status != "executing" else "",
            f"attempt {task['attempt']}" if (task.get("attempt") or 0) > 1 else "",
            clean(str(task.get("reason") or "")),
        ]
        return "  ".join(fact for fact in facts if fact).rstrip()

    def tick(self, _view: View) -> None:
        """Nothing moves between changes."""

    def end(self, _view: View) -> None:
        """Everything is printed already."""


class Drawn:
    """The picture; what the logs say last comes from another thread."""

    tick_s = TICK_S

    def __init__(self, session: Session, screen: Screen, *, notes: bool) -> None:
        from odin.cli.canvas import Canvas
        from odin.cli.picture import Artist
        from odin.cli.tails import Tails

        self._screen = screen
        self._artist = Artist(screen, notes=notes)
        self._tails = Tails(session.quiet())
        self._canvas = Canvas(screen, self._draw)
        self._view = View()
        self._notice = ""
        self._second = 0

    def __enter__(self) -> Drawn:
        self._canvas.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._tails.want(())
        self._canvas.__exit__()

    def notice(self, text: str) -> None:
        """Below the picture, until the stream goes on."""
        self._notice = text
        self._canvas.refresh(now=True)

    def changed(self, view: View, _tasks: list[Json]) -> None:
        self._view = view
        self._notice = ""
        self._canvas.refresh()

    def tick(self, view: View) -> None:
        self._view = view
        self._canvas.refresh()

    def end(self, view: View) -> None:
        self._view = view
        self._canvas.refresh(now=True)
        self._screen.say()

    def _draw(self, size: tuple[int, int]) -> list[str]:
        if not self._view.pipeline:
            return []
        columns, rows = size
        room = rows - 1 if self._notice else rows
        lines = self._artist.draw(self._view, self._tails.lines, (columns, room), time.time())
        self._tails.want(str(task["id"]) for task in self._artist.shown if task["status"] == "executing")
        return [*lines, self._artist.remark(self._notice, columns)] if self._notice else lines


def progress(session: Session, pipeline: str) -> int:
    """Follow to the end on standard error; the exit code of the outcome. The launch has told the notes already."""
    screen = Screen(plain=session.options.no_color, stream=sys.stderr)
    view = follow(session, pipeline, screen, notes=False)
    return EXIT_CODES.get(str(view.pipeline.get("outcome")), 1)


def watch(session: Session, pipeline: str) -> None:
    """Follow to the end on standard output; how the pipeline ended does not matter."""
    if session.options.json:
        tell(session, pipeline)
    else:
        follow(session, pipeline, session.screen)


def tell(session: Session, pipeline: str) -> None:
    """Each change as a JSON object on a line of its own."""
    try:
        for change in session.client.follow(pipeline, notice=session.note):
            name = "task" if change.event == "task" else "pipeline"
            session.screen.line({"event": change.event, name: change.data})
    except KeyboardInterrupt:
        raise KeyboardInterrupt(detached(session, pipeline)) from None


def follow(session: Session, pipeline: str, screen: Screen, *, notes: bool = True) -> View:
    view = View()
    picture = screen.moves and screen.size()[0] >= NARROWEST
    display = Drawn(session, screen, notes=notes) if picture else Lines(session, screen)
    try:
        with display:
            for change in session.client.follow(pipeline, notice=display.notice, tick_s=display.tick_s):
                if change.event == "tick":
                    display.tick(view)
                else:
                    display.changed(view, view.take(change.event, change.data))
            display.end(view)
        conclude(session, screen, view)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(detached(session, pipeline)) from None
    return view


def detached(session: Session, pipeline: str) -> str:
    back, stop = session.typed("odin-status", pipeline, "--watch"), session.typed("odin-cancel", pipeline)
    width = max(len(back), len(stop))
    return f"detached; {pipeline} goes on\n  {back:{width}}   to come back\n  {stop:{width}}   to stop it"
