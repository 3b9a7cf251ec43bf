"""One seeded run: what happens when, and where it goes wrong.

Time is virtual: a heap of what happens next. Every moment that is seen from outside a server is counted, and faults
fall on counted moments, so that they hit the narrow places as often as the wide ones. The same seed is the same run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from odin.executors.protocol import Capacity
from odin.model.ids import PipelineId
from odin.model.world import Changes
from simulation.judge import Judge, Violation
from simulation.memory import Memory, Row
from simulation.people import Person
from simulation.place import Place
from simulation.server import LAUNCHES, Crash, Server

BEGIN = 1_000_000.0
MOST_EVENTS = 20_000  # far above what any schedule needs: one that takes more turns in circles
MOST_IN_DAYS = 10 * MOST_EVENTS  # where tasks take days: people look every 20 s all the time
QUIET_AFTER = 300  # moments; after them nothing goes wrong any more, and all must come to its end
QUIET_AFTER_S = 3600.0
LONGEST_S, DAYS_S = 30.0, 60_000.0  # of a task, and in every fourth schedule of one server: there it costs nothing
PUT_BACK = 0.2  # how often the database is older than it was when the last server has died
FAULTS = ("crash", "crash", "crash", "cut", "cut", "fail", "fail", "stop", "runner", "away", "jump")
FAILURES = ("unavailable", "full", "broken", "late", "doubted", "unknown")


@dataclass(frozen=True, slots=True)
class Result:
    """How a schedule went. ``violation`` is None if all held."""

    seed: int
    violation: str | None
    moments: int
    faults: int
    commits: int
    attempts: int
    virtual_s: float


class Schedule:
    """The run of one seed. ``trace`` is told what happens."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.now = BEGIN
        self.jumped_s = 0.0
        self.has_jumped = False
        self.moments = self.faults = 0
        self.servers: list[Server] = []
        self.launches = LAUNCHES
        self._trace = trace
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._store_back_at = BEGIN
        self._is_stopped = self._has_reconnected = False
        cluster = self.rng.random() < 0.4
        cards = ("0", "1")[: self.rng.randrange(3)]
        self.capacity = Capacity(None) if cluster else Capacity(self.rng.choice((1000, 2000, 4000)), cards)
        self.homes = self.rng.choice((1, 1, 2, 3))
        self.several = self.homes > 1
        self.longest_s = DAYS_S if seed % 4 == 0 and not self.several else LONGEST_S
        self.most_events = MOST_IN_DAYS if self.longest_s == DAYS_S else MOST_EVENTS
        self.collides = self.rng.random() < 0.1  # people are given ids that are taken
        self.judge = Judge(self)
        self.memory = Memory(self.judge)
        self.place = Place(self, cluster=cluster, cpu_m=self.capacity.cpu_m, cards=self.capacity.cards)
        self.people = [Person(self, number) for number in range(self.rng.choice((1, 1, 1, 2, 2, 3)))]
        self._often = self.rng.choice((8, 25, 80, 10_000))
        self._strike_at = self._gap()

    @property
    def wall(self) -> float:
        """What clocks show."""
        return self.now + self.jumped_s

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.moments > QUIET_AFTER or self.now > BEGIN + QUIET_AFTER_S * self.longest_s / LONGEST_S

    @property
    def store_is_away(self) -> bool:
        return self.now < self._store_back_at

    # --- time

    def at(self, when: float, act: Callable[..., None], *words: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, act, words))

    def after(self, wait_s: float, act: Callable[..., None], *words: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self.now + wait_s, self._order, act, words))

    def run(self) -> Result:
        violation = None
        try:
            self._begin()
            self._go_on(self._is_over)
            self.judge.close()
        except Violation as found:
            violation = str(found)
        return Result(
            self.seed,
            violation,
            self.moments,
            self.faults,
            self.judge.commits,
            len(self.judge.starts),
            self.now - BEGIN,
        )

    def _begin(self) -> None:
        for home in range(self.homes):
            self._start_server(home)
        for person in self.people:
            self.after(self.rng.choice((0.0, 0.1, 20.0)) * self.rng.random(), person.act)

    def _go_on(self, until: Callable[[], bool]) -> None:
        heap = self._heap
        while not until():
            if not heap:
                self.judge.blame(f"stuck: nothing will ever happen again, and {self._left()}")
            self.now, _, act, words = heapq.heappop(heap)
            if self._order > self.most_events:
                self.judge.blame(f"stuck: it goes round in circles, and {self._left()}")
            act(*words)

    def _is_over(self) -> bool:
        if self.memory.unfinished or not self.servers or not all(person.done for person in self.people):
            return False
        if self.place.bodies and self.several and not self._has_reconnected:
            # What a server that is gone did not forget is told when another one connects.
            self._has_reconnected = True
            self.after(60.0, self._cut, None)
        return not self.place.bodies

    def _left(self) -> str:
        rows = [str(identity) for identity, row in self.memory.rows.items() if row.outcome is None]
        people = [person.pipeline for person in self.people if not person.done]
        return f"left are pipelines {rows}, bodies {list(self.place.bodies)}, people {people}"

    def person(self, former: Row) -> None:
        """One more who asks."""
        person = Person(self, len(self.people), former)
        self.people.append(person)
        self.after(self.rng.random(), person.act)

    # --- servers

    def any_server(self) -> Server | None:
        """One that answers, if there is one."""
        there = [server for server in self.servers if not server.paused]
        return there[int(len(there) * self.rng.random())] if there else None

    def _start_server(self, home: int) -> None:
        self.note("server starts", home)
        server = Server(self, home)
        self.servers.append(server)
        server.start()

    def server_died(self, server: Server) -> None:
        self.note("server dies", server.home)
        self.servers.remove(server)
        if not self.servers and self.rng.random() < PUT_BACK:
            self.note("the fences of the database are put back")
            self.memory.put_back()
        self.after(self.rng.choice((0.01, 1.0, 20.0)) * self.rng.random(), self._start_server, server.home)

    # --- faults

    def moment(self, server: Server | None = None, where: str = "") -> None:
        """Something is seen from outside. ``server`` is in a turn, before or after ``where``; else none is."""
        self.moments += 1
        if self.moments < self._strike_at:
            return
        if self.is_quiet:
            return
        self._strike_at = self.moments + self._gap()
        self.faults += 1
        fault = self.rng.choice(FAULTS)
        self.note("FAULT", fault, where)
        getattr(self, f"_{fault}")(server)

    def _gap(self) -> int:
        return 1 + int(self.rng.expovariate(1 / self._often))

    def _crash(self, server: Server | None) -> None:
        if server is not None:
            raise Crash
        if (other := self.any_server()) is not None:
            other.die()

    def _cut(self, server: Server | None) -> None:
        if (one := server or self.any_server()) is not None:
            one.link.cut("the connection is gone")

    def _runner(self, _server: Server | None) -> None:
        self.place.die()

    def _fail(self, server: Server | None) -> None:
        """The next commit fails, or nobody knows whether it did."""
        if (one := server or self.any_server()) is not None:
            # Whether a commit of unknown outcome happened is seen by its ids.
            one.session.failing = self.rng.choice(FAILURES[: -2 if self.collides else None])

    def _away(self, _server: Server | None) -> None:
        """The store cannot be reached, neither to read nor to write."""
        self._store_back_at = self.now + self.rng.choice((0.1, 2.0, 30.0)) * self.rng.random()

    def _jump(self, _server: Server | None) -> None:
        """The wall clock is set; servers that run do not notice."""
        self.has_jumped = True
        self.jumped_s += self.rng.choice((-7200.0, -60.0, -1.0, 1.0, 60.0, 7200.0))

    def _stop(self, server: Server | None) -> None:
        """A server is stopped where it is, in the middle of a turn; the world goes on, and then it does."""
        if server is None or self._is_stopped:
            self._crash(server)
            return
        server.paused = self._is_stopped = True
        until = self.now + self.rng.choice((0.01, 1.0, 60.0)) * self.rng.random()
        self._go_on(lambda: not self._heap or self._heap[0][0] > until)
        self.now = until
        server.paused = self._is_stopped = False
        self.note("goes on", server.home)
        if server.mate is not None and self.rng.random() < 0.5:
            server.mate.beat()  # its other thread is faster

    def heard(self, verb: str, words: tuple[Any, ...]) -> None:
        if self._trace is not None:
            first = [task.attempt for task in words[0]] if verb == "launch" else words[0]
            self.note("place hears", verb, first)

    def committed(self, changes: Changes, lost: set[PipelineId]) -> None:
        if self._trace is not None:
            told = [f"{event.type} {event.pipeline} {event.idx or ''}" for event in changes.events]
            self.note("commit", "; ".join(told), f"LOST {sorted(lost)}" if lost else "")

    def note(self, *words: object) -> None:
        if self._trace is not None:
            self._trace(f"{self.now - BEGIN:12.6f} #{self.moments:<5} {' '.join(map(str, words))}")
