"""``odin-resume``: go on from a pipeline that is over, by a new one that keeps what need not run again."""

from __future__ import annotations

import sys

from odin.cli.options import connected, name
from odin.cli.run import ContextParser, follow
from odin.cli.screen import Screen
from odin.cli.session import Session
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from odin.cli.options import Parser
    from odin.client.resuming import Plan

EXAMPLES = (
    ("hello-ab12cd34", "what did not end well, and what follows it, runs again"),
    ("hello-ab12cd34 --at HEAD", "with the job as it is now, after a fix was pushed"),
    ("hello-ab12cd34 --from train", "train and what follows it too"),
    ("hello-ab12cd34 --only report", "this one task and nothing else"),
    ("hello-ab12cd34 --all", "every task"),
    ("sweep-ab12cd34 --x:lr 0.2", "with another value for the job's templates"),
    ("hello-ab12cd34 --dry-run", "only say what would run again, and why"),
)
DESCRIPTION = """\
Go on from a pipeline that failed, was cancelled or succeeded, by a new pipeline. Tasks that ended
well and are defined as they were are kept, with their files and logs; the others run again, and
what follows them. The plan is shown first; at a terminal you are asked. The new id is printed."""
HEAD = ("task", "what", "why")
WORDS = {"skip": "leave out"}
MOST_SHOWN = 40


def parser(prog: str) -> Parser:
    made = ContextParser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("id", type=name, metavar="ID", help="a pipeline that is over")
    made.add_argument("--from", dest="from_task", metavar="TASK", help="run this task again and all that follows it")
    made.add_argument("--only", metavar="TASK", help="run this task alone")
    made.add_argument("--all", action="store_true", help="run every task again")
    made.add_argument("--at", metavar="HEAD|SHA", help="the job as it is now, or at a commit (default: as it was)")
    made.add_argument("--x:KEY", dest="never", metavar="VALUE", help="a value for the job's templates")
    made.add_argument("--dry-run", action="store_true", help="show the plan and begin nothing")
    made.add_argument("--yes", "-y", action="store_true", help="do not ask")
    made.add_argument("--follow", "-f", action="store_true", help="show it live until it ends")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    asked = {"from_task": options.from_task, "only": options.only, "everything": options.all}
    plan = session.client.plan(options.id, **asked, at=options.at, context=options.context)
    if options.dry_run:
        if not session.show({"plan": plan.raw, "warnings": plan.warnings}):
            show(session.screen, plan, len(plan.tasks))
            tell(session, plan)
        return 0
    if not options.json:
        show(Screen(plain=options.no_color, stream=sys.stderr), plan, MOST_SHOWN)
        tell(session, plan)
    if not options.yes and sys.stdin.isatty() and sys.stderr.isatty() and not agreed():
        session.note("nothing was begun")
        return 0
    # At the commit that the plan is of: what is run is what was shown.
    at = plan.version if options.at else None
    launched = session.client.resume(options.id, **asked, at=at, context=options.context)
    if options.follow:
        return follow(session, launched.raw["id"])
    if not session.show({"pipeline": launched.raw}):
        session.screen.say(str(launched.raw["id"]))
    return 0


def show(screen: Screen, plan: Plan, most: int) -> None:
    """The tasks that run before those that stay, where not all can be shown."""
    tasks = plan.tasks if len(plan.tasks) <= most else sorted(plan.tasks, key=lambda task: task["action"] != "run")
    rows = [[task["name"], WORDS.get(task["action"], task["action"]), task["why"]] for task in tasks[:most]]
    lines = screen.table(HEAD, rows)
    if len(tasks) > most:
        lines.append(f"... and {len(tasks) - most} more; --dry-run shows all")
    counts = [f"{len(plan.names('keep'))} of {len(tasks)} tasks are kept, {len(plan.names('run'))} run again"]
    counts += [f"{len(plan.names('skip'))} are left out"] if plan.names("skip") else []
    counts += [f"the job has no more: {clean(', '.join(plan.gone))}"] if plan.gone else []
    head = f"{clean(plan.pipeline)}  job {clean(plan.job)} @ {clean(plan.version[:8])}"
    screen.say("\n".join([head, "", *lines, "", "; ".join(counts)]))
    screen.stream.flush()


def tell(session: Session, plan: Plan) -> None:
    """What the server has to say, now; the launch will say the same."""
    session.known = tuple(f"note: {sentence}" for sentence in plan.warnings)
    for sentence in session.known:
        session.note(sentence)


def agreed() -> bool:
    print("Go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")
