"""A pipeline drawn for a window of a given size: header, bar, counts, and the tasks that matter now."""

from __future__ import annotations

from odin.cli.moments import age, posix, span
from odin.cli.outline import needs, outline
from odin.cli.pipelines import given, state
from odin.cli.screen import LOOKS, Screen
from odin.cli.segments import STATUSES, segments
from odin.cli.signs import Signs
from odin.cli.text import clean
from odin.cli.widths import cut, cut_painted, fit, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from odin.cli.view import View

    Json = dict[str, Any]

NAMES = {"executing": "bold", "failed": "bold", "waiting": "dim", "skipped": "dim"}
LONGEST_BAR = 40
SHORTEST_BAR = 10
DEEPEST = 8  # steps of indentation
SHOWN_NOTES = 3
INDENT = "  "
MOST_OF_A_ROW = 0.4  # for the name
ROOM_FOR_A_LOG = 40  # columns; with less of them left, a log line gets a row of its own


class Artist:
    """Draws one pipeline, its warnings too where ``notes`` says so."""

    def __init__(self, screen: Screen, *, notes: bool = True) -> None:
        self._screen = screen
        self._with_notes = notes
        self._signs = Signs(unicode=screen.unicode)
        self.shown: list[Json] = []  # the tasks in the newest picture

    def draw(self, view: View, tails: Mapping[str, str], size: tuple[int, int], now: float) -> list[str]:
        """At most ``size[1]`` lines of at most ``size[0]`` columns; ``tails``: last lines of logs by task id."""
        columns, rows = size
        lines = [self._header(view, columns), self._bar(view, columns, now), *self._notes(view, columns)]
        if rows > len(lines) + 2:
            lines.append("")
        room = max(0, rows - len(lines))
        chosen = self._choose(view, room)
        hidden = self._hidden(view, [task for _, task in chosen], columns)
        self.shown = [task for _, task in chosen]
        lines += Rows(self._screen, self._signs, view, tails=tails, columns=columns).draw(
            chosen, room - len(hidden), now
        )
        return [cut_painted(line, columns, self._signs.ellipsis) for line in (lines + hidden)[:rows]]

    def remark(self, text: str, columns: int) -> str:
        return self._screen.paint(cut(self._safe(text), columns, self._signs.ellipsis), "yellow")

    def _header(self, view: View, columns: int) -> str:
        """The id and the state always, the other facts as far as there is room."""
        pipeline = view.pipeline
        version = str(pipeline.get("version") or "")[:8]
        name = self._safe(pipeline["id"])
        word = self._safe(state(pipeline))
        line, used = self._screen.paint(cut(name, columns, self._signs.ellipsis), "bold"), width(name)
        facts = [
            (word, LOOKS.get(word)),
            (self._safe(f"{pipeline.get('job')}{f' @ {version}' if version else ''}"), None),
            (self._safe(f"by {pipeline['user']}") if pipeline.get("user") else "", None),
            (self._safe(given(pipeline)), None),
        ]
        for fact, look in facts:
            used += 2 + width(fact)
            if used > columns:
                break
            line += f"  {self._screen.paint(fact, look)}" if fact else ""
        return line

    def _bar(self, view: View, columns: int, now: float) -> str:
        """As long a bar as the counts leave room for, the counts that matter most and the time that it took."""
        pipeline = view.pipeline
        took = span(pipeline.get("submitTime"), pipeline.get("completionTime"), now)
        if not view.over:
            took = age(pipeline.get("submitTime"), now)
        counts: list[tuple[str, str | None]] = self._counts(view)
        time: list[tuple[str, str | None]] = [(took, "bold")] if took else []
        while len(counts) > 1 and self._long(counts + time) + SHORTEST_BAR + 2 > columns:
            counts.pop()  # what waits and what was skipped stand last
        parts = counts + time
        used = self._long(parts)
        length = min(LONGEST_BAR, columns // 3, columns - used - 2)
        bar = segments(self._screen, self._signs, view.counts, length) + "  " if length >= SHORTEST_BAR else ""
        if used > columns:
            return cut(self._signs.between.join(text for text, _ in parts), columns, self._signs.ellipsis)
        return bar + self._signs.between.join(self._screen.paint(text, look) for text, look in parts)

    def _long(self, parts: list[tuple[str, str | None]]) -> int:
        return sum(width(text) for text, _ in parts) + len(self._signs.between) * (len(parts) - 1)

    def _counts(self, view: View) -> list[tuple[str, str | None]]:
        done = f"{view.counts.get('executed', 0)}/{len(view.tasks)} executed"
        others = [
            (f"{view.counts[status]} {status}", LOOKS[status])
            for status in STATUSES
            if status != "executed" and view.counts.get(status)
        ]
        return [(done, LOOKS["executed"]), *others]

    def _notes(self, view: View, columns: int) -> list[str]:
        pipeline = view.pipeline
        shown = pipeline.get("errorMessage") and not view.counts.get("failed")  # else the failed task says it
        message = [self._safe(pipeline["errorMessage"])] if shown else []
        told = (pipeline.get("warnings") or ())[:SHOWN_NOTES] if self._with_notes else ()
        notes = [f"note: {self._safe(note)}" for note in told]
        looks = ["red"] * len(message) + ["yellow"] * len(notes)
        return [
            self._screen.paint(cut(text, columns, self._signs.ellipsis), look)
            for text, look in zip(message + notes, looks, strict=True)
        ]

    def _choose(self, view: View, room: int) -> list[tuple[int, Json]]:
        tasks = list(view.tasks.values())
        return outline(tasks) if len(tasks) <= room else [(0, task) for task in pressing(tasks, max(0, room - 1))]

    def _hidden(self, view: View, shown: list[Json], columns: int) -> list[str]:
        if len(shown) == len(view.tasks):
            return []
        left = dict(view.counts)
        for task in shown:
            left[task["status"]] -= 1
        counts = ", ".join(f"{left[status]} {status}" for status in STATUSES if left.get(status))
        text = f"{self._signs.ellipsis} and {counts}"
        return [self._screen.paint(cut(text, columns, self._signs.ellipsis), "dim")]

    def _safe(self, text: object) -> str:
        return self._signs.text(clean(str(text)))


class Rows:
    """The tasks, a row for each, or two where a log line needs its own."""

    def __init__(self, screen: Screen, signs: Signs, view: View, *, tails: Mapping[str, str], columns: int) -> None:
        self._screen = screen
        self._signs = signs
        self._view = view
        self._tails = tails
        self._columns = columns
        self._statuses = {str(task["name"]): task["status"] for task in view.tasks.values()}

    def draw(self, chosen: list[tuple[int, Json]], room: int, now: float) -> list[str]:
        names = [INDENT * min(depth, DEEPEST) + self._safe(task["name"]) for depth, task in chosen]
        times = [time_of(task, now) for _, task in chosen]
        name_width = min(max(map(width, names), default=0), max(12, int(self._columns * MOST_OF_A_ROW)))
        status_width = max((len(str(task["status"])) for _, task in chosen), default=0)
        time_width = max(map(len, times), default=0)
        used = 2 + name_width + 2 + status_width + 2 + time_width + 2
        left = self._columns - used
        apart = left < ROOM_FOR_A_LOG and len(chosen) + self._tailed(chosen) <= room
        lines = []
        for (_, task), name, took in zip(chosen, names, times, strict=True):
            cells = f"{fit(str(task['status']), status_width)}  {took:>{time_width}}  "
            lines += self._task(task, fit(name, name_width, ellipsis=self._signs.ellipsis), cells, left, apart=apart)
        return lines[:room]

    def _tailed(self, chosen: list[tuple[int, Json]]) -> int:
        return sum(bool(self._tail(task)) for _, task in chosen)

    def _task(self, task: Json, name: str, cells: str, left: int, *, apart: bool) -> list[str]:
        status = str(task["status"])
        look = LOOKS.get(status)
        sign = self._screen.paint(self._signs.states.get(status, " "), look)
        detail, detail_look = self._detail(task, with_tail=not apart)
        shown = cut(detail, left, self._signs.ellipsis)
        head = self._screen.paint(name, NAMES.get(status))
        line = f"{sign} {head}  {self._screen.paint(cells.rstrip() if not shown else cells, look)}"
        line = (line + self._screen.paint(shown, detail_look)).rstrip()
        tail = self._tail(task) if apart else ""
        if not tail:
            return [line]
        indent = " " * (4 + len(name) - len(name.lstrip()))
        return [line, indent + self._screen.paint(cut(tail, self._columns - len(indent), self._signs.ellipsis), "dim")]

    def _detail(self, task: Json, *, with_tail: bool) -> tuple[str, str]:
        """What there is to say beside status and time, and how it looks."""
        attempt = f"attempt {task['attempt']}" if (task.get("attempt") or 0) > 1 else ""
        reason = self._safe(task.get("reason") or "")
        look = "dim"
        match task["status"]:
            case "executing":
                reason = (self._tail(task) if with_tail else "") or reason
            case "waiting" if not reason:
                reason = self._awaited(task)
            case "failed":
                reason, look = reason or f"exit code {task.get('exitCode')}", "red"
        return ": ".join(part for part in (attempt, reason) if part), look

    def _awaited(self, task: Json) -> str:
        waits = [name for name in needs(task) if self._statuses.get(name) != "executed"]
        return f"after {self._safe(', '.join(waits))}" if waits else ""

    def _tail(self, task: Json) -> str:
        return self._signs.text(self._tails.get(str(task["id"]), "")) if task["status"] == "executing" else ""

    def _safe(self, text: object) -> str:
        return self._signs.text(clean(str(text)))


def time_of(task: Json, now: float) -> str:
    if task["status"] == "executing":
        return age(task.get("startTime"), now)
    return span(task.get("startTime"), task.get("completionTime"), now) if task.get("completionTime") else ""


def pressing(tasks: list[Json], room: int) -> list[Json]:
    """What failed, runs, is tried again or has a reason not to run yet, in the order of the job.

    Failures, the newest first, leave half of the room to what goes on.
    """
    groups: dict[int, list[Json]] = {}
    for task in tasks:
        groups.setdefault(rank(task), []).append(task)
    failed = sorted(groups.get(0, ()), key=lambda task: posix(task.get("completionTime")) or 0.0, reverse=True)
    live = [task for number in range(1, CALM) for task in groups.get(number, ())]
    kept = failed[: max(room // 2, room - len(live))]
    chosen = {task["id"] for task in (kept + live)[:room]}
    return [task for task in tasks if task["id"] in chosen]


def rank(task: Json) -> int:
    """0 failed, 1 runs, 2 is tried again, 3 waits and says for what, ``CALM`` for the rest."""
    status = task["status"]
    if status in ("waiting", "queued"):
        return 2 if task.get("attempt") else 3 if task.get("reason") else CALM
    return RANKS.get(status, CALM)


CALM = 4
RANKS = {"failed": 0, "executing": 1}
