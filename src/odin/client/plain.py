"""A pipeline as a small table of text, for ``print`` and for consoles. Safe for a terminal, as everything printed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from odin.client.pipeline import Pipeline

LONGEST = 200  # characters of a context
HEAD = ("task", "status", "attempt", "exit", "reason")


def pipeline(of: Pipeline) -> str:
    """One line for the pipeline, then one for each task."""
    rows = [
        (
            task.name,
            task.status,
            str(task.attempt or ""),
            "" if task.exit_code is None else str(task.exit_code),
            task.reason or "",
        )
        for task in of.tasks
    ]
    cells = [tuple(map(safe, row)) for row in (HEAD, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    state = of.outcome or of.status.lower()
    said = [context(of), of.error_message, *(of.warnings or ())]
    return "\n".join([f"{safe(of.id)}  {safe(state)}", *(f"  {safe(text)}" for text in said if text), *lines])


def context(of: Pipeline) -> str:
    """What it was launched with, as one line; empty if with nothing. Long ones are cut."""
    values = ", ".join(f"{name}={value}" for name, value in (of.context or {}).items())
    return f"with {values[:LONGEST] + '…' * (len(values) > LONGEST)}" if values else ""


def safe(text: str) -> str:
    """One line; what a terminal would act on is shown escaped."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
