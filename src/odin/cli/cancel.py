"""``odin-cancel``: stop a pipeline and keep everything."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (("hello-ab12cd34", "its tasks are asked to stop, and killed after their grace period"),)


def parser(prog: str) -> Parser:
    made = Parser(prog, "Stop a pipeline and keep its files, logs and history.", EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    pipeline = session.client.cancel(options.id)
    if not session.show({"pipeline": pipeline.raw}):
        how = session.screen.state(pipeline.outcome) if pipeline.outcome else "is stopping"
        session.screen.say(f"{clean(pipeline.id)} {how}")
    return 0
