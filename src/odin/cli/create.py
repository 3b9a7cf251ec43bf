"""``odin-create``: an empty job."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (("hello", "a job with no tasks yet"), ("nlp/sst2", "in a folder"))


def parser(prog: str) -> Parser:
    made = Parser(prog, "Make a job with a main.yml and no tasks; odin-push brings its files.", EXAMPLES)
    made.add_argument("job", type=name, metavar="JOB")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    job = session.client.create_job(options.job)
    if not session.show({"job": job.raw}):
        session.screen.say(clean(job.location or job.id))
    return 0
