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
    answer = session.server.post("/v1/jobs", {"job": {"name": options.job.strip("/").replace("/", "__")}})
    if not session.show(answer):
        job = answer["job"]
        session.screen.say(clean(str(job.get("location") or job["id"])))
    return 0
