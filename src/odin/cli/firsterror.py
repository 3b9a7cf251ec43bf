"""The first line of a log that looks like an error, with the lines around it."""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

from odin.cli.loglines import Line, Printer, split
from odin.cli.moments import posix
from odin.cli.overwriting import folds
from odin.cli.text import clean, clean_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from odin.cli.screen import Screen
    from odin.cli.session import Session

    Json = dict[str, Any]

BEFORE = 3  # lines of context
AFTER = 40  # lines from the error on
LAST = 20  # lines, when none looks like an error

# What programs say when they fail. "error: 0.25" is a figure, "0 errors" good news.
LOOKS_LIKE_AN_ERROR = re.compile(
    r"""
    ^\s*Traceback\ \(most\ recent\ call\ last\)
    | \b[A-Za-z_.]*(?:Error|Exception)\b\s*(?::(?!\s*[-+]?[\d.]+\s*%?\s*$)|$)
    | \b(?i:error|fatal|panic)\s*[\])]*:\s*(?![-+]?[\d.]+\b)\S
    | \b(?:ERROR|FATAL|CRITICAL|PANIC)\b(?!\s*[:=]\s*[-+]?\d)
    | (?i:\bout\ of\ memory\b | \boom[- ]?kill | \bsegmentation\ fault | \bbus\ error\b | \bcore\ dumped\b)
    | (?i:\bcommand\ not\ found\b | :\ not\ found$ | \bno\ such\ file\ or\ directory\b | \bpermission\ denied\b)
    | (?i:\bno\ space\ left\ on\ device\b | \bassertion\ .{0,200}failed | \bterminate\ called\ after\b)
    | ^\s*(?:Killed|Aborted|Terminated)\b
    """,
    re.VERBOSE,
)


def is_error(text: str) -> bool:
    return LOOKS_LIKE_AN_ERROR.search(clean_line(text, colour=False)) is not None


def print_first_error(session: Session) -> None:
    task = chosen(session)
    if task is None:
        return
    options = session.options
    name, attempt = str(task["id"]), options.attempt or int(task.get("attempt") or 0)
    about = f"{name}: {task['status']}" + (f", {task['reason']}" if task.get("reason") else "")
    if not attempt:
        session.note(f"{about}; it has not begun, so it wrote nothing")
        return
    pieces = session.client.log_bytes(name, attempt=attempt, container=options.container)
    try:
        number, lines = excerpt(split(pieces, attempt, fold=folds(session)), options.lines or AFTER)
    finally:
        pieces.close()
    if number:
        session.note(f"{about}; the first error is in line {number}")
    else:
        session.note(f"{about}; " + ("no line looks like an error; the last are" if lines else "it wrote nothing"))
    Printer(session, Errors()).lines(name, lines)


class Errors:
    """Marks the lines that look like an error, and leaves out none."""

    def marked(self, line: str, screen: Screen) -> str:
        if screen.colour and is_error(line):
            return screen.paint(clean_line(line, colour=False), "match")
        return clean_line(line, colour=screen.colour)


def chosen(session: Session) -> Json | None:
    """The task asked for; of a pipeline the one that failed first."""
    identifier = session.options.id
    if "--" in identifier:
        task: Json = session.client.task(identifier).raw
        return task
    pipeline = session.client.pipeline(identifier).raw
    failed: list[Json] = [task for task in pipeline["tasks"] if task["status"] == "failed"]
    if not failed:
        why = clean(str(pipeline.get("errorMessage") or f"no task of {identifier} has failed"))
        session.note(why)
        return None
    return min(failed, key=lambda task: posix(task.get("completionTime")) or 0.0)


def excerpt(batches: Iterable[list[Line]], after: int) -> tuple[int, list[Line]]:
    """The number of the first line that is an error, and it with what is around it; or 0 and the last lines."""
    lines = (line for batch in batches for line in batch)
    last: deque[Line] = deque(maxlen=LAST)
    for number, line in enumerate(lines, 1):
        last.append(line)
        if is_error(line.text):
            return number, [*list(last)[-BEFORE - 1 :], *islice(lines, after - 1)]
    return 0, list(last)
