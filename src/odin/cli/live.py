"""A pipeline as it goes on: redrawn in place on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time

from odin.cli import pipelines
from odin.cli.moments import span
from odin.cli.screen import LOOKS, Screen
from odin.cli.text import clean
from odin.client.following import pipeline_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.cli.session import Session

    Json = dict[str, Any]

EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 7}
NARROWEST = 40  # columns; below that, lines are printed instead of a picture
SHOWN_FAILURES = 10
QUIET = ("waiting", "queued")  # no line of their own, unless there is a reason
REDRAW_S = 0.1
AROUND_TASKS = 6  # lines of the picture that are not tasks: header, message, notes, table head


class View:
    """The newest state of a pipeline and its tasks, as the stream tells it."""

    def __init__(self) -> None:
        self.pipeline: Json = {}
        self.tasks: dict[str, Json] = {}

    def take(self, event: str, data: Json) -> list[Json]:
        """Note what the stream said; the tasks whose status or attempt is new."""
        if event == "task":
            return self._changed([data.get("task", data) if isinstance(data.get("task"), dict) else data])
        pipeline = data.get("pipeline", data)
        self.pipeline |= {key: value for key, value in pipeline.items() if key != "tasks"}
        return self._changed(pipeline.get("tasks") or [])

    def _changed(self, tasks: list[Json]) -> list[Json]:
        new = [task for task in tasks if mark(task) != mark(self.tasks.get(task["id"], {}))]
        self.tasks.update((task["id"], task) for task in tasks)
        return new

    def whole(self) -> Json:
        return {**self.pipeline, "tasks": list(self.tasks.values())}


def mark(task: Json) -> tuple[object, object]:
    return task.get("status"), task.get("attempt")


class Lines:
    """One line for each change."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def changed(self, _view: View, tasks: list[Json]) -> None:
        now = time.time()
        for task in tasks:
            if task["status"] not in QUIET or task.get("reason"):
                self._screen.write(self._line(task, now) + "\n")

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


class Picture:
    """The table of tasks, drawn over itself, at most ten times a second."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._height = 0
        self._drawn_at = 0.0

    def changed(self, view: View, _tasks: list[Json]) -> None:
        if time.monotonic() - self._drawn_at >= REDRAW_S:
            self._draw(view)

    def tick(self, view: View) -> None:
        self._draw(view)

    def end(self, view: View) -> None:
        self._draw(view)

    def _draw(self, view: View) -> None:
        if not view.pipeline:
            return
        columns, height = self._screen.size()
        lines = [cut(line, columns - 1) for line in picture(self._screen, view, height - 2)]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._screen.write(up + "\x1b[J" + "".join(line + "\n" for line in lines))
        self._height = len(lines)
        self._drawn_at = time.monotonic()


def picture(screen: Screen, view: View, room: int) -> list[str]:
    """All tasks where they fit into ``room`` lines; else how many are in which state, and those that matter now."""
    now = time.time()
    if len(view.tasks) <= room - AROUND_TASKS:
        return pipelines.full(screen, view.whole(), now)[:room]
    statuses = [str(task["status"]) for task in view.tasks.values()]
    counts = [f"{statuses.count(status)} {screen.state(status)}" for status in dict.fromkeys(statuses)]
    active = [task for task in view.tasks.values() if task["status"] in ("executing", "failed")]
    few = {**view.pipeline, "tasks": active[: max(0, room - AROUND_TASKS - 1)]}
    header, *rest = pipelines.full(screen, few, now)
    return [header, "  " + ", ".join(counts), *rest][:room]


def cut(line: str, width: int) -> str:
    """The line's first ``width`` columns; the colours of ``Screen.paint`` take none."""
    if len(line) <= width:
        return line
    kept, column, index = [], 0, 0
    while index < len(line):
        end = line.find("m", index) + 1 if line[index] == "\x1b" else index + 1
        if line[index] == "\x1b" or column < width:
            kept.append(line[index:end])
            column += line[index] != "\x1b"
        index = end
    return "".join(kept)


def progress(session: Session, pipeline: str) -> int:
    """Follow to the end on standard error; the exit code of the outcome."""
    screen = Screen(plain=session.options.no_color, stream=sys.stderr)
    view = follow(session, pipeline, screen)
    conclude(screen, view)
    return EXIT_CODES.get(str(view.pipeline.get("outcome")), 1)


def watch(session: Session, pipeline: str) -> None:
    """Follow to the end on standard output; how the pipeline ended does not matter."""
    view = follow(session, pipeline, session.screen)
    if not session.screen.moves:
        conclude(session.screen, view)


def follow(session: Session, pipeline: str, screen: Screen) -> View:
    view = View()
    display = Picture(screen) if screen.moves and screen.size()[0] >= NARROWEST else Lines(screen)
    try:
        for event in pipeline_events(session.server, pipeline, notice=session.note):
            if event is None:
                display.tick(view)
            else:
                display.changed(view, view.take(*event))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(detached(pipeline)) from None
    display.end(view)
    return view


def detached(pipeline: str) -> str:
    return (
        f"detached; {pipeline} goes on\n"
        f"  odin-status {pipeline} --watch   to come back\n"
        f"  odin-cancel {pipeline}           to stop it"
    )


def conclude(screen: Screen, view: View) -> None:
    """How it ended; of a failure which tasks, why, and where to read on."""
    pipeline = view.pipeline
    took = span(pipeline.get("submitTime"), pipeline.get("completionTime"), time.time())
    screen.say(f"{clean(str(pipeline.get('id')))} {screen.state(pipelines.state(pipeline))} after {took}")
    failed = [task for task in view.tasks.values() if task["status"] == "failed"]
    if pipeline.get("errorMessage") and not failed:
        screen.say("  " + clean(str(pipeline["errorMessage"])))
    for task in failed[:SHOWN_FAILURES]:
        reason = clean(str(task.get("reason") or f"exit code {task.get('exitCode')}"))
        screen.say(f"  {screen.paint(clean(str(task['name'])), 'red')}: {reason}")
        screen.say(f"    odin-logs {clean(str(task['id']))}")
    if len(failed) > SHOWN_FAILURES:
        screen.say(f"  ... and {len(failed) - SHOWN_FAILURES} more; odin-status {clean(str(pipeline.get('id')))}")
