"""``odin-logs``: the log of a task, or of all tasks of a pipeline, as it is or as it comes."""

from __future__ import annotations

import time
from functools import partial

from odin.cli.moments import posix, since
from odin.cli.options import Parser, connected, name, positive
from odin.cli.overwriting import Overwriting, folds, last_state
from odin.cli.session import Session
from odin.cli.text import LogText, clean, clean_log
from odin.client.errors import NotFound, Usage
from odin.client.pipeline import FINAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import Any

    from odin.cli.loglines import Pattern

    Json = dict[str, Any]

EXAMPLES = (
    ("hello-ab12cd34--train", "the whole log of a task"),
    ("hello-ab12cd34--train --follow", "and what it writes from now on"),
    ("hello-ab12cd34 -f", "all tasks at once, each line after its task's name"),
    ("hello-ab12cd34 --lines 20", "the last lines of every task"),
    ("hello-ab12cd34 --first-error", "what went wrong first"),
    ("hello-ab12cd34 -f --grep 'loss|acc'", "only the lines that match"),
    ("hello-ab12cd34--train --attempt 1", "of an earlier attempt"),
    ("hello-ab12cd34--train --previous", "of the attempt before the newest"),
    ("hello-ab12cd34--train --container worker-0", "of one of several pods"),
    ("hello-ab12cd34--train --raw > train.log", "the bytes as the task wrote them"),
)
DESCRIPTION = """\
Print the log of a task, or of each task of a pipeline in the order of their start.
Control sequences are shown escaped, but for colours on a terminal; --raw changes nothing.
Of a progress bar only the last state is shown, on a terminal and where it is one of many tasks.

A log is what a task wrote and holds no times. So --since cannot cut a log: it leaves out
the tasks that ended before, and shows the others whole. --timestamps, which needs
--follow, is the time at which a line arrived here, in UTC; lines that were there before have none."""

# What cannot go together, and why.
CONFLICTS = (
    ("first_error", "follow", "--first-error looks at what there is; leave out --follow"),
    ("first_error", "grep", "--first-error and --grep each choose lines; take one of them"),
    ("first_error", "since", "--first-error and --since each choose tasks; take one of them"),
    ("raw", "grep", "--raw prints bytes as they are; leave out --grep"),
    ("raw", "timestamps", "--raw prints bytes as they are; leave out --timestamps"),
    ("raw", "first_error", "--raw prints bytes as they are; leave out --first-error"),
    ("raw", "json", "--raw prints bytes as they are; leave out --json"),
    ("previous", "follow", "--previous is of an attempt that is over; leave out --follow"),
)
# What objects of the cluster that are not Odin's have not.
OF_TASKS = ("follow", "attempt", "previous", "first_error", "since", "grep", "timestamps")


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a task or a pipeline")
    made.add_argument("--follow", "-f", action="store_true", help="go on until the task or the pipeline ends")
    made.add_argument("--lines", "-l", type=positive, metavar="N", help="only the last lines of each log")
    made.add_argument("--grep", metavar="REGEX", help="of these, only the lines that match (Python's syntax)")
    made.add_argument(
        "--since", metavar="WHEN", help="leave out tasks that ended before: 10m, 2h, 2026-11-22T10:00:00Z"
    )
    made.add_argument("--first-error", action="store_true", help="from the first line that looks like an error")
    made.add_argument("--timestamps", action="store_true", help="with --follow: when each line arrived, in UTC")
    made.add_argument("--attempt", type=positive, metavar="N", help="(default: the newest)")
    made.add_argument("--previous", action="store_true", help="of the attempt before the newest, or before --attempt")
    made.add_argument(
        "--container", metavar="NAME", help="in a cluster: one container, or one pod of several (worker-0)"
    )
    made.add_argument("--namespace", metavar="NAME", help="taken for older callers; Odin knows where a task runs")
    made.add_argument("--raw", action="store_true", help="bytes as they are, also to a terminal")
    return connected(made)


def main(options: Namespace) -> int:
    whole_pipeline = "--" not in options.id
    pattern, since_at = checked(options, whole_pipeline=whole_pipeline)
    session = Session(options)
    if options.previous:
        options.attempt = previous(session)
    if options.first_error:
        from odin.cli.firsterror import print_first_error

        print_first_error(session)
    elif "/" in options.id:
        print_foreign(session)
    elif whole_pipeline:
        follow_pipeline(session, pattern, since_at) if options.follow else print_pipeline(session, pattern, since_at)
    elif over_before(session, since_at):
        session.note(f"{options.id} ended before {options.since}")
    else:
        follow_task(session, pattern) if options.follow else print_log(session, options.id, pattern)
    return 0


def checked(options: Namespace, *, whole_pipeline: bool) -> tuple[Pattern | None, float | None]:
    """What ``--grep`` and ``--since`` mean. Raises Usage, also for options that make no sense together."""
    for one, other, why in CONFLICTS:
        if getattr(options, one) and getattr(options, other):
            raise Usage(why)
    if options.timestamps and not options.follow:
        raise Usage("--timestamps is when lines arrive, which only --follow sees; a log itself holds no times")
    if "/" in options.id and (wrong := next((name for name in OF_TASKS if getattr(options, name)), None)):
        raise Usage(f"--{wrong.replace('_', '-')} is for tasks; of other resources ask for --lines and --container")
    if options.previous and whole_pipeline:
        raise Usage("each task has attempts of its own; name one with --previous")
    if options.raw and options.follow and whole_pipeline:
        raise Usage("--raw cannot mix the bytes of many tasks; follow one task, or leave out --raw")
    return pattern_of(options.grep), moment_of(options.since)


def pattern_of(expression: str | None) -> Pattern | None:
    if expression is None:
        return None
    from odin.cli.loglines import Pattern

    return Pattern(expression)


def moment_of(text: str | None) -> float | None:
    if text is None:
        return None
    at = since(text, time.time())
    if at is None:
        raise Usage(f'"{text}" is no time; write 90s, 10m, 2h, 3d, or 2026-11-22T10:00:00Z')
    return at


def print_foreign(session: Session) -> None:
    """Of an object of the cluster that is not Odin's, where the server has a setting for it."""
    options = session.options
    part = session.client.log_part(options.id, lines=options.lines, container=options.container)
    if options.json:
        session.screen.json(part.raw)
    elif options.raw:
        write_bytes(session, part.text.encode())
    else:
        write(session, part.text)


def previous(session: Session) -> int:
    """The number of the attempt before the newest, or before the one that is named."""
    task = session.options.id
    named = session.options.attempt or int(session.client.task(task).raw.get("attempt") or 0)
    if named <= 1:
        raise NotFound(f"{task} has no previous attempt: it had {named or 'none'}")
    return named - 1


def ended_before(task: Json, since_at: float | None) -> bool:
    ended = posix(task.get("completionTime"))
    return since_at is not None and ended is not None and ended < since_at


def over_before(session: Session, since_at: float | None) -> bool:
    return since_at is not None and ended_before(session.client.task(session.options.id).raw, since_at)


def print_log(session: Session, resource: str, pattern: Pattern | None) -> None:
    options = session.options
    if pattern is not None:
        print_matches(session, resource, pattern)
    elif options.json:
        session.screen.json(session.client.log_part(resource, **selection(options)).raw)
    elif options.raw:
        for piece in session.client.log_bytes(resource, **selection(options)):
            write_bytes(session, piece)
    else:
        text = session.client.log(resource, **selection(options))
        write(session, text)
        if not text and (why := unbegun(session, resource)):
            session.note(why)


def unbegun(session: Session, task: str) -> str:
    """Why a log is empty, where its task wrote nothing because it did not run."""
    facts = session.client.task(task).raw
    if facts.get("startTime"):
        return ""
    if facts["status"] not in FINAL:
        return f"{task} has not begun, so it wrote nothing"
    return f"{task} never began, so it wrote nothing" + (f": {facts['reason']}" if facts.get("reason") else "")


def print_matches(session: Session, resource: str, pattern: Pattern, *, heading: str = "") -> int:
    """The whole log is looked at, also where it is longer than what is printed of one at most. How many match."""
    from odin.cli.loglines import Printer, split

    options = session.options
    printer = Printer(session, pattern, heading=heading)
    attempt = options.attempt or int(session.client.task(resource).raw.get("attempt") or 0)
    if attempt:
        pieces = session.client.log_bytes(resource, **{**selection(options), "attempt": attempt})
        for lines in split(pieces, attempt, fold=folds(session)):
            printer.lines(resource, lines)
    return printer.printed


def selection(options: Namespace) -> dict[str, Any]:
    return {"lines": options.lines, "attempt": options.attempt, "container": options.container}


def write(session: Session, text: str) -> None:
    if folds(session):
        text = "\n".join(map(last_state, text.split("\n")))
    shown = clean_log(text, colour=session.screen.colour)
    session.screen.write(shown if shown.endswith("\n") or not shown else shown + "\n")


def print_pipeline(session: Session, pattern: Pattern | None, since_at: float | None) -> None:
    """Each task that has begun, in the order of their start, under its id."""
    options = session.options
    tasks = list(begun(session, since_at))
    if options.json and pattern is None:
        found = {task: session.client.log(task, **selection(options)) for task in tasks}
        session.screen.json({"logs": found})
        return
    printed = 0
    for number, task in enumerate(tasks):
        heading = "" if options.json else session.screen.paint(f"==> {clean(task)} <==", "bold") + "\n"
        if pattern is not None:
            printed += print_matches(session, task, pattern, heading=("\n" if printed and heading else "") + heading)
            continue
        session.screen.write(("\n" if number else "") + heading)
        print_log(session, task, pattern)
    if not tasks:
        session.note(f"no task of {options.id} has begun yet" if since_at is None else "no task ran since then")


def begun(session: Session, since_at: float | None) -> Iterator[str]:
    """Tasks that have the attempt asked for."""
    pipeline = session.client.pipeline(session.options.id).raw
    least = session.options.attempt or 1
    for task in sorted(pipeline["tasks"], key=lambda task: posix(task.get("startTime")) or float("inf")):
        if int(task.get("attempt") or 0) >= least and not ended_before(task, since_at):
            yield str(task["id"])


def follow_task(session: Session, pattern: Pattern | None) -> None:
    options = session.options
    by_line = pattern is not None or options.json or options.timestamps
    try:
        if by_line or (folds(session) and not session.screen.moves and not options.raw):
            follow_lines(session, pattern)
        else:
            follow_bytes(session)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(stopped(session)) from None


def stopped(session: Session) -> str:
    pipeline = session.options.id.partition("--")[0]
    return f"stopped reading; {session.options.id} goes on\n  {session.typed('odin-cancel', pipeline)}   to stop it"


def follow_lines(session: Session, pattern: Pattern | None) -> None:
    from odin.cli.loglines import Printer, followed

    options = session.options
    printer = Printer(session, pattern)
    for lines in followed(session, options.id, session.note, timed=options.json or options.timestamps):
        printer.lines(options.id, lines)


def follow_bytes(session: Session) -> None:
    """As the bytes come, without waiting for the end of a line."""
    text = Overwriting(session.screen) if folds(session) else LogText(colour=session.screen.colour)
    for piece in session.client.follow_log(session.options.id, notice=session.note, **selection(session.options)):
        if session.options.raw:
            write_bytes(session, piece)
        else:
            session.screen.write(text.feed(piece))
    session.screen.write("" if session.options.raw else text.feed(b"", final=True))


def write_bytes(session: Session, piece: bytes) -> None:
    session.screen.stream.buffer.write(piece)
    session.screen.stream.buffer.flush()


def follow_pipeline(session: Session, pattern: Pattern | None, since_at: float | None) -> None:
    from odin.cli.interleaved import Interleaved

    try:
        Interleaved(session, session.options.id, pattern, leave_out=partial(ended_before, since_at=since_at)).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(stopped(session)) from None
