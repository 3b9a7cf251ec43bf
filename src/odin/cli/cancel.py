"""``odin-cancel``: stop a pipeline and keep everything."""

from __future__ import annotations

from odin.cli import pipelines
from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean
from odin.client.encoding import quote

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
    answer = session.server.post(f"/v1/pipelines/{quote(options.id)}/cancel")
    if not session.show(answer):
        pipeline = answer["pipeline"]
        how = "is stopping" if not pipeline.get("outcome") else session.screen.state(pipelines.state(pipeline))
        session.screen.say(f"{clean(str(pipeline['id']))} {how}")
    return 0
