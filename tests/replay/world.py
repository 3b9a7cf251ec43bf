"""What the recordings speak of: servers, jobs, pipelines and people that are there when a program asks.

Everything is made on first mention, and once for all recordings; only what a recording takes away or changes is made
for it alone. The jobs say nothing of where they run, so another executor is another row of ``EXECUTORS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from e2e.jobs import job, task
from e2e.serving import ENDED, PASSWORD, USER, Api, Serving, until

EXECUTORS: dict[str, dict[str, str]] = {"local": {}}  # settings that a server needs beside the usual
SERVERS: dict[str, dict[str, str]] = {
    "usual": {},
    "no-reading-without-token": {"ANONYMOUS_READ": "off"},
    "open-websockets": {"LEGACY_WS": "yes"},
    "with-cards": {},
}
CARDS = Path(__file__).with_name("cards")  # a driver to be asked, in the place of the machine's
NUMBERS = itertools.count(1)


class Worlds:
    """The servers of one executor, each started when a recording first needs it."""

    def __init__(self, executor: str) -> None:
        self.executor = executor
        self._worlds: dict[str, World] = {}
        self._stack = ExitStack()

    def __getitem__(self, server: str) -> World:
        if server not in self._worlds:
            kind = WithCards if server == "with-cards" else Serving
            serving = kind(EXECUTORS[self.executor] | SERVERS[server])
            self._stack.callback(serving.close)
            serving.start()
            world = self._worlds[server] = World(serving)
            self._stack.callback(world.close)
        return self._worlds[server]

    def close(self) -> None:
        self._stack.close()


class WithCards(Serving):
    """A server whose machine says that it has two GPUs, one of which says little."""

    def environment(self, fault: str | None = None) -> dict[str, str]:
        return super().environment(fault) | {"PYTHONPATH": str(CARDS)}


class World:
    """One server with what is on it."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.port = serving.port
        self.api: Api = serving.api()

    def close(self) -> None:
        """Let nothing run on: programs leave before their pipelines end."""
        for found in self.api.get("/v1/pipelines?limit=500")["pipelines"]:
            if found["status"] not in ENDED:
                self.api.ask("POST", f"/v1/pipelines/{found['id']}/cancel")
                self.api.finished(found["id"])

    def finish(self, name: str) -> str:
        """Launch a job and wait for its end."""
        pipeline = self.api.launch(name)
        self.api.finished(pipeline)
        return pipeline

    @cached_property
    def words(self) -> str:
        """A job in a folder: two tasks, one after the other, with a file beside them."""
        counted = task("count", "echo one; echo two; echo three", image="meadml/mead2-gpu:latest")
        after = task("after", "cat $ODIN_WORK_PATH/after.txt", "count", image="interactions/odin-ml:latest")
        self.api.push("replay/words", job(counted, after), **{"after.txt": "counted\n"})
        return "replay/words"

    @cached_property
    def finished(self) -> str:
        return self.finish(self.words)

    @cached_property
    def breaks(self) -> str:
        """A task fails, and the one after it is never started."""
        self.api.push("replay/breaks", job(task("breaks", "echo oops; exit 3"), task("after", "true", "breaks")))
        return "replay/breaks"

    @cached_property
    def failed(self) -> str:
        return self.finish(self.breaks)

    @cached_property
    def running(self) -> str:
        """A task runs for as long as it is let, and another waits for it."""
        self.api.push("replay/slow", job(task("slow", "echo begun; sleep 1000"), task("after", "true", "slow")))
        pipeline = self.api.launch("replay/slow")
        self.api.executing(f"{pipeline}--slow")
        until(lambda: self.api.get(f"/v1/resources/{pipeline}--slow/logs")["logs"] == "begun\n")
        return pipeline

    @cached_property
    def talks(self) -> str:
        """A job whose task writes its lines one by one."""
        self.api.push("replay/talks", job(task("talk", "for word in one two three; do echo $word; sleep 0.1; done")))
        return "replay/talks"

    @cached_property
    def chatty(self) -> str:
        """A pipeline whose task wrote 2 MB."""
        self.api.push("replay/chatty", job(task("chat", "seq 1 300000")))
        return self.finish("replay/chatty")

    @cached_property
    def empty(self) -> str:
        self.api.post("/v1/jobs", {"job": {"name": "replay/empty"}})
        return "replay/empty"

    @cached_property
    def form(self) -> str:
        """A job with a template: its file is filled in with the context of a launch."""
        told = task("tell", "cat $ODIN_WORK_PATH/told.txt")
        self.api.push("replay/form", job(told), **{"told.txt.jinja2": "rate {{ lr }}\n"})
        return "replay/form"


class Values(Mapping[str, str]):
    """The ``${names}`` of one replay: what it kept, what is made for it alone, and what the world has.

    ``${job__}`` is ``${job}`` as programs write it in a URL: ``a__b`` for ``a/b``.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._own: dict[str, str] = {}

    def keep(self, name: str, value: str) -> None:
        self._own[name] = value

    def __getitem__(self, name: str) -> str:
        if name.endswith("__"):
            return self[name.removesuffix("__")].replace("/", "__")
        if name in self._own:
            return self._own[name]
        if name in ALONE:
            self._own[name] = ALONE[name](self._world)
            return self._own[name]
        return KNOWN[name](self._world)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *ALONE, *KNOWN])

    def __len__(self) -> int:
        return len([*iter(self)])


def _somebody(world: World) -> str:
    name = f"eve{next(NUMBERS)}"
    world.api.post("/v1/users", {"user": {"username": name, "password": PASSWORD, "role": "editor"}})
    return name


def _job(world: World) -> str:
    name = f"replay/own{next(NUMBERS)}"
    world.api.push(name, job(task("count", "echo one")), **{"after.txt": "counted\n"})
    return name


def _started(world: World) -> str:
    """A pipeline that is running when the program comes to take it away."""
    world.api.push("replay/stays", job(task("stay", "sleep 1000")))
    pipeline = world.api.launch("replay/stays")
    world.api.executing(f"{pipeline}--stay")
    return pipeline


Making = Callable[[World], str]
ALONE: dict[str, Making] = {
    "new": lambda world: f"new{next(NUMBERS)}",  # a name that nothing has yet
    "somebody": _somebody,
    "own_job": _job,
    "done": lambda world: world.finish(world.words),
    "started": _started,
    "talking": lambda world: world.api.launch(world.talks),
}
KNOWN: dict[str, Making] = {
    "token": lambda world: str(world.api.token),
    "user": lambda world: USER,
    "password": lambda world: PASSWORD,
    "words": lambda world: world.words,
    "talks": lambda world: world.talks,
    "breaks": lambda world: world.breaks,
    "chatty": lambda world: world.chatty,
    "empty": lambda world: world.empty,
    "form": lambda world: world.form,
    "finished": lambda world: world.finished,
    "failed": lambda world: world.failed,
    "running": lambda world: world.running,
}
