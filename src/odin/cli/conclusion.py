"""How a pipeline ended: its outcome, the tasks that failed with the last lines of their logs, what to type next."""

from __future__ import annotations

import time

from odin.cli import pipelines
from odin.cli.moments import posix, span
from odin.cli.overwriting import last_state
from odin.cli.text import clean, clean_line
from odin.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.cli.screen import Screen
    from odin.cli.session import Session
    from odin.cli.view import View

    Json = dict[str, Any]

SHOWN_FAILURES = 10
SHOWN_LOGS = 3  # of these the last lines of the log too
LAST_LINES = 5


def conclude(session: Session, screen: Screen, view: View) -> None:
    pipeline = view.pipeline
    took = span(pipeline.get("submitTime"), pipeline.get("completionTime"), time.time())
    name = clean(str(pipeline.get("id")))
    failed = sorted(
        (task for task in view.tasks.values() if task["status"] == "failed"),
        key=lambda task: posix(task.get("completionTime")) or 0.0,
    )
    screen.say(f"{name} {screen.state(pipelines.state(pipeline))} after {took}")
    if pipeline.get("errorMessage") and not failed:
        screen.say("  " + clean(str(pipeline["errorMessage"])))
    for number, task in enumerate(failed[:SHOWN_FAILURES]):
        tell(session, screen, task, with_log=number < SHOWN_LOGS)
    if len(failed) > SHOWN_FAILURES:
        screen.say(f"  ... and {len(failed) - SHOWN_FAILURES} more; {session.typed('odin-status', name)}")
    if failed:
        screen.say(f"  {session.typed('odin-logs', name, '--first-error')}   what went wrong first")
        screen.say(f"  {session.typed('odin-resume', name, '--at', 'HEAD')}   go on from here after a fix was pushed")
    screen.stream.flush()


def tell(session: Session, screen: Screen, task: Json, *, with_log: bool) -> None:
    reason = clean(str(task.get("reason") or f"exit code {task.get('exitCode')}"))
    screen.say(f"  {screen.paint(clean(str(task['name'])), 'red')}: {reason}")
    for line in last_lines(session, screen, str(task["id"])) if with_log else ():
        screen.say(f"    {screen.paint('|', 'dim')} {line}")
    screen.say(f"    {session.typed('odin-logs', str(task['id']))}")


def last_lines(session: Session, screen: Screen, task: str) -> list[str]:
    """Of its log; none when there is no log to be had."""
    try:
        text = session.client.log(task, lines=LAST_LINES)
    except ClientError:
        return []
    lines = [clean_line(last_state(line), colour=screen.colour) for line in text.split("\n")]
    return [line for line in lines if line.strip()][-LAST_LINES:]
