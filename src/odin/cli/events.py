"""``odin-events``: what happened to a pipeline or task, oldest first."""

from __future__ import annotations

from odin.cli.moments import local
from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.client.encoding import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (("hello-ab12cd34--train", "of a task"), ("hello-ab12cd34", "of a pipeline and its tasks"))


def parser(prog: str) -> Parser:
    made = Parser(prog, "Show what happened to a pipeline or a task, oldest first.", EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline or a task")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    answer = session.server.get(f"/v1/resources/{quote(options.id)}/events")
    if session.show(answer):
        return 0
    rows = [
        [
            local(event.get("timestamp")),
            *(str(event.get(key) or "") for key in ("eventType", "reason", "source", "message")),
        ]
        for event in answer["events"]
    ]
    if rows:
        session.screen.say("\n".join(session.screen.table(("time", "type", "reason", "source", "message"), rows)))
    else:
        session.note(f"nothing has happened to {options.id} yet")
    return 0
