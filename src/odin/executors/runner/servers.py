"""The servers that are connected, what each brought along, and which of them drives which pipeline.

An answer goes to who asked. What becomes of an attempt later goes to who drives its pipeline: who named its highest
fence, and of two with the same fence who connected later. Where that one is gone nobody is told: the next one recalls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .wire import Connection

HOLD_S = 0.02
STARTED = '{"op":"started"'


class Greeting(NamedTuple):
    """What a server says of itself: the environment and user of its tasks, and how much they may take at once.

    ``cpu_m`` is in thousandths of CPUs, None without limit; ``cards`` are the GPUs that may be given to tasks.
    ``hears`` are the words that not every server knows.
    """

    env: dict[str, str]
    user: str | None
    cpu_m: int | None = None
    cards: tuple[str, ...] = ()
    hears: frozenset[str] = frozenset()


def greeting(hello: dict[str, Any]) -> Greeting:
    """That of an older server says nothing of CPUs and GPUs, and less of what it hears."""
    cards, hears = tuple(hello.get("cards", ())), frozenset(hello.get("hears", ()))
    return Greeting(dict(hello["env"]), hello["user"], hello.get("cpu"), cards, hears)


@dataclass(slots=True, eq=False)
class Server:
    """``number`` counts the connections. ``lines`` are still to be told."""

    link: Connection
    number: int
    greeting: Greeting
    lines: list[str] = field(default_factory=list)
    _is_urgent: bool = False
    _held_until: float | None = None

    def tell(self, lines: Iterable[str], now: float) -> None:
        """Starts wait a little for company: nothing hangs on them, and many tasks end before they are told."""
        for line in lines:
            self.lines.append(line)
            self._is_urgent = self._is_urgent or not line.startswith(STARTED)
        if self.lines and self._held_until is None:
            self._held_until = now + HOLD_S

    def due_in(self, now: float) -> float | None:
        """Seconds until something must be told; None if there is nothing."""
        if self._held_until is None:
            return None
        return 0.0 if self._is_urgent else max(0.0, self._held_until - now)

    def send(self) -> bool:
        """False when it is gone or stuck."""
        lines, self.lines = self.lines, []
        self._is_urgent, self._held_until = False, None
        return self.link.send(lines)


class Servers:
    """``connected``, oldest first. ``gone`` are those that left, as long as something that they said is not done."""

    def __init__(self) -> None:
        self.connected: list[Server] = []
        self.gone: list[Server] = []
        self._driving: dict[str, tuple[int, Server]] = {}
        self._count = 0

    def greet(self, link: Connection, hello: dict[str, Any]) -> Server:
        """What those who left had still to say is discarded: who comes asks for what it must know."""
        self._count += 1
        server = Server(link, self._count, greeting(hello))
        self.connected.append(server)
        self.gone.clear()
        return server

    def knows(self, link: Connection) -> bool:
        return any(server.link is link for server in self.connected)

    def leave(self, link: Connection) -> bool:
        """Whether it was a server, and the last one."""
        left = [server for server in self.connected if server.link is link]
        self.connected = [server for server in self.connected if server.link is not link]
        self.gone += left
        return bool(left) and not self.connected

    def talking(self) -> list[Server]:
        """Who has said something that is not done yet."""
        self.gone = [server for server in self.gone if server.link.requests]
        return [server for server in (*self.gone, *self.connected) if server.link.requests]

    def note(self, server: Server, pipeline: str, fence: int) -> None:
        """It has named a fence that counts."""
        had = self._driving.get(pipeline)
        if had is None or (fence, server.number) >= (had[0], had[1].number):
            self._driving[pipeline] = fence, server

    def outranks(self, server: Server, pipeline: str) -> bool:
        """Whether another one drives the pipeline, as far as is known."""
        had = self._driving.get(pipeline)
        return had is not None and had[1] is not server

    def driver(self, pipeline: str) -> Server | None:
        """None where it is not connected, or nobody has named the pipeline yet."""
        had = self._driving.get(pipeline)
        return had[1] if had is not None and had[1] in self.connected else None

    def listeners(self, pipeline: str) -> list[Server]:
        """Who is told of it: all, while nobody has named it."""
        if pipeline not in self._driving:
            return self.connected
        return [driver] if (driver := self.driver(pipeline)) is not None else []

    def forget(self, pipelines: Iterable[str]) -> None:
        for pipeline in pipelines:
            self._driving.pop(pipeline, None)
