"""The recent pipelines as they go on: a table drawn over itself on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time

from odin.cli import pipelines
from odin.cli.live import NARROWEST, TICK_S
from odin.cli.moments import age, local, span
from odin.cli.pipelines import state
from odin.cli.screen import LOOKS, Screen
from odin.cli.segments import segments
from odin.cli.signs import Signs
from odin.cli.text import clean
from odin.cli.widths import cut, cut_painted, fit, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.cli.session import Session

    Json = dict[str, Any]

KEPT = 100  # pipelines that are over
BAR = 12
LEAST = 16  # columns for a message
SIGNS = {"succeeded": "executed", "failed": "failed", "cancelled": "terminated", "running": "executing"}


class Recent:
    """The pipelines that the stream of all told of."""

    def __init__(self) -> None:
        self.pipelines: dict[str, Json] = {}
        self.ready = False  # everything that was there at the beginning is in

    def take(self, event: str, data: Json) -> Json | None:
        """Note what the stream said; the pipeline if its state is new."""
        if event == "ready":
            self.ready = True
        if event == "removed":
            self.pipelines.pop(str(data["id"]), None)
        if event != "pipeline":
            return None
        before = self.pipelines.get(str(data["id"]), {})
        self.pipelines[str(data["id"])] = data
        self._forget()
        return data if state(before) != state(data) else None

    def _forget(self) -> None:
        if len(self.pipelines) > 2 * KEPT:
            over = [one for one in self.newest() if one.get("outcome")]
            for one in over[KEPT:]:
                del self.pipelines[one["id"]]

    def newest(self) -> list[Json]:
        """Those that go on first."""
        found = sorted(self.pipelines.values(), key=lambda one: str(one.get("submitTime") or ""), reverse=True)
        return sorted(found, key=lambda one: bool(one.get("outcome")))


class Changes:
    """The table once, then a line for each new state."""

    def __init__(self, session: Session, columns: tuple[str, ...]) -> None:
        self._session = session
        self._columns = columns
        self._told = False

    def changed(self, recent: Recent, pipeline: Json | None) -> None:
        now = time.time()
        if recent.ready and not self._told:
            self._told = True
            shown = recent.newest()[: self._session.options.limit]
            for line in pipelines.listed(self._session.screen, shown, self._columns, now):
                self._session.screen.write(line + "\n")
        elif self._told and pipeline is not None:
            word = state(pipeline)
            took = span(pipeline.get("submitTime"), pipeline.get("completionTime"), now) if pipeline["outcome"] else ""
            clock = time.strftime("%H:%M:%S", time.localtime(now))
            look = self._session.screen.paint(f"{clean(word):<10}", LOOKS.get(word))
            self._session.screen.write(f"{clock}  {clean(str(pipeline['id'])):<24}  {look}  {took}".rstrip() + "\n")


class Table:
    """As many pipelines as fit, those that go on first."""

    def __init__(self, screen: Screen, columns: tuple[str, ...] | None, limit: int) -> None:
        self._screen = screen
        self._signs = Signs(unicode=screen.unicode)
        self._columns = columns
        self._limit = limit
        self.notice = ""

    def draw(self, recent: Recent, size: tuple[int, int], now: float) -> list[str]:
        """At most ``size[1]`` lines of at most ``size[0]`` columns."""
        if not recent.ready:
            return []
        columns, rows = size[0], size[1] - bool(self.notice)
        remark = self._screen.paint(cut(clean(self.notice), columns, self._signs.ellipsis), "yellow")
        return [*self._lines(recent, columns, rows, now), *([remark] if remark else [])]

    def _lines(self, recent: Recent, columns: int, rows: int, now: float) -> list[str]:
        found = recent.newest()
        wanted = found[: self._limit]
        fits = len(wanted) <= rows - 2
        shown = wanted if fits else wanted[: max(0, rows - 3)]  # the last row says how many are left out
        if self._columns:
            lines = pipelines.listed(self._screen, shown, self._columns, now)
        else:
            lines = self._rows(shown, columns, now)
        empty = ["" if found else self._screen.paint("there are no pipelines yet; odin-run JOB launches one", "dim")]
        left = len(wanted) - len(shown)
        more = [self._screen.paint(f"{self._signs.ellipsis} and {left} more", "dim")] if left and lines else []
        picture = [self._header(found), "", *(lines or empty), *more][:rows]
        return [cut_painted(line.rstrip(), columns, self._signs.ellipsis) for line in picture]

    def _header(self, found: list[Json]) -> str:
        words = [state(one) for one in found]
        counts = [(f"{words.count(word)} {word}", LOOKS.get(word)) for word in dict.fromkeys(words)]
        return self._signs.between.join(self._screen.paint(clean(text), look) for text, look in counts)

    def _rows(self, shown: list[Json], columns: int, now: float) -> list[str]:
        """The columns at the right are left out where they do not fit; what is left shows why one failed."""
        cells = [self._cells(one, now) for one in shown]
        widths = [max(width(cell) for cell in column) for column in zip(*cells, strict=True)] if cells else []
        fitting = len(widths)
        while fitting > 1 and 2 + sum(widths[:fitting]) + 2 * fitting + BAR > columns:
            fitting -= 1
        left = columns - (2 + sum(widths[:fitting]) + 2 * fitting + BAR) - 2
        return [
            self._row(one, row[:fitting], widths[:fitting], columns) + self._message(one, left)
            for one, row in zip(shown, cells, strict=True)
        ]

    def _message(self, pipeline: Json, room: int) -> str:
        text = self._signs.text(clean(str(pipeline.get("errorMessage") or "")))
        return "  " + self._screen.paint(cut(text, room, self._signs.ellipsis), "dim") if text and room >= LEAST else ""

    def _cells(self, pipeline: Json, now: float) -> list[str]:
        took = (
            span(pipeline.get("submitTime"), pipeline.get("completionTime"), now)
            if pipeline.get("outcome")
            else age(pipeline.get("submitTime"), now)
        )
        facts = [
            pipeline["id"], state(pipeline), pipelines.progress(pipeline), took, pipeline.get("user") or "",
            pipeline.get("job") or "", local(pipeline.get("submitTime")),
        ]  # fmt: skip
        return [self._signs.text(clean(str(fact))) for fact in facts]

    def _row(self, pipeline: Json, cells: list[str], widths: list[int], columns: int) -> str:
        word = state(pipeline)
        look = LOOKS.get(word)
        bar = segments(self._screen, self._signs, pipelines.counts(pipeline), BAR)
        name, *rest = (fit(cell, room, self._signs.ellipsis) for cell, room in zip(cells, widths, strict=True))
        sign = self._signs.states[SIGNS.get(word, "queued")]
        shown = self._screen.paint(
            cut(name, columns - 2, self._signs.ellipsis), None if pipeline.get("outcome") else "bold"
        )
        head = [f"{self._screen.paint(sign, look)} {shown}"]
        if len(rest) > 1:
            head += [self._screen.paint(rest[0], look), bar]
            rest = rest[1:]
        return "  ".join([*head, *rest])


def watch(session: Session, columns: tuple[str, ...] | None) -> None:
    """Until Ctrl-C."""
    screen = session.screen
    recent = Recent()
    try:
        if session.options.json:
            tell(session)
        elif screen.moves and screen.size()[0] >= NARROWEST:
            draw(session, recent, columns)
        else:
            lines = Changes(session, columns or pipelines.USUAL_COLUMNS)
            for change in session.client.watch(**wanted(session), notice=session.note):
                lines.changed(recent, recent.take(change.event, change.data))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped looking; the pipelines go on") from None


def wanted(session: Session) -> dict[str, Any]:
    return {"job": session.options.job, "user": session.options.user}


def tell(session: Session) -> None:
    """Each change as a JSON object on a line of its own."""
    for change in session.client.watch(**wanted(session), notice=session.note):
        session.screen.line({"event": change.event, **body_of(change.event, change.data)})


def body_of(event: str, data: Json) -> Json:
    return {"pipeline": data} if event == "pipeline" else data


def draw(session: Session, recent: Recent, columns: tuple[str, ...] | None) -> None:
    from odin.cli.canvas import Canvas

    table = Table(session.screen, columns, session.options.limit)
    canvas = Canvas(session.screen, lambda size: table.draw(recent, size, time.time()))

    def notice(text: str) -> None:
        table.notice = text
        canvas.refresh(now=True)

    with canvas:
        for change in session.client.watch(**wanted(session), notice=notice, tick_s=TICK_S):
            recent.take(change.event, change.data)
            table.notice = table.notice if change.event == "tick" else ""
            canvas.refresh()
