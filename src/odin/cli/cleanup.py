"""``odin-cleanup``: stop a pipeline and remove what it made."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("hello-ab12cd34", "stop it; remove what it has in the cluster"),
    ("-f hello-ab12cd34", "and its files"),
    ("-f -d hello-ab12cd34", "and its rows and logs: nothing is left"),
    ("-f -d hello-ab12cd34 --dry-run", "only say what would be removed"),
)
HEAD = ("task", "cluster", "files", "database")
WORDS = ("No", "Yes")


def parser(prog: str) -> Parser:
    made = Parser(prog, "Stop a pipeline, wait for that, and remove what it made.", EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline")
    made.add_argument("-f", "--fs", action="store_true", help="remove its files")
    made.add_argument("-d", "--db", action="store_true", help="remove its rows and logs")
    made.add_argument("--dry-run", action="store_true", help="change nothing")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    done = session.client.cleanup(options.id, db=options.db, fs=options.fs, dry_run=options.dry_run)
    if session.show({"cleanups": [one.raw for one in done]}):
        return 0
    rows = [[one.task_id, *(WORDS[removed] for removed in (one.cleaned, one.removed, one.purged))] for one in done]
    session.screen.say("\n".join(session.screen.table(HEAD, rows)))
    if options.dry_run:
        session.note("nothing was removed: --dry-run")
    elif not (options.fs or options.db):
        session.note("files and rows are kept; --fs and --db remove them")
    return 0
