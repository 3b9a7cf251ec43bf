"""``odin-cleanup``: stop a pipeline and remove what it made."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.client.encoding import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

ANSWER_S = 900.0  # it waits for running tasks to stop, as long as their grace period

EXAMPLES = (
    ("hello-ab12cd34", "stop it; remove what it has in the cluster"),
    ("-f hello-ab12cd34", "and its files"),
    ("-f -d hello-ab12cd34", "and its rows and logs: nothing is left"),
    ("-f -d hello-ab12cd34 --dry-run", "only say what would be removed"),
)
HEAD = ("task", "cluster", "files", "database")


def parser(prog: str) -> Parser:
    made = Parser(prog, "Stop a pipeline, wait for that, and remove what it made.", EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline")
    made.add_argument("-f", "--fs", action="store_true", help="remove its files")
    made.add_argument("-d", "--db", action="store_true", help="remove its rows and logs")
    made.add_argument("--dry-run", action="store_true", help="change nothing")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    answer = session.server.delete(
        f"/v1/pipelines/{quote(options.id)}",
        answer_s=ANSWER_S,
        db=options.db,
        fs=options.fs,
        dryRun=options.dry_run,
    )
    if session.show(answer):
        return 0
    rows = [
        [str(entry["taskId"]), *(str(entry[key]) for key in ("cleanedFromK8s", "removedFromFs", "purgedFromDb"))]
        for entry in answer["cleanups"]
    ]
    session.screen.say("\n".join(session.screen.table(HEAD, rows)))
    if options.dry_run:
        session.note("nothing was removed: --dry-run")
    return 0
