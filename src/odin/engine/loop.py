"""The engine: one thread that takes events, steps, commits, and then carries out what the committed state demands.

    changes = step(world, events)      pure, in ``odin.model``
    commit(changes)                    one transaction for all events of the turn
    carry out what is due              launch, stop, recall, acknowledge, forget: each may be repeated

Nothing is launched that is not first recorded; nothing is answered that is not committed. What is due is derived
from committed state, so a start after a crash needs no other code than ``World.adopt``. While a commit is in flight
new events gather, and no timer delays a batch; only what nobody waits for (a task began to run) waits for others,
at most ``LAZY_S``. Source: architecture.md, "The loop".
"""

from __future__ import annotations

import logging
import selectors
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from odin.engine.clock import Clock
from odin.engine.feed import Feed
from odin.engine.inbox import Inbox, Item
from odin.engine.launches import Launches
from odin.executors.protocol import Executor, Place, TaskLaunch
from odin.faults import reach
from odin.model.admission import Pool
from odin.model.commands import Built, Event, Submit, Tick
from odin.model.errors import Conflict, NoSpace, OdinError, Unavailable
from odin.model.ids import PipelineId
from odin.model.job import TaskSpec
from odin.model.reports import Away, Back, Ended, Reason
from odin.model.states import AttemptState
from odin.model.step import step
from odin.model.world import Attempt, Changes, Due, Pipeline, Task, World
from odin.store import loading
from odin.store.commit import Promise, commit
from odin.store.database import Database, translated

MOST_EVENTS = 512
LAZY_S = 0.05
RETRY_S = 0.5
LONGEST_SLEEP_S = 30.0
MOST_FAILED_TURNS = 5

log = logging.getLogger("odin.engine")


class LocalPlace(Executor, Place, Protocol):
    """An executor with its connection: what the engine drives."""


class Engine:
    """Drives pipelines. ``post`` and ``submit`` may be called from any thread, the rest by the owner."""

    def __init__(
        self,
        database: Database,
        place: LocalPlace,
        launches: Launches,
        build: Callable[[Pipeline], None],
        *,
        clock: Clock | None = None,
        feed: Feed | None = None,
    ) -> None:
        """``build`` makes a pipeline's checkout and run folder; it may block and be repeated."""
        self.feed = feed or Feed()
        self.clock = clock or Clock()
        self.failure: str | None = None
        self._database = database
        self._place = place
        self._launches = launches
        self._build = build
        self._world = self._empty_world()
        self._inbox = Inbox()
        self._reports: list[Event] = []
        self._waiting: list[Item] = []
        self._finals: dict[PipelineId, list[Future[None]]] = {}
        self._lazy_since: float | None = None
        self._retry_at: float | None = None
        self._failed_turns = 0
        self._stopping = False
        self._builders = ThreadPoolExecutor(2, "odin-build")
        self._thread = threading.Thread(target=self._run, name="odin-engine", daemon=True)

    # --- for other threads

    def start(self) -> None:
        """Read what is in flight, connect to the place, and begin."""
        self._connection = self._database.connect_writer()
        self._load()
        self._place.open()
        self._inbox.ring()
        self._thread.start()

    def stop(self) -> None:
        """Finish the commit in hand and let go of the place; tasks run on. May be repeated."""
        if self._stopping:
            return
        self._stopping = True
        self._inbox.ring()
        if self._thread.ident is not None:
            self._thread.join()
        self._builders.shutdown(wait=True, cancel_futures=True)
        self._inbox.close()

    @property
    def away(self) -> str | None:
        """Why the place where tasks run cannot be reached; None while it can."""
        return self._world.away

    @property
    def in_flight(self) -> int:
        return len(self._world.pipelines)

    def lacks(self, task: TaskSpec) -> str | None:
        """What the place can never give to a task, in words."""
        return self._world.pool.lacks(task)

    def post(self, event: Event) -> Future[None]:
        """Hand an event over; the future resolves once what it changed is committed."""
        done: Future[None] = Future()
        self._put(Item(event, done))
        return done

    def submit(self, event: Submit, promise: Promise | None = None) -> Future[None]:
        """Begin a pipeline; resolves once it is committed, with the answer that is kept for a repeated request.

        Raises (through the future) Conflict when the id was given before, NoSpace or Unavailable from the store.
        """
        done: Future[None] = Future()
        self._put(Item(event, done, promise))
        return done

    def when_final(self, pipeline: PipelineId) -> Future[None]:
        """Resolves once the pipeline is final and committed; at once if it is not in flight."""
        done: Future[None] = Future()
        self._finals.setdefault(pipeline, []).append(done)
        self._inbox.ring()
        return done

    def _put(self, item: Item) -> None:
        if self._stopping or self.failure is not None:
            raise Unavailable(self.failure or "the server is stopping; try again in a moment")
        self._inbox.put(item)

    # --- the thread

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._inbox, selectors.EVENT_READ)
            selector.register(self._place.fileno(), selectors.EVENT_READ)
            while not self._stopping and self.failure is None:
                selector.select(self._patience())
                self._turn()
            self._last_turn()

    def _last_turn(self) -> None:
        """Commit what is known, refuse what still waits, let go of the place."""
        if self.failure is None:
            self._turn(last=True)
        refusal = Unavailable(self.failure or "the server is stopping; try again in a moment")
        for item in (*self._waiting, *self._inbox.take(1_000_000)):
            _fail(item, refusal)
        self._place.close()
        self._connection.close()

    def _patience(self) -> float:
        """How long nothing needs to be done if nothing happens."""
        if self._reports:
            return 0.0
        now = self.clock.now()
        moments = [self._world.next_timer(), self._retry_at]
        if self._lazy_since is not None:
            moments.append(self._lazy_since + LAZY_S)
        due = min((moment for moment in moments if moment is not None), default=now + LONGEST_SLEEP_S)
        return min(max(due - now, 0.0), LONGEST_SLEEP_S)

    def _turn(self, *, last: bool = False) -> None:
        try:
            self._step()
            if self._ready_to_commit(last):
                self._commit()
            self._failed_turns = 0
        except Exception:  # border: turn
            log.exception("a turn of the engine failed; reading everything back from the database")
            self._recover()

    def _step(self) -> None:
        events: list[Event] = []
        items = self._inbox.take(MOST_EVENTS)
        self._waiting.extend(item for item in items if item.done is not None)
        events.extend(item.event for item in items)
        events.extend(self._take_reports())
        now = self.clock.now()
        due_at = self._world.next_timer()
        if due_at is not None and due_at <= now:
            events.append(Tick())
        if events:
            reach("engine:events-taken")
            step(self._world, events, now)

    def _take_reports(self) -> list[Event]:
        self._reports.extend(self._place.reports())
        taken, self._reports = self._reports[:MOST_EVENTS], self._reports[MOST_EVENTS:]
        for report in taken:
            if isinstance(report, Back):
                self._forget_final(report)
            elif isinstance(report, Away):
                log.warning("%s", report.message)
        return taken

    def _forget_final(self, back: Back) -> None:
        """Of what the place still keeps, forget what is final here: the order may have been lost."""
        with self._database.reader() as connection:
            known = loading.final(connection, back.pipelines)
        self._place.forget([identity for identity in known if identity not in self._world.pipelines])

    # --- the commit

    def _ready_to_commit(self, last: bool) -> bool:
        now = self.clock.now()
        if self._retry_at is not None and now < self._retry_at and not last:
            return False
        if not self._world.changes or self._world.changes.urgent or last:
            return True
        if self._lazy_since is None:
            self._lazy_since = now
        return now >= self._lazy_since + LAZY_S

    def _commit(self) -> None:
        lost: set[PipelineId] = set()
        changes = self._world.changes
        if changes:
            try:
                lost = self._write(changes)
            except (Unavailable, NoSpace) as error:
                self._put_off(error)
                return
        self._retry_at = self._lazy_since = None
        self._world.take_changes()
        for pipeline in changes.pipelines.values():
            pipeline.saved_seq = pipeline.seq
        for identity in lost:
            self._reload(identity)
        self._answer(lost)
        self._carry_out(self._world.take_due())
        self.feed.publish({pipeline.id: pipeline.seq for pipeline in changes.pipelines.values()})

    def _write(self, changes: Changes) -> set[PipelineId]:
        promises = [item.promise for item in self._waiting if item.promise is not None]
        reach("engine:before-commit")
        with translated(), self._connection.begin():
            lost = commit(self._connection, changes, promises, now=self.clock.now())
            reach("engine:in-commit")
        reach("engine:after-commit")
        return lost

    def _put_off(self, error: OdinError) -> None:
        """The store cannot write now: refuse what is new, keep what has happened, and try again soon."""
        log.warning("the commit of %d pipelines is put off: %s", len(self._world.changes.pipelines), error)
        new = {each.id for each in self._world.changes.submitted}
        for identity in new:
            self._world.drop(identity)
        self._world.changes = self._world.changes.without(new)
        refused = [item for item in self._waiting if isinstance(item.event, Submit)]
        self._waiting = [item for item in self._waiting if item not in refused]
        for item in refused:
            _fail(item, error)
        self._retry_at = self.clock.now() + RETRY_S

    def _answer(self, lost: set[PipelineId]) -> None:
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if isinstance(item.event, Submit) and item.event.submission.id in lost:
                _fail(item, Conflict("this pipeline id was given before"))
            elif item.done is not None:
                item.done.set_result(None)

    # --- effects of committed state

    def _carry_out(self, due: Due) -> None:
        for pipeline in due.build:
            self._builders.submit(self._build_one, pipeline)
        if self._world.away is None:
            self._hand_over(due)
        self._tell_final()

    def _hand_over(self, due: Due) -> None:
        """Tell the place what it must do. While it is away nothing is told: all of it is derived again on ``Back``."""
        if due.recall:
            self._place.recall(due.recall)
        launches = [launch for each in due.launch if (launch := self._launch(*each)) is not None]
        if launches:
            self._place.launch(launches)
        for pipeline, task, attempt in due.stop:
            if attempt.state is not AttemptState.ENDED:
                message = pipeline.stop_message or task.reason or ""
                self._place.stop(
                    pipeline.attempt_id(task),
                    kind=task.spec.resource_type,
                    grace_s=task.spec.grace_s,
                    message=message,
                )
        if due.acknowledge:
            self._place.acknowledge(due.acknowledge)
        if due.forget:
            self._place.forget(due.forget)

    def _tell_final(self) -> None:
        for identity in list(self._finals):
            if identity not in self._world.pipelines:
                for done in self._finals.pop(identity):
                    done.set_result(None)

    def _launch(self, pipeline: Pipeline, task: Task, attempt: Attempt) -> TaskLaunch | None:
        if task.attempt is not attempt or attempt.state is not AttemptState.PLANNED or attempt.stop is not None:
            return None
        try:
            return self._launches.build(pipeline, task, attempt)
        except OdinError as error:
            refused = Ended(pipeline.attempt_id(task), None, Reason.REFUSED, self.clock.now(), str(error))
            self._reports.append(refused)
            return None

    def _build_one(self, pipeline: Pipeline) -> None:
        error = None
        try:
            self._build(pipeline)
        except OdinError as failed:
            error = str(failed)
        except OSError as failed:
            error = f"the checkout could not be made: {failed.strerror}"
        self._inbox.put(Item(Built(pipeline.id, error)))

    # --- from rows to memory

    def _empty_world(self) -> World:
        capacity = self._place.capacity()
        return World(Pool(capacity.cpu_m, capacity.cards))

    def _load(self) -> None:
        with self._database.reader() as connection:
            for identity in loading.in_flight(connection):
                found = loading.load(connection, identity)
                if found is not None:
                    self._world.adopt(found)

    def _reload(self, identity: PipelineId) -> None:
        log.warning("pipeline %s was changed by somebody else; reading it back", identity)
        self._world.drop(identity)
        with self._database.reader() as connection:
            found = loading.load(connection, identity)
        if found is not None:
            self._world.adopt(found)

    def _recover(self) -> None:
        """Memory may be wrong after a failed turn; the rows are right. Refuse what waited, recall what is open."""
        self._failed_turns += 1
        for item in self._waiting:
            _fail(item, Unavailable("the engine had to restart; try again"))
        self._waiting, self._reports = [], []
        if self._failed_turns >= MOST_FAILED_TURNS:
            self.failure = "the engine failed several times in a row; see the server's log, then restart it"
            return
        away = self._world.away
        self._world = self._empty_world()
        try:
            self._load()
        except OdinError as error:
            log.warning("the pipelines could not be read back: %s", error)
            self._retry_at = self.clock.now() + RETRY_S
        self._world.away = away
        if away is None:
            self._reports.append(Back())


def _fail(item: Item, error: OdinError) -> None:
    if item.done is not None and not item.done.done():
        item.done.set_exception(error)
