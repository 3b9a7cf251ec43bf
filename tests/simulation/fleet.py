"""Several servers on one store: leases, orders and calls to one another, in memory and in virtual time.

The crew of ``odin.engine.crew`` is the real one; its threads are not started, the schedule beats for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odin.engine.crew import BEAT_S, Crew
from odin.engine.feed import Feed
from odin.model.errors import Unavailable
from odin.model.ids import PipelineId
from odin.model.states import Stop
from odin.store.leases import LEASE_S, Order

if TYPE_CHECKING:
    from simulation.schedule import Schedule
    from simulation.server import Server


QUIET_BEAT_S = 600.0  # where nothing goes wrong any more, few beats do


class Leases:
    """What ``odin.store.leases.Leases`` promises. A server is its own owner."""

    def __init__(self, schedule: Schedule, server: Server) -> None:
        self._schedule = schedule
        self._memory = schedule.memory
        self._server = server
        self._until = 0.0

    def take(self) -> None:
        """The lease of who was at home before is over."""
        self._reach()
        for other in [each for each in self._memory.leases if each.home == self._server.home]:
            del self._memory.leases[other]
        self.renew()
        self.take_over()

    def renew(self) -> None:
        self._reach()
        self._until = self._schedule.now + LEASE_S + (QUIET_BEAT_S if self._schedule.is_quiet else 0.0)
        self._memory.leases[self._server] = self._until

    def holds(self, for_s: float = 0.0) -> bool:
        return self._schedule.now + for_s < self._until

    def take_over(self) -> list[PipelineId]:
        self._reach()
        taken = []
        for identity, row in self._memory.rows.items():
            if row.outcome is None and self._memory.leases.get(row.owner, 0.0) <= self._schedule.now:
                self._memory.take_over(row, self._server)
                taken.append(identity)
        if taken:
            self._schedule.note("taken over", self._server.home, *taken)
        return taken

    def others(self) -> list[str]:
        self._reach()
        now = self._schedule.now
        return [
            str(each.home) for each, until in self._memory.leases.items() if each is not self._server and until > now
        ]

    def ask(self, pipeline: PipelineId, stop: Stop, message: str) -> None:
        self._reach()
        self._memory.ordered += 1
        self._memory.orders[self._memory.ordered] = Order(self._memory.ordered, pipeline, stop, message)

    def asked(self) -> list[Order]:
        self._reach()
        rows = self._memory.rows
        return [
            order
            for order in self._memory.orders.values()
            if order.pipeline in rows and rows[order.pipeline].owner is self._server
        ]

    def done(self, order: Order) -> None:
        self._reach()
        self._schedule.judge.carried_out(order)
        self._memory.orders.pop(order.number, None)

    def _reach(self) -> None:
        if self._schedule.store_is_away:
            raise Unavailable("the database cannot be reached")


class Hearsay:
    """What one says the others hear a moment later."""

    def __init__(self, schedule: Schedule, server: Server) -> None:
        self._schedule = schedule
        self._server = server

    def say(self, word: str = "") -> None:
        for other in self._schedule.servers:
            if other is not self._server and other.mate is not None:
                self._schedule.after(0.05 * self._schedule.rng.random(), other.mate.attend)


class Others:
    """Who watches is not simulated."""

    def look(self) -> tuple[dict[str, int], set[str]]:
        return {}, set()


class Mate:
    """One server's part in the crew, beaten by the schedule."""

    def __init__(self, schedule: Schedule, server: Server) -> None:
        self._schedule = schedule
        self._server = server
        self.leases = Leases(schedule, server)
        hearsay = Hearsay(schedule, server)
        self.crew = Crew(self.leases, hearsay, Others(), server, Feed())  # type: ignore[arg-type]

    def join(self) -> None:
        """Raises Unavailable."""
        self.leases.take()
        self._next()

    def _next(self) -> None:
        chance = self._schedule.rng.random()
        late = 4.0 if chance > 0.97 else 1 + 0.1 * chance
        self._schedule.after(QUIET_BEAT_S if self._schedule.is_quiet else BEAT_S * late, self._beat)

    def _beat(self) -> None:
        if self._server.alive:
            self.beat()
            self._next()

    def beat(self) -> None:
        """Renew, take over, do what was asked."""
        self._do(self.crew._renew)
        self.attend()

    def attend(self) -> None:
        self._do(self.crew._attend)

    def _do(self, act: object) -> None:
        if not self._server.alive or self._server.paused:
            return
        try:
            act()  # type: ignore[operator]
        except Unavailable as error:
            self.crew._put_off(error)
