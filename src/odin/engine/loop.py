"""The engine's thread: it sleeps until there is something to do, and does it in turns.

What a turn is stands in ``odin.engine.turns``. While a commit is in flight new events gather in the inbox, and no
timer delays a batch. Source: architecture.md, "The loop".
"""

from __future__ import annotations

import errno
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from odin.engine.clock import Clock
from odin.engine.crew import Crew
from odin.engine.feed import Feed
from odin.engine.inbox import Inbox, Item
from odin.engine.launches import Launches
from odin.engine.turns import MOST_EVENTS, LocalPlace, Turns
from odin.model.commands import Built, Event, Halt, Submit
from odin.model.errors import OdinError, Unavailable
from odin.model.ids import PipelineId
from odin.model.job import TaskSpec
from odin.model.states import Stop
from odin.model.world import Pipeline
from odin.store.commit import ALONE, Promise
from odin.store.database import Database
from odin.store.hearsay import Hearsay
from odin.store.leases import Leases
from odin.store.others import Others
from odin.store.rows import Rows

STUCK_S = 3.0
ACT_S = 1.0  # what is handed over takes less
BUILD_PATIENCE_S = 60.0
BUILD_PAUSE_S = 0.5
STOPPING = "the server is stopping; try again in a moment"


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
        leases: Leases | None = None,
    ) -> None:
        """``build`` makes a pipeline's checkout and run folder; it may block and be repeated.

        With ``leases`` other servers may be on the same database.
        """
        self.feed = feed or Feed()
        self.clock = clock or Clock()
        self._leases = leases
        self._crew = self._in_crew(database, leases) if leases is not None else None
        self._rows = Rows(database, leases.driver if leases is not None else ALONE)
        self._place = place
        self._build = build
        self._inbox = Inbox()
        self._turns = Turns(
            self._rows, place, launches, self._begin_build, clock=self.clock, feed=self.feed, may_act=self._may_act
        )
        self._taken: deque[PipelineId] = deque()
        self._turning_since: float | None = None
        self._stopping = False
        self._builders = ThreadPoolExecutor(2, "odin-build")
        self._thread = threading.Thread(target=self._run, name="odin-engine", daemon=True)

    # --- for other threads

    def start(self) -> None:
        """Read what is in flight, connect to the place, and begin."""
        self._rows.open()
        if self._crew is not None:
            self._crew.start()
        self._turns.load()
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
        if self._crew is not None:
            self._crew.stop()
        self._builders.shutdown(wait=True, cancel_futures=True)
        self._inbox.close()

    @property
    def failure(self) -> str | None:
        """Why it has given up; None while it has not."""
        return self._turns.failure

    @property
    def away(self) -> str | None:
        """Why the place where tasks run cannot be reached; None while it can."""
        return self._turns.world.away

    @property
    def in_flight(self) -> int:
        return len(self._turns.world.pipelines)

    def lacks(self, task: TaskSpec) -> str | None:
        """What the place can never give to a task, in words."""
        return self._turns.world.pool.lacks(task)

    @property
    def is_stuck(self) -> bool:
        """Whether a turn takes so long that another server should rather drive."""
        since = self._turning_since
        return since is not None and time.monotonic() - since > STUCK_S

    def drives(self, pipeline: PipelineId) -> bool:
        """Whether this server drives it, as far as memory knows."""
        return pipeline in self._turns.world.pipelines

    def take_over(self, pipelines: Iterable[PipelineId]) -> None:
        """Drive these too, which the rows say are ours."""
        self._taken.extend(pipelines)
        self._inbox.ring()

    def others(self) -> list[str]:
        """The other servers that live on the same database. Raises Unavailable."""
        return self._leases.others() if self._leases is not None else []

    def halt(self, pipeline: PipelineId, stop: Stop, message: str) -> Future[None]:
        """Stop a pipeline, whoever drives it; resolves once that is durable. May block for a moment."""
        if self._crew is None:
            return self.post(Halt(pipeline, stop, message))
        self._crew.ask(pipeline, stop, message)
        done: Future[None] = Future()
        done.set_result(None)
        return done

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
        self._turns.finals.setdefault(pipeline, []).append(done)
        self._inbox.ring()
        return done

    def _put(self, item: Item) -> None:
        if self._stopping or self.failure is not None:
            raise Unavailable(self.failure or STOPPING)
        self._inbox.put(item)

    # --- the thread

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._inbox, selectors.EVENT_READ)
            selector.register(self._place.fileno(), selectors.EVENT_READ)
            while not self._stopping and self.failure is None:
                selector.select(self._turns.patience())
                self._turning_since = time.monotonic()
                self._turn()
                self._turning_since = None
            self._last_turn()

    def _turn(self) -> None:
        if self._taken:
            self._turns.take_over([self._taken.popleft() for _ in range(len(self._taken))])
        self._turns.turn(self._inbox.take(MOST_EVENTS))
        if self._crew is not None and self._turns.moved:
            self._turns.moved = False
            self._crew.tell()

    def _may_act(self) -> bool:
        return self._leases is None or self._leases.holds(ACT_S)

    def _in_crew(self, database: Database, leases: Leases) -> Crew:
        return Crew(leases, Hearsay(database), Others(database, leases.driver.owner, self.clock.now), self, self.feed)

    def _last_turn(self) -> None:
        """Commit what is known, refuse what still waits, let go of the place."""
        if self.failure is None:
            self._turns.turn(self._inbox.take(MOST_EVENTS), last=True)
        self._turns.refuse(self._inbox.take(1_000_000), Unavailable(self.failure or STOPPING))
        self._place.close()
        self._rows.close()

    def _begin_build(self, pipeline: Pipeline) -> None:
        self._builders.submit(self._build_one, pipeline)

    def _build_one(self, pipeline: Pipeline) -> None:
        """What may pass by itself fails no pipeline: it is tried again, and after a stop by the next server."""
        until = time.monotonic() + BUILD_PATIENCE_S
        while may_pass(error := self._build_failure(pipeline)):
            if self._stopping:
                return
            if time.monotonic() > until:
                break
            time.sleep(BUILD_PAUSE_S)
        said = f"the checkout could not be made: {error.strerror}" if isinstance(error, OSError) else str(error)
        self._inbox.put(Item(Built(pipeline.id, said if error else None)))

    def _build_failure(self, pipeline: Pipeline) -> OdinError | OSError | None:
        try:
            self._build(pipeline)
        except (OdinError, OSError) as error:
            return error
        return None


def may_pass(error: Exception | None) -> bool:
    """Whether it is one of a database or repository that is away, or of too many open files. Source: F-10, F-40."""
    return isinstance(error, Unavailable) or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
