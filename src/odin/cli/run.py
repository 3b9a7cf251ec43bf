"""``odin-run``: launch a job, print the pipeline's id, and follow it if asked."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.client.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

EXAMPLES = (
    ("hello", "launch it and print its id"),
    ("hello --follow", "and show it live; ends with its exit code"),
    ("nlp/sst2 --x:epochs 5 --x:lr 0.1", "with a context for its templates"),
)
DESCRIPTION = """\
Launch a job. The pipeline's id is printed; odin-status and odin-logs take it.
With --follow the exit code is 0 when it succeeded, 1 when it failed, 7 when it was cancelled."""
MARK = "--x:"


class ContextParser(Parser):
    """Takes ``--x:key value`` and ``--x:key=value`` out before the other options are read."""

    def parse_args(self, argv: Sequence[str]) -> Namespace:  # type: ignore[override]
        rest, context = split_context(list(argv))
        options = super().parse_args(rest)
        options.context = context
        return options


def split_context(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """The other arguments, and the context. Raises Usage."""
    rest: list[str] = []
    context: dict[str, str] = {}
    items = iter(argv)
    for item in items:
        if not item.startswith(MARK):
            rest.append(item)
            continue
        key, separator, value = item.removeprefix(MARK).partition("=")
        given = value if separator else next(items, None)
        if not key or given is None:
            raise Usage(f"{item} needs a {'value' if key else 'name'}: --x:KEY VALUE")
        context[key] = given
    return rest, context


def parser(prog: str) -> Parser:
    made = ContextParser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("job", type=name, metavar="JOB")
    made.add_argument("--follow", "-f", action="store_true", help="show it live until it ends")
    made.add_argument("--x:KEY", dest="never", metavar="VALUE", help="a value for the job's templates")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    launched = session.client.run(options.job, options.context)
    if options.follow:
        return follow(session, launched.raw["id"])
    if not session.show({"pipeline": launched.raw}):
        session.screen.say(str(launched.raw["id"]))
    return 0


def follow(session: Session, pipeline: str) -> int:
    """The handle goes to standard output at once, progress to standard error; JSON is the pipeline at its end."""
    from odin.cli.live import progress

    if not session.options.json:
        session.screen.write(pipeline + "\n")
    code = progress(session, pipeline)
    if session.options.json:
        session.show({"pipeline": session.client.pipeline(pipeline).raw})
    return code
