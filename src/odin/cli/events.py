"""``odin-events``: what happened to a pipeline or task, oldest first."""

from __future__ import annotations

from odin.cli.moments import local
from odin.cli.options import Parser, connected, name
from odin.cli.session import Session

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
    events = session.client.events(options.id)
    if session.show({"events": [event.raw for event in events]}):
        return 0
    rows = [
        [
            local(event.timestamp),
            *(str(field or "") for field in (event.event_type, event.reason, event.source, event.message)),
        ]
        for event in events
    ]
    if rows:
        session.screen.say("\n".join(session.screen.table(("time", "type", "reason", "source", "message"), rows)))
    else:
        session.note(f"nothing has happened to {options.id} yet")
    return 0
