"""``odin-status``: a pipeline, a task, or the recent pipelines."""

from __future__ import annotations

import time

from odin.cli import pipelines
from odin.cli.options import Parser, connected, name, positive
from odin.cli.session import Session
from odin.client.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

LIMIT = 20

EXAMPLES = (
    ("", "the 20 newest pipelines"),
    ("hello-ab12cd34", "one pipeline and its tasks"),
    ("hello-ab12cd34--train", "one task"),
    ("hello-ab12cd34 --watch", "redrawn until it ends"),
    ("--watch", "the recent pipelines, redrawn until Ctrl-C"),
    ("--job hello --limit 5 --columns id,outcome,duration", ""),
)


def parser(prog: str) -> Parser:
    made = Parser(prog, "Show a pipeline and its tasks, one task, or the recent pipelines.", EXAMPLES)
    made.add_argument("id", nargs="?", type=name, metavar="ID", help="a pipeline or a task; without it the recent ones")
    made.add_argument("--watch", "--follow", "-f", action="store_true", help="go on showing it until it ends")
    made.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help=f"how many (default: {LIMIT})")
    made.add_argument("--all", action="store_true", help="all that there are")
    made.add_argument("--job", metavar="JOB", help="only pipelines of this job")
    made.add_argument("--user", metavar="NAME", help="only pipelines of this user")
    made.add_argument("--columns", metavar="A,B", help=f"of {', '.join(('state', *pipelines.COLUMNS))}")
    return connected(made)


def main(options: Namespace) -> int:
    columns = chosen(options.columns)
    session = Session(options)
    if options.watch:
        watch(session, columns if options.columns else None)
    else:
        draw(session, columns)
    return 0


def watch(session: Session, columns: tuple[str, ...] | None) -> None:
    if session.options.id:
        from odin.cli import live

        live.watch(session, session.options.id.partition("--")[0])
        return
    from odin.cli import recent

    recent.watch(session, columns)


def draw(session: Session, columns: tuple[str, ...]) -> None:
    identifier = session.options.id
    if not identifier:
        show_recent(session, columns)
    elif "--" in identifier:
        show_task(session, identifier)
    else:
        answer = {"pipeline": session.client.pipeline(identifier).raw}
        if not session.show(answer):
            session.screen.say("\n".join(pipelines.full(session.screen, answer["pipeline"], time.time())))


def show_task(session: Session, identifier: str) -> None:
    task = session.client.task(identifier).raw
    task = task | {"attempts": session.client.data(identifier)["attempts"]}
    if not session.show({"task": task}):
        session.screen.say("\n".join(pipelines.one_task(session.screen, task, time.time())))


def show_recent(session: Session, columns: tuple[str, ...]) -> None:
    options = session.options
    answer = session.client.pipelines(
        job=options.job, user=options.user, limit=None if options.all else options.limit
    ).raw
    if session.show(answer):
        return
    if answer["pipelines"]:
        lines = pipelines.listed(session.screen, answer["pipelines"], columns, time.time())
        session.screen.say("\n".join(lines))
    else:
        session.note(
            "there are no pipelines yet; launch one with odin-run JOB" if unfiltered(session) else "none match"
        )


def unfiltered(session: Session) -> bool:
    return not (session.options.job or session.options.user)


def chosen(columns: str | None) -> tuple[str, ...]:
    names = tuple(columns.split(",")) if columns else pipelines.USUAL_COLUMNS
    for column in names:
        if column not in ("state", *pipelines.COLUMNS):
            from odin.cli.nearest import suggestion

            near = suggestion(column, pipelines.COLUMNS)
            raise Usage(f'there is no column "{column}"{near}; there are state, {", ".join(pipelines.COLUMNS)}')
    return names
