"""``odin-logs``: the log of a task, or of all tasks of a pipeline, as it is or as it comes."""

from __future__ import annotations

from functools import partial

from odin.cli.options import Parser, connected, name, positive
from odin.cli.session import Session
from odin.cli.text import LogText, clean, clean_log
from odin.client import logs
from odin.client.encoding import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any

EXAMPLES = (
    ("hello-ab12cd34--train", "the whole log of a task"),
    ("hello-ab12cd34--train --follow", "and what it writes from now on"),
    ("hello-ab12cd34 --lines 20", "the last lines of every task"),
    ("hello-ab12cd34--train --attempt 1", "of an earlier attempt"),
    ("hello-ab12cd34--train --raw > train.log", "the bytes as the task wrote them"),
)
DESCRIPTION = """\
Print the log of a task, or of each task of a pipeline.
Control sequences are shown escaped, but for colours on a terminal; --raw changes nothing."""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a task or a pipeline")
    made.add_argument("--follow", "-f", action="store_true", help="go on until the task ends")
    made.add_argument("--lines", "-l", type=positive, metavar="N", help="only the last lines")
    made.add_argument("--attempt", type=positive, metavar="N", help="(default: the newest)")
    made.add_argument("--container", metavar="NAME", help="one container of a pod")
    made.add_argument("--namespace", metavar="NAME", help="taken for older callers; Odin knows where a task runs")
    made.add_argument("--raw", action="store_true", help="bytes as they are, also to a terminal")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    whole_pipeline = "--" not in options.id
    if options.follow:
        follow_pipeline(session) if whole_pipeline else follow_task(session)
    elif whole_pipeline:
        print_pipeline(session)
    else:
        print_log(session, options.id)
    return 0


def print_log(session: Session, resource: str) -> None:
    options = session.options
    if options.json:
        answer = session.server.get(logs.path_of(resource), **selection(options))
        session.screen.json(answer)
        return
    if options.raw:
        for piece in logs.as_written(session.server, resource, **selection(options)):
            write_bytes(session, piece)
        return
    write(session, logs.whole(session.server, resource, **selection(options)))


def selection(options: Namespace) -> dict[str, Any]:
    return {"lines": options.lines, "attempt": options.attempt, "container": options.container}


def write(session: Session, text: str) -> None:
    shown = clean_log(text, colour=session.screen.colour)
    session.screen.write(shown if shown.endswith("\n") or not shown else shown + "\n")


def print_pipeline(session: Session) -> None:
    """Each task that has begun, under its id."""
    options = session.options
    tasks = begun(session, options.id)
    if options.json:
        found = {task: logs.whole(session.server, task, **selection(options)) for task in tasks}
        session.screen.json({"logs": found})
        return
    for number, task in enumerate(tasks):
        heading = session.screen.paint(f"==> {clean(task)} <==", "bold")
        session.screen.say(("\n" if number else "") + heading)
        session.screen.stream.flush()
        print_log(session, task)
    if not tasks:
        session.note(f"no task of {options.id} has begun yet")


def begun(session: Session, pipeline: str) -> list[str]:
    tasks = pipeline_of(session, pipeline)["tasks"]
    return [str(task["id"]) for task in tasks if task.get("attempt")]


def pipeline_of(session: Session, pipeline: str) -> dict[str, Any]:
    answer: dict[str, Any] = session.server.get(f"/v1/pipelines/{quote(pipeline)}")["pipeline"]
    return answer


def follow_task(session: Session) -> None:
    text = LogText(colour=session.screen.colour)
    try:
        for piece in follower(session, session.options.id, session.note).pieces():
            if session.options.raw:
                write_bytes(session, piece)
            else:
                session.screen.write(text.feed(piece))
        session.screen.write("" if session.options.raw else text.feed(b"", final=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped reading; {session.options.id} goes on") from None


def write_bytes(session: Session, piece: bytes) -> None:
    session.screen.stream.buffer.write(piece)
    session.screen.stream.buffer.flush()


def follower(session: Session, task_id: str, notice: Callable[[str], None]) -> logs.Follower:
    options = session.options
    return logs.Follower(
        session.server,
        task_id,
        notice=notice,
        attempt=options.attempt,
        lines=options.lines,
        container=options.container,
    )


def follow_pipeline(session: Session) -> None:
    from odin.cli.interleaved import Interleaved

    try:
        Interleaved(session, session.options.id, partial(follower, session)).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped reading; {session.options.id} goes on") from None
