"""How things look in a notebook: small tables, legible on light and on dark pages.

Every text comes from somebody else's job and is escaped; nothing here can run, load or link anything.
Source: reliability.md, A-63.
"""

from __future__ import annotations

from html import escape as quoted
from itertools import islice

from odin.client.plain import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from odin.client.job import Job
    from odin.client.listing import Pipelines
    from odin.client.node import Node
    from odin.client.pipeline import Pipeline, Task
    from odin.client.record import Record

SHOWN = 20  # pipelines of a listing that may be endless
MOST_TASKS = 200
LONGEST = 500  # characters of a cell

# Middle tones, at least 4.5:1 with white on them, so that the page below does not matter.
COLOURS = {
    "succeeded": "#1a7f37",
    "executed": "#1a7f37",
    "failed": "#cf222e",
    "running": "#0969da",
    "executing": "#0969da",
    "cancelled": "#8250df",
    "terminated": "#8250df",
    "queued": "#9a6700",
    "building": "#9a6700",
}
OTHER = "#656d76"
BADGE = "background:{};color:#fff;border-radius:0.6em;padding:0.1em 0.6em;font-size:90%"
CELL = "text-align:left;padding:0.15em 0.8em 0.15em 0"


class Markup(str):
    """HTML that is ready; every other text is escaped."""

    __slots__ = ()


def pipeline(of: Pipeline) -> str:
    """The pipeline's state over its tasks."""
    tasks = of.tasks
    lines = [badge(of.outcome or of.status), Markup(f" <b>{text(of.id)}</b>"), of.job and f" of {of.job}"]
    notes = (context(of), of.error_message, *(of.warnings or ()))
    said = "".join(f"<div>{text(note)}</div>" for note in notes if note)
    rest = f"<div>and {len(tasks) - MOST_TASKS} more tasks</div>" if len(tasks) > MOST_TASKS else ""
    return f"<div>{''.join(map(text, lines))}</div>{said}{tasks_table(tasks[:MOST_TASKS])}{rest}"


def task(of: Task) -> str:
    return tasks_table([of])


def tasks_table(tasks: Iterable[Task]) -> str:
    rows = [(one.name, badge(one.status), one.attempt or "", one.exit_code, one.reason) for one in tasks]
    return table(("task", "status", "attempt", "exit", "reason"), rows)


def pipelines(of: Pipelines) -> str:
    """The newest few."""
    found = list(islice(of, SHOWN + 1))
    rows = [(one.id, one.job, badge(one.outcome or one.status), progress(one), one.user) for one in found[:SHOWN]]
    more = "<div>and more</div>" if len(found) > SHOWN else ""
    return table(("pipeline", "job", "state", "tasks", "user"), rows) + more


def progress(of: Pipeline) -> str:
    counts = of.task_counts
    return f"{counts.get('executed', 0)}/{sum(counts.values())}"


def job(of: Job) -> str:
    return f"<div><b>{text(of.id)}</b> {text(of.location)}</div>" + table(("file", "bytes"), of.files.items())


def nodes(of: Iterable[Node]) -> str:
    rows = [(node.host, node.cpu, node.memory, len(node.gpus)) for node in of]
    return table(("host", "cpu", "memory", "GPUs"), rows)


def records(columns: Sequence[str], of: Iterable[Record]) -> str:
    return table([name.replace("_", " ") for name in columns], ([getattr(one, name) for name in columns] for one in of))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = "".join(row(cells, "td") for cells in rows)
    return f'<table style="border:none;margin:0.3em 0"><thead>{row(head, "th")}</thead><tbody>{cells}</tbody></table>'


def row(cells: Sequence[object], kind: str) -> str:
    inner = "".join(f'<{kind} style="{CELL}">{text(cell)}</{kind}>' for cell in cells)
    return f"<tr>{inner}</tr>"


def badge(state: str) -> Markup:
    word = state.lower()
    return Markup(f'<span style="{BADGE.format(COLOURS.get(word, OTHER))}">{text(word)}</span>')


def text(of: object) -> str:
    """Escaped for a place between tags; None and 'nothing' are empty."""
    if isinstance(of, Markup):
        return of
    if of is None:
        return ""
    shown = str(of)
    return quoted(shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…")
