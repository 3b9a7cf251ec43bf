"""A turn of the engine: take events, step, commit, and then carry out what the committed state demands.

    changes = step(world, events)      pure, in ``odin.model``
    commit(changes)                    one transaction for all events of the turn
    carry out what is due              launch, stop, recall, acknowledge, forget: each may be repeated

Nothing is launched that is not first recorded; nothing is answered that is not committed. What is due is derived
from committed state, so a start after a crash needs no other code than ``World.adopt``. No timer delays a batch;
only what nobody waits for (a task began to run) waits for others, at most ``LAZY_S``. Neither threads nor waiting in
here: ``odin.engine.loop`` calls it when there is something to do, and so does the simulator of the tests.
Source: architecture.md, "The loop".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Protocol

from odin.engine.clock import Clock
from odin.engine.feed import Feed
from odin.engine.inbox import Item
from odin.engine.launches import Launches
from odin.executors.protocol import Executor, Place, TaskLaunch
from odin.faults import reach
from odin.model.admission import Pool
from odin.model.commands import Event, Halt, Submit, Tick
from odin.model.errors import Conflict, NoSpace, OdinError, OutcomeUnknown, Unavailable
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Absent, Away, Back, Ended, Outdated, Reason, Report
from odin.model.states import AttemptState
from odin.model.step import step
from odin.model.world import Attempt, Changes, Due, Pipeline, Task, World
from odin.store.commit import Promise

MOST_EVENTS = 512
LAZY_S = 0.05
RETRY_S = 0.5
PATIENCE_S = 5.0  # of who waits for a commit of unknown outcome
LONGEST_SLEEP_S = 30.0
MOST_FAILED_TURNS = 5

NOTHING = Due()
MOVED = "the pipeline was changed by somebody else meanwhile; try again"
OLDER = "the runner knows later owners of pipelines than the database, as if that had been put back to an older state"
GIVEN_BEFORE = "this pipeline id was given before"

log = logging.getLogger("odin.engine")


class LocalPlace(Executor, Place, Protocol):
    """An executor with its connection: what the engine drives."""


class Store(Protocol):
    """What turns need of the store; ``odin.store.rows.Rows`` is the real one. Raises Unavailable, NoSpace."""

    def commit(self, changes: Changes, promises: Mapping[PipelineId, Promise], *, now: float) -> set[PipelineId]:
        """Write a turn, all of it or nothing; the pipelines that were left out, as ``odin.store.commit`` says.

        Raises OutcomeUnknown where it may have been written; ``settle`` comes before anything else then.
        """

    def settle(self, changes: Changes) -> set[PipelineId] | None:
        """What that commit left out; None if it was not written, and will not be any more."""

    def in_flight(self) -> list[Pipeline]:
        """Every pipeline that is not final, oldest first."""

    def load(self, ids: Sequence[PipelineId]) -> list[Pipeline]:
        """Those of the ids that are in flight, neither final nor gone."""

    def raise_fences(self, seen: Mapping[PipelineId, int]) -> list[PipelineId]:
        """Put the fences of those driven here above the ones given; the pipelines where that was needed."""

    def final(self, ids: Sequence[PipelineId]) -> list[PipelineId]:
        """Those of the ids that nothing is owed to any more."""


class Turns:
    """The engine without its thread. ``build`` hands a pipeline over to be built, and does not block."""

    def __init__(
        self,
        store: Store,
        place: LocalPlace,
        launches: Launches,
        build: Callable[[Pipeline], None],
        *,
        clock: Clock,
        feed: Feed,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_act`` says whether no other server can have taken over what is driven here."""
        self.failure: str | None = None
        self.moved = False  # something was committed; who looks sets it back
        self.finals: dict[PipelineId, list[Future[None]]] = {}
        self._store = store
        self._place = place
        self._launches = launches
        self._build = build
        self._clock = clock
        self._feed = feed
        self._may_act = may_act
        self.world = self._empty_world()
        self._reports: list[Event] = []
        self._back = Back()
        self._ends: dict[AttemptId, None] = {}  # heard since then, and not acknowledged
        self._away = self.world.away
        self._seen: dict[PipelineId, int] = {}  # fences above those that were used here, which the place knows
        self._is_stale = False
        self._doubted: tuple[Changes, float] | None = None  # may have been committed; since when that is not known
        self._waiting: list[Item] = []
        self._lazy_since: float | None = None
        self._retry_at: float | None = None
        self._failed_turns = 0

    def load(self) -> None:
        """Take over what the rows say is in flight."""
        for pipeline in self._store.in_flight():
            self.world.adopt(pipeline)

    def take_over(self, pipelines: Sequence[PipelineId]) -> None:
        """Drive these too: their rows say from now on that they are ours."""
        taken = set(pipelines)
        self._give_up(taken)
        # What was absent before may have been launched by who had them meanwhile. Of others nobody would ask again.
        heard = *self._reports, *self._hear()
        self._reports = [each for each in heard if not (isinstance(each, Absent) and _of(each) in taken)]
        try:
            if not self._is_stale:
                self._reload(pipelines)
            self.world.due.acknowledge += self._ends  # of what another server did not come to
        except Unavailable as error:
            log.warning("pipelines that were taken over cannot be read yet: %s", error)
            self._start_over()

    def _give_up(self, pipelines: set[PipelineId]) -> None:
        """What was still to be committed of these would be refused; who waits for it asks again."""
        self.world.changes = self.world.changes.without(pipelines)
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if isinstance(item.event, Halt) and item.event.pipeline in pipelines:
                _fail(item, Unavailable(MOVED))
            else:
                self._waiting.append(item)

    def patience(self) -> float:
        """How long nothing needs to be done if nothing happens."""
        now = self._clock.now()
        if self._is_stale:
            return max((self._retry_at or now) - now, 0.0)
        if self._reports or self._seen:
            return 0.0
        moments = [self.world.next_timer(), self._retry_at]
        if self._lazy_since is not None and self._retry_at is None:
            moments.append(self._lazy_since + LAZY_S)
        due = min((moment for moment in moments if moment is not None), default=now + LONGEST_SLEEP_S)
        return min(max(due - now, 0.0), LONGEST_SLEEP_S)

    def turn(self, items: Sequence[Item], *, last: bool = False) -> None:
        """Do all that these and the place's reports and the time demand; ``last`` commits what could wait."""
        try:
            if self._is_stale and not self._read_back():
                self._turn_away(items)
                return
            self._overtake()
            self._step(items)
            if self._ready_to_commit(last):
                self._commit()
            self._failed_turns = 0
        except Unavailable as error:
            log.warning("a turn of the engine was given up: %s", error)
            self._start_over()
        except Exception:  # border: turn
            log.exception("a turn of the engine failed; reading everything back from the database")
            self._recover()

    def refuse(self, items: Sequence[Item], error: OdinError) -> None:
        """Fail these and all that still wait for their commit."""
        for item in (*self._waiting, *items):
            _fail(item, error)

    def _turn_away(self, items: Sequence[Item]) -> None:
        """The store is away. Who waits for a commit of unknown outcome is not told so before it has to be."""
        error = Unavailable("the engine cannot read the database now; try again")
        if self._doubted is None:
            self.refuse(items, error)
            return
        for item in items:
            _fail(item, error)
        if self._clock.now() >= self._doubted[1] + PATIENCE_S:
            self.refuse((), OutcomeUnknown("the database went away; whether this was done is not known"))

    def _overtake(self) -> None:
        """Go on under a later fence than the place has seen, where the rows say that it is still us who drive."""
        seen, self._seen = self._seen, {}
        if not seen or not self._may_act():
            return  # said again, to whoever asks about these again
        if raised := self._store.raise_fences(seen):
            log.warning("%s; driven on all the same: %s", OLDER, ", ".join(raised))
            self.take_over(raised)

    def _step(self, items: Sequence[Item]) -> None:
        events = self._take_items(items)
        events.extend(self._take_reports())
        now = self._clock.now()
        due_at = self.world.next_timer()
        if due_at is not None and due_at <= now:
            events.append(Tick())
        if events:
            reach("engine:events-taken")
            step(self.world, events, now)

    def _take_items(self, items: Sequence[Item]) -> list[Event]:
        events: list[Event] = []
        given: set[PipelineId] = set()
        for item in items:
            if isinstance(item.event, Submit):
                identity = item.event.submission.id
                known = identity in self.world.pipelines or identity in self.world.changes.pipelines
                if known or identity in given:
                    _fail(item, Conflict(GIVEN_BEFORE))  # in memory it would take the other's place
                    continue
                given.add(identity)
            if item.done is not None:
                self._waiting.append(item)
            events.append(item.event)
        return events

    def _take_reports(self) -> list[Event]:
        self._reports.extend(self._hear())
        taken, self._reports = self._reports[:MOST_EVENTS], self._reports[MOST_EVENTS:]
        for report in taken:
            if isinstance(report, Back):
                self._forget_final(report.pipelines)
        return taken

    def _hear(self) -> list[Report]:
        """What the place says. Whether it is there is known from now on, whatever becomes of the turn."""
        heard = self._place.reports()
        for report in heard:
            if isinstance(report, Ended):
                self._ends[report.attempt] = None
            elif isinstance(report, Back):
                self._back, self._away = report, None
                self._ends.clear()  # it tells them again
            elif isinstance(report, Away):
                self._away = report.message
                log.warning("%s", report.message)
            elif isinstance(report, Outdated):
                self._seen[split_resource(report.attempt)[0]] = report.fence
        return [report for report in heard if not isinstance(report, Outdated)]

    def _forget_final(self, kept: Sequence[PipelineId]) -> None:
        """Of what the place still keeps, forget what is final here: the order may have been lost."""
        known = [identity for identity in self._store.final(kept) if identity not in self.world.pipelines]
        if known:
            self._place.forget(known)

    # --- the commit

    def _ready_to_commit(self, last: bool) -> bool:
        now = self._clock.now()
        if self._retry_at is not None and now < self._retry_at and not last:
            return False
        if not self.world.changes or self.world.changes.urgent or last:
            return True
        if self._lazy_since is None:
            self._lazy_since = now
        return now >= self._lazy_since + LAZY_S

    def _commit(self) -> None:
        lost: set[PipelineId] = set()
        changes = self.world.changes
        if changes:
            try:
                lost = self._write(changes)
            except OutcomeUnknown as error:
                log.warning("%s", error)
                self._doubted = changes, self._clock.now()
                self._start_over()
                return
            except (Unavailable, NoSpace) as error:
                self._put_off(error)
                return
        self._retry_at = self._lazy_since = None
        self.world.take_changes()
        for pipeline in changes.pipelines.values():
            pipeline.saved_seq = pipeline.seq
        if lost:
            log.warning("changed by somebody else, reading back: %s", ", ".join(sorted(lost)))
            self._reload(sorted(lost))
        self._answer(lost)
        reach("engine:answered")
        self._carry_out()
        reach("engine:carried-out")
        self._feed.publish({pipeline.id: pipeline.seq for pipeline in changes.pipelines.values()})
        self.moved |= bool(changes)

    def _write(self, changes: Changes) -> set[PipelineId]:
        promises = {
            item.event.submission.id: item.promise
            for item in self._waiting
            if item.promise is not None and isinstance(item.event, Submit)
        }
        reach("engine:before-commit")
        lost = self._store.commit(changes, promises, now=self._clock.now())
        reach("engine:after-commit")
        return lost

    def _put_off(self, error: OdinError) -> None:
        """The store cannot write now: refuse what is new, keep what has happened, and try again soon."""
        if self._retry_at is None:  # said once
            log.warning("commits are put off: %s", error)
        new = {each.id for each in self.world.changes.submitted}
        for identity in sorted(new):
            self.world.drop(identity)
        self.world.changes = self.world.changes.without(new)
        refused = [item for item in self._waiting if isinstance(item.event, Submit)]
        self._waiting = [item for item in self._waiting if item not in refused]
        for item in refused:
            _fail(item, error)
        self._retry_at = self._clock.now() + RETRY_S

    def _answer(self, lost: set[PipelineId]) -> None:
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if isinstance(item.event, Submit) and item.event.submission.id in lost:
                _fail(item, Conflict(GIVEN_BEFORE))
            elif isinstance(item.event, Halt) and item.event.pipeline in lost:
                _fail(item, Unavailable(MOVED))
            elif item.done is not None:
                _resolve(item.done)

    # --- effects of committed state

    def _carry_out(self) -> None:
        due = self.world.due
        if due != NOTHING and not self._may_act():
            log.warning("this server was away for longer than its lease; what it drove may be another's by now")
            self._start_over()
            return
        for pipeline in due.build:
            self._build(pipeline)
        if self.world.away is None:
            self._hand_over(due)
        self.world.take_due()
        self._tell_final()

    def _hand_over(self, due: Due) -> None:
        """Tell the place what it must do. While it is away nothing is told: all of it is derived again on ``Back``."""
        if due.recall:
            self._place.recall(due.recall)
        launches = [launch for each in due.launch if (launch := self._launch(*each)) is not None]
        if launches:
            reach("place:before-launch")
            self._place.launch(launches)
            reach("place:launched")
        for pipeline, task, attempt in due.stop:
            if attempt.state is not AttemptState.ENDED:
                message = pipeline.stop_message or task.reason or ""
                self._place.stop(
                    pipeline.attempt_id(task),
                    kind=task.spec.resource_type,
                    grace_s=task.spec.grace_s,
                    message=message,
                )
                reach("place:stopped")
        if ended := self._committed(due):
            self._place.acknowledge(ended)
            reach("place:acknowledged")
        if due.forget:
            self._place.forget(due.forget)
            reach("place:forgotten")

    def _committed(self, due: Due) -> list[AttemptId]:
        """The ends that may be acknowledged: those in the rows. Another server may drive what is not known here."""
        ended = {each: split_resource(each)[0] for each in due.acknowledge if each not in self.world.open}
        others = {each for each in ended.values() if each not in self.world.pipelines and each not in due.forget}
        if others:
            others -= set(self._store.final(sorted(others)))
        known = [attempt for attempt, pipeline in ended.items() if pipeline not in others]
        for attempt in known:
            self._ends.pop(attempt, None)
        return known

    def _tell_final(self) -> None:
        for identity in list(self.finals):
            if identity not in self.world.pipelines:
                for done in self.finals.pop(identity):
                    _resolve(done)

    def _launch(self, pipeline: Pipeline, task: Task, attempt: Attempt) -> TaskLaunch | None:
        if task.attempt is not attempt or attempt.state is not AttemptState.PLANNED or attempt.stop is not None:
            return None
        try:
            return self._launches.build(pipeline, task, attempt)
        except OdinError as error:
            refused = Ended(pipeline.attempt_id(task), None, Reason.REFUSED, self._clock.now(), str(error))
            self._reports.append(refused)
            return None

    # --- from rows to memory

    def _empty_world(self) -> World:
        capacity = self._place.capacity()
        return World(Pool(capacity.cpu_m, capacity.cards))

    def _reload(self, ids: Sequence[PipelineId]) -> None:
        for identity in ids:
            self.world.drop(identity)
        for pipeline in self._store.load(ids):
            self.world.adopt(pipeline)
        self._reports.append(Tick())  # what they may start now is given out in a step, which nothing else may bring
        if gone := [identity for identity in ids if identity not in self.world.pipelines]:
            self._forget_final(gone)

    def _recover(self) -> None:
        """Memory may be wrong after a failed turn; the rows are right. Refuse what waited, recall what is open."""
        self._failed_turns += 1
        if self._failed_turns >= MOST_FAILED_TURNS:
            self.refuse((), Unavailable("the engine had to restart; try again"))
            self.failure = "the engine failed several times in a row; see the server's log, then restart it"
            return
        self._start_over()

    def _start_over(self) -> None:
        if self._doubted is None:
            self.refuse((), Unavailable("the engine had to restart; try again"))
            self._waiting = []
        self._is_stale = True
        self._retry_at = None

    def _read_back(self) -> bool:
        """Make memory anew from the rows; False while they cannot be read. The place repeats what it is asked again."""
        self._hear()
        now = self._clock.now()
        if self._retry_at is not None and now < self._retry_at:
            return False
        if not self._may_act():
            self._retry_at = now + RETRY_S
            return False
        try:
            self._settle()
            found = self._store.in_flight()
        except OdinError as error:
            log.warning("the pipelines cannot be read back: %s", error)
            self._retry_at = now + RETRY_S
            return False
        owed = self.world.due
        self.world = self._empty_world()
        for pipeline in found:
            self.world.adopt(pipeline)
        self.world.due.acknowledge = list(self._ends)
        self.world.away = self._away
        self._reports = [Back((*self._back.pipelines, *owed.forget))] if self._away is None else []
        self._is_stale = False
        self._retry_at = self._lazy_since = None
        return True

    def _settle(self) -> None:
        """Answer who waits for a commit of unknown outcome, once that is known."""
        if self._doubted is None:
            return
        changes, _ = self._doubted
        lost = self._store.settle(changes)
        self._doubted = None
        if lost is None:
            self.refuse((), Unavailable("the database went away before this was done; try again"))
            self._waiting = []
            return
        self._answer(lost)
        self._feed.publish({pipeline.id: pipeline.seq for pipeline in changes.pipelines.values()})


def _of(report: Absent) -> PipelineId:
    return split_resource(report.attempt)[0]


def _resolve(done: Future[None]) -> None:
    with suppress(InvalidStateError):  # who asked has gone, or was told that it is not known
        done.set_result(None)


def _fail(item: Item, error: OdinError) -> None:
    if item.done is not None:
        with suppress(InvalidStateError):
            item.done.set_exception(error)
