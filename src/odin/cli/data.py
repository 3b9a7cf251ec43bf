"""``odin-data``: what the database holds on a pipeline or task, as JSON."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("hello-ab12cd34", "the pipeline itself"),
    ("hello-ab12cd34--train", "one of its tasks, with its attempts"),
)


def parser(prog: str) -> Parser:
    made = Parser(prog, "Print what the database holds on a pipeline or a task, as JSON.", EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline or a task")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    data = session.client.data(options.id)
    session.screen.json({"success": True, "jobs": data} if options.json else data)
    return 0
