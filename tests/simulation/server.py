"""A server: the real turns of the engine on the store in memory and the place of the simulation.

It can die before and after everything that is seen from outside it: a commit, each call to the place, each answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from odin.engine.clock import Clock
from odin.engine.feed import Feed
from odin.engine.inbox import Item
from odin.engine.launches import Launches
from odin.engine.loop import ACT_S
from odin.engine.turns import LONGEST_SLEEP_S, Turns
from odin.model.commands import Built, Event
from odin.model.errors import NoSpace, OutcomeUnknown, Unavailable
from odin.model.ids import JobPath, PipelineId, Sha
from odin.model.world import Changes, Pipeline
from odin.store.commit import Promise
from simulation.fleet import Mate
from simulation.place import Link

if TYPE_CHECKING:
    from simulation.schedule import Schedule

SHORTEST_SLEEP_S = 0.001  # as ``select`` has it
PATHS = {"TASK_PATH": "/task"}


class Crash(BaseException):
    """The process of the server is gone, between two steps."""


class Injected(OSError):
    """A fault that the schedule wanted: not a bug."""


class Session:
    """A server's way to the store, as ``odin.engine.turns.Store`` wants it. What others drive is not given out."""

    def __init__(self, schedule: Schedule, server: Server) -> None:
        self._memory = schedule.memory
        self._server = server
        self.failing: str | None = None

    def _reach(self) -> None:
        if self._server.schedule.store_is_away:
            raise Unavailable("the database cannot be reached")

    def commit(self, changes: Changes, promises: Mapping[PipelineId, Promise], *, now: float) -> set[PipelineId]:
        self._server.moment("before commit")
        self._reach()
        failing, self.failing = self.failing, None
        if failing == "unavailable":
            raise Unavailable("the database is locked by another process; try again")
        if failing == "full":
            raise NoSpace("the database's disk is full")
        if failing == "broken":
            raise Injected("before the commit")
        if failing == "doubted":
            raise OutcomeUnknown("the connection died before the commit")
        lost = self._memory.commit(changes, promises, self._server, now)
        self._server.schedule.committed(changes, lost)
        if failing == "unknown":
            raise OutcomeUnknown("the connection died after the commit")
        if failing == "late":
            raise Injected("after the commit")
        self._server.moment("after commit")
        return lost

    def settle(self, changes: Changes) -> set[PipelineId] | None:
        """By what the rows say, as ``odin.store.rows`` does it."""
        self._server.moment("settle")
        self._reach()
        found = self._memory.positions(changes.pipelines)
        there = {each.id for each in changes.submitted if each.id in found}
        moved = {name for name, each in changes.pipelines.items() if found.get(name) == (each.fence, each.seq)}
        happened = there | moved
        return changes.pipelines.keys() - happened if happened else None

    def in_flight(self) -> list[Pipeline]:
        """All of them for a server that is alone, else those that it drives."""
        self._reach()
        if self._server.mate is None:
            for row in self._memory.rows.values():
                row.owner = self._server
        found = [row for row in self._memory.rows.values() if row.outcome is None and row.owner is self._server]
        return [self._memory.load(row) for row in found]

    def load(self, ids: Sequence[PipelineId]) -> list[Pipeline]:
        self._reach()
        found = [self._memory.rows[identity] for identity in ids if identity in self._memory.rows]
        return [self._memory.load(row) for row in found if row.outcome is None and row.owner is self._server]

    def raise_fences(self, seen: Mapping[PipelineId, int]) -> list[PipelineId]:
        self._reach()
        rows = self._memory.rows
        return self._memory.raise_fences(
            {
                identity: fence
                for identity, fence in seen.items()
                if identity in rows and rows[identity].owner is self._server
            }
        )

    def final(self, ids: Sequence[PipelineId]) -> list[PipelineId]:
        self._reach()
        return self._memory.final(ids)


class Paths:
    def values(
        self, pipeline: PipelineId, version: Sha, job: JobPath, task: str, *, own_work: bool = False
    ) -> dict[str, str]:
        return PATHS

    def files(self, pipeline: PipelineId, attempt: str) -> dict[str, str]:
        return {}


class ServerClock(Clock):
    """Wall time as it was when the server started, and no jump after that."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._jumped_s = schedule.jumped_s

    def now(self) -> float:
        return self._schedule.now + self._jumped_s


class Watched(Turns):
    """Only faults that the schedule wanted may fail a turn."""

    blame: Callable[[str], None]

    def _recover(self) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, Injected):
            self.blame(f"a turn failed: {type(error).__name__}: {error}")
        super()._recover()


class Server:
    """One process. ``watchers`` look at what was answered after each turn."""

    def __init__(self, schedule: Schedule, home: int) -> None:
        """``home`` is its data folder, where it starts again."""
        self.schedule = schedule
        self.home = home
        self.alive = True
        self.mate = Mate(schedule, self) if schedule.several else None
        self.session = Session(schedule, self)
        self.link = Link(schedule, schedule.place, self)
        self.inbox: list[Item] = []
        self.asked: list[tuple[Future[None], Callable[[Future[None] | None], None]]] = []
        self.clock = ServerClock(schedule)
        self.turns = Watched(
            self.session,
            self.link,
            schedule.launches,
            self._build,
            clock=self.clock,
            feed=Feed(),
            may_act=self._may_act,
        )
        self.turns.blame = schedule.judge.blame
        self.paused = False
        self.in_turn = False
        self.is_stuck = False
        self._taken: list[PipelineId] = []
        self._wake_at: float | None = None

    def start(self) -> None:
        try:
            if self.mate is not None:
                self.mate.join()
            self.turns.load()
        except Unavailable:
            self.die()
            return
        self.link.open()
        self.wake()

    def moment(self, where: str) -> None:
        """Something outside is about to be seen, or was: here the schedule may strike."""
        self.schedule.moment(self if self.in_turn else None, where)

    # --- what the crew asks

    def take_over(self, pipelines: list[PipelineId]) -> None:
        self._taken += pipelines
        self.wake()

    def post(self, event: Event) -> Future[None]:
        done: Future[None] = Future()
        self.inbox.append(Item(event, done))
        self.wake()
        return done

    def _may_act(self) -> bool:
        return self.mate is None or self.mate.leases.holds(ACT_S)

    # --- what people ask

    def ask(self, event: Event, heard: Callable[[Future[None] | None], None], promise: Promise | None = None) -> None:
        """Post an event; ``heard`` is given the resolved future, or None if the server died first."""
        done: Future[None] = Future()
        self.inbox.append(Item(event, done, promise))
        self.asked.append((done, heard))
        if self.schedule.rng.random() < 0.03:  # who asked does not wait for the answer
            self.schedule.after(0.01 * self.schedule.rng.random(), done.cancel)
        self.wake()

    def ask_final(self, pipeline: PipelineId, heard: Callable[[Future[None] | None], None]) -> None:
        done: Future[None] = Future()
        self.turns.finals.setdefault(pipeline, []).append(done)
        self.asked.append((done, heard))
        self.wake()

    # --- turns

    def wake(self) -> None:
        """There is something to do: a turn follows soon."""
        chance = self.schedule.rng.random()
        self._turn_at(self.schedule.now + (0.001 * chance if chance < 0.95 else 10 * (chance - 0.95)))

    def _turn_at(self, when: float) -> None:
        if self._wake_at is None or when < self._wake_at:
            self._wake_at = when
            self.schedule.at(when, self._turn, when)

    def _turn(self, when: float) -> None:
        if not self.alive or self._wake_at != when:
            return
        if self.paused:
            self._wake_at = when + 1.0
            self.schedule.at(when + 1.0, self._turn, when + 1.0)
            return
        self._wake_at = None
        items, self.inbox = self.inbox, []
        self.in_turn = True
        try:
            if self._taken:
                taken, self._taken = self._taken, []
                self.turns.take_over(taken)
            self.turns.turn(items)
        except Crash:
            self.die()
            return
        finally:
            self.in_turn = False
        self._answered()
        if self.turns.failure is not None:
            self.die()
            return
        if self.turns.moved and self.mate is not None:
            self.turns.moved = False
            self.mate.crew.tell()
        self._sleep()

    def _sleep(self) -> None:
        patience_s = self.turns.patience()
        if patience_s < LONGEST_SLEEP_S:
            self._turn_at(self.schedule.now + max(patience_s, SHORTEST_SLEEP_S))
        elif (timer := self.turns.world.next_timer()) is not None:
            self._turn_at(self.schedule.now + timer - self.clock.now())

    def _answered(self) -> None:
        if not self.asked:
            return
        over = [each for each in self.asked if each[0].done()]
        if over:
            self.asked = [each for each in self.asked if not each[0].done()]
            for done, heard in over:
                heard(None if done.cancelled() else done)

    def die(self) -> None:
        """Nothing of it is left but what the store and the place know."""
        self.alive = False
        self.link.close()
        asked, self.asked = self.asked, []
        for done, heard in asked:
            # What was resolved may have been answered just before.
            heard(done if done.done() and not done.cancelled() and self.schedule.rng.random() < 0.5 else None)
        self.schedule.server_died(self)

    def _build(self, pipeline: Pipeline) -> None:
        self.moment("build")
        chance = self.schedule.rng.random()
        error = "the checkout could not be made: no space left" if chance < 0.02 else None
        self.schedule.after(chance, self._built, pipeline.id, error)

    def _built(self, pipeline: PipelineId, error: str | None) -> None:
        if self.alive:
            self.inbox.append(Item(Built(pipeline, error)))
            self.wake()


LAUNCHES = Launches(Paths())
