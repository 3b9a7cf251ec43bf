"""What the TAB key offers that only the server knows: pipelines, tasks, jobs, their files, users.

The scripts of ``odin completion`` call ``odin __complete WORD ARGUMENT... CURRENT`` and read a candidate from each
line, after a tab what it is. Nobody is asked for a password or signed in: there is a token at hand, or none. Whatever
goes wrong, there are no candidates; the scripts throw standard error away.
"""

from __future__ import annotations

import argparse
import os
import time
from _thread import start_new_thread

from odin.cli.moments import local
from odin.cli.pipelines import state
from odin.cli.session import Session
from odin.cli.text import clean
from odin.client.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from odin.cli.options import Parser
    from odin.client.client import Client
    from odin.client.pipeline import Pipeline, Task

    Found = Iterator[tuple[str, str]]  # a candidate and what it is

PATIENCE_S = 1.0  # somebody holds the TAB key
MOST = 100
PLAIN = "._/-"  # with letters and digits, what no shell reads as anything else


def complete(words: list[str]) -> int:
    """``words``: the command, its arguments, and what stands at the cursor."""
    start_new_thread(give_up, ())
    command, *arguments = words
    module = __import__(f"odin.cli.{command}", fromlist=["parser"])
    line = Line(module.parser(f"odin {command}"), arguments)
    known = LIVE.get((command, line.wanted))
    if known is None:
        return 0
    os.environ.pop("ODIN_PASSWORD", None)
    line.options.password = None
    client = Session(line.options).quiet()
    found = [
        f"{text}\t{clean(about)}"
        for text, about in known(client, line)
        if text.startswith(line.current) and is_plain(text)
    ]
    print("\n".join(found))
    return 0


def give_up() -> None:
    """Also out of the resolver, which no timeout reaches."""
    time.sleep(PATIENCE_S)
    os._exit(0)


def is_plain(text: str) -> bool:
    """Names are other people's; one that a shell could act on is not put on anybody's command line."""
    return text[:1] not in ("", "-") and all(sign.isalnum() or sign in PLAIN for sign in text)


class Line:
    """A command line that somebody is in the middle of.

    ``wanted`` is the name of the argument at the cursor, ``current`` what there is of it; ``options`` are those given.
    """

    def __init__(self, parser: Parser, words: list[str]) -> None:
        self._parser = parser
        self.options = argparse.Namespace(**{action.dest: action.default for action in parser._actions})
        vars(self.options).update(parser._defaults)
        *before, self.current = words
        awaited, positionals = self._read(before)
        if self.current.startswith("--") and "=" in self.current:
            flag, _, self.current = self.current.partition("=")
            awaited = parser._option_string_actions.get(flag)
        if awaited is not None:
            self.wanted = awaited.dest
        else:
            self.wanted = "" if self.current.startswith("-") else self._positional(len(positionals))

    def _read(self, words: list[str]) -> tuple[argparse.Action | None, list[str]]:
        """Note what is given; the option whose value comes next, and the arguments that are no options."""
        awaited: argparse.Action | None = None
        positionals: list[str] = []
        for word in words:
            flag, separator, value = word.partition("=")
            action = self._parser._option_string_actions.get("--x:KEY" if flag.startswith("--x:") else flag)
            if awaited is not None:
                setattr(self.options, awaited.dest, word)
                awaited = None
            elif action is not None and separator:
                setattr(self.options, action.dest, value)
            elif action is not None:
                awaited = action if action.nargs != 0 else None
            elif not word.startswith("-"):
                setattr(self.options, self._positional(len(positionals)), word)
                positionals.append(word)
        return awaited, positionals

    def _positional(self, number: int) -> str:
        actions = self._parser._get_positional_actions()
        return actions[number].dest if number < len(actions) else ""


def jobs(client: Client, line: Line) -> Found:
    for job in client.jobs(line.current or None):
        yield job.id, "job"


def pipelines(client: Client, line: Line, status: str | None = None) -> Found:
    for pipeline in client.pipelines(line.current or None, status=status, limit=MOST):
        yield pipeline.id, about(pipeline)


def running(client: Client, line: Line) -> Found:
    return pipelines(client, line, "RUNNING")


def over(client: Client, line: Line) -> Found:
    """Those that can be resumed."""
    for pipeline in client.pipelines(line.current or None, limit=MOST):
        if pipeline.over:
            yield pipeline.id, about(pipeline)


def tasks(client: Client, line: Line) -> Found:
    """Of the pipeline before."""
    for task in client.pipeline(line.options.id).tasks:
        yield task.name, about(task)


def about(one: Pipeline | Task) -> str:
    return f"{state(one.raw)}, {local(one.submit_time)}"


def resources(client: Client, line: Line) -> Found:
    """Pipelines; the tasks of one once it is clear which."""
    name, dashes, _ = line.current.partition("--")
    found = [client.pipeline(name)] if dashes else list(client.pipelines(name or None, limit=MOST))
    near = [pipeline for pipeline in found if pipeline.id.startswith(name)]
    for one in [*near, *(near[0].tasks if len(near) == 1 else ())]:
        yield one.id, about(one)


def shown(client: Client, line: Line) -> Found:
    yield from jobs(client, line)
    yield from pipelines(client, line)


def files(client: Client, line: Line) -> Found:
    """Of the job or the pipeline before."""
    name = line.options.job
    try:
        sizes = client.job(name, at=line.options.at).files
    except NotFound:
        sizes = client.pipeline_files(name)
    for file, size in sizes.items():
        yield file, f"{size} bytes"


def users(client: Client, line: Line) -> Found:
    for user in client.users(line.current or None):
        yield user.username, user.role or "user"


# The arguments, by command, that have candidates; all others the scripts know by themselves.
LIVE: Mapping[tuple[str, str], Callable[[Client, Line], Found]] = {
    ("run", "job"): jobs,
    ("push", "job"): jobs,
    ("show", "job"): shown,
    ("show", "file"): files,
    ("status", "id"): resources,
    ("status", "job"): jobs,
    ("status", "user"): users,
    ("data", "id"): resources,
    ("events", "id"): resources,
    ("logs", "id"): resources,
    ("cancel", "id"): running,
    ("cleanup", "id"): pipelines,
    ("resume", "id"): over,
    ("resume", "from_task"): tasks,
    ("resume", "only"): tasks,
    ("user", "subject"): users,
}
