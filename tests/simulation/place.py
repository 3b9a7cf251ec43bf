"""The place where tasks run, a machine or a cluster, and the connection of a server to it.

It keeps the promises of ``odin.executors.protocol`` and nothing more: what is said of one attempt comes in order, of
several in any order, late, and often twice; a connection that breaks takes all with it that is on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from odin.executors.protocol import Capacity, TaskLaunch
from odin.model.admission import shape
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Absent, Away, Back, Ended, Held, Outdated, Placed, Reason, Recall, Report, Started

if TYPE_CHECKING:
    from simulation.schedule import Schedule
    from simulation.server import Server

# How bodies end by themselves, in a machine and in a cluster.
MACHINE_ENDS = ((1, Reason.EXIT), (139, Reason.SIGNAL), (None, Reason.LOST), (127, Reason.NOT_STARTED))
CLUSTER_ENDS = (
    *MACHINE_ENDS,
    (137, Reason.OOM),
    (None, Reason.EVICTED),
    (None, Reason.PREEMPTED),
    (None, Reason.NODE_LOST),
    (None, Reason.DELETED),
)
NEVER_ENDS = ((None, Reason.REFUSED), (None, Reason.IMAGE), (None, Reason.UNPLACED))


class Body:
    """One attempt as its place knows it."""

    __slots__ = ("acknowledged", "attempt", "end", "life", "pipeline", "ran", "started_at", "task")

    def __init__(self, attempt: AttemptId, task: TaskLaunch | None) -> None:
        self.attempt = attempt
        self.pipeline = split_resource(attempt)[0]
        self.task = task
        self.started_at: float | None = None  # None again while it is suspended
        self.ran = False
        self.end: Ended | None = None
        self.acknowledged = False
        self.life = 0  # what was planned for it before a change is void


class Place:
    """It outlives servers. ``starts`` and ``ends`` are what really happened, for the judge."""

    def __init__(self, schedule: Schedule, *, cluster: bool, cpu_m: int | None, cards: tuple[str, ...]) -> None:
        self.capacity = Capacity(cpu_m, cards)
        self.bodies: dict[AttemptId, Body] = {}
        self.links: list[Link] = []
        self.blind = False  # the runner is dead: ends are not seen
        self._schedule = schedule
        self._random = schedule.rng.random
        self._cluster = cluster
        self._ends = CLUSTER_ENDS if cluster else MACHINE_ENDS
        self._fences: dict[PipelineId, int] = {}
        self._forgotten: set[PipelineId] = set()
        self._waiting: dict[AttemptId, TaskLaunch] = {}  # on a machine, for what the tasks of others have
        self._marks: set[AttemptId] = set()  # whatever ever had a start record

    def kept(self) -> tuple[PipelineId, ...]:
        return tuple(dict.fromkeys(body.pipeline for body in self.bodies.values()))

    # --- what the engine asks

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        for task in tasks:
            body = self.bodies.get(task.attempt)
            if body is not None:
                self._repeat(body)
            elif self._admits(task.origin.pipeline, task.fence):
                self._waiting[task.attempt] = task
                self._give_room()
                if task.attempt in self._waiting:
                    self._say(Held(task.attempt, "others have the room"))
            else:
                self._say(Outdated(task.attempt, self._fences[task.origin.pipeline]))

    def stop(self, attempt: AttemptId, message: str, grace_s: float) -> None:
        self._waiting.pop(attempt, None)
        body = self.bodies.get(attempt)
        if body is None and attempt in self._marks:
            return  # forgotten, so it is over and everybody knows
        if body is None:
            body = self._body(attempt, None)
        if body.end is not None:
            self._repeat(body)
        elif body.started_at is None:
            self._end(body, None, Reason.VOID, message)
        elif self._random() < 0.2:
            self._plan(body, grace_s * self._random(), 0, Reason.EXIT, "")  # it minds the signal, and ends well
        else:
            self._plan(body, min(grace_s, 10.0 * self._random()), 143, Reason.STOPPED, message)

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        for attempt, asked in attempts.items():
            pipeline = split_resource(attempt)[0]
            if admitted := self._admits(pipeline, asked.fence):
                self._waiting.pop(attempt, None)
            else:
                self._say(Outdated(attempt, self._fences[pipeline]))
            body = self.bodies.get(attempt)
            if body is not None:
                self._repeat(body)
            elif attempt in self._marks:
                self._say(Ended(attempt, None, Reason.LOST, self._schedule.wall))
            elif admitted:
                self._say(Absent(attempt, asked.fence))

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        for attempt in attempts:
            if attempt in self.bodies:
                self.bodies[attempt].acknowledged = True
                if self.bodies[attempt].pipeline in self._forgotten:
                    del self.bodies[attempt]

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        """A cluster keeps what was not acknowledged: its log is kept only then."""
        for body in [each for each in self.bodies.values() if each.pipeline in pipelines and each.end is not None]:
            if body.acknowledged or not self._cluster:
                del self.bodies[body.attempt]
            self._forgotten.add(body.pipeline)

    def greet(self, link: Link) -> None:
        """What nobody has acknowledged is told again on a new connection."""
        for body in self.bodies.values():
            if body.end is not None and not body.acknowledged:
                link.hear(body.end)

    # --- what happens there

    def die(self) -> None:
        """The runner is killed: bodies run on, and how they end meanwhile is not seen."""
        self.blind = True
        self._waiting.clear()
        self._schedule.after(0.2 + 3 * self._random(), self._revive)
        for link in list(self.links):
            link.cut("the runner is gone")

    def _revive(self) -> None:
        self.blind = False

    def _give_room(self) -> None:
        """Start those that wait, in order, as far as nothing is given twice."""
        for task in list(self._waiting.values()):
            running = [each.task for each in self.bodies.values() if each.task is not None and each.end is None]
            free = [card for card in self.capacity.cards if not any(card in each.cards for each in running)]
            cpu_m = sum(self._cpu_of(each) for each in (*running, task))
            if self.capacity.cpu_m is not None and (cpu_m > self.capacity.cpu_m or len(free) < len(task.cards)):
                return
            if self._waiting.pop(task.attempt, None) is None:
                continue  # one that could not begin made room for it
            if self._fences[task.origin.pipeline] <= task.fence:
                chosen = sorted(free, key=lambda card, asked=task.cards: card not in asked)  # type: ignore[misc]
                self._begin(replace(task, cards=tuple(chosen[: len(task.cards)])))

    def _cpu_of(self, task: TaskLaunch) -> int:
        return shape(task.spec, self.capacity.cpu_m).cpu_m

    def _admits(self, pipeline: PipelineId, fence: int) -> bool:
        seen = self._fences.get(pipeline, 0)
        self._fences[pipeline] = max(seen, fence)
        return fence >= seen

    def _body(self, attempt: AttemptId, task: TaskLaunch | None) -> Body:
        self._marks.add(attempt)
        body = self.bodies[attempt] = Body(attempt, task)
        return body

    def _begin(self, task: TaskLaunch) -> None:
        if task.attempt in self._marks:
            self._say(Ended(task.attempt, None, Reason.LOST, self._schedule.wall))
            return
        body = self._body(task.attempt, task)
        chance = self._random()
        if chance < 0.03:
            self._end(body, *NEVER_ENDS[int(chance * 100) if self._cluster else 0])
        elif self._cluster:
            self._say(Placed(body.attempt))
            self._wait(body)
        else:
            self._start(body)

    def _wait(self, body: Body) -> None:
        """In a cluster's queue: most start soon, some late, some never if their patience ends that."""
        chance = self._random()
        if chance < 0.2:
            self._say(Held(body.attempt, "no node has room for it"))
        if chance > 0.1:
            self._later(body, 0.2 * chance, self._start)
        elif body.task is None or body.task.spec.pending_timeout_s is None or body.task.origin.number > 1:
            self._later(body, 300 * chance, self._start)

    def _start(self, body: Body) -> None:
        task = body.task
        assert task is not None
        if not body.ran:
            self._schedule.judge.started(body.attempt, task)
        body.ran = True
        body.started_at = self._schedule.wall
        self._say(Started(body.attempt, body.started_at, cards=task.cards))
        chance = self._random()
        lasts_s = (0.0, 0.01, 1.0, self._schedule.longest_s)[int(4 * chance)] * (1 + self._random())
        if self._cluster and chance < 0.02:
            self._later(body, lasts_s, self._suspend)
        elif task.timeout_s is not None and lasts_s > task.timeout_s:
            self._plan(body, task.timeout_s, 143, Reason.TIMEOUT, "")
        elif self._random() < 0.75:
            self._plan(body, lasts_s, 0, Reason.EXIT, "")
        else:
            code, reason = self._ends[int(len(self._ends) * self._random())]
            self._plan(body, lasts_s, code, reason, "")

    def _suspend(self, body: Body) -> None:
        body.started_at = None
        self._say(Held(body.attempt, "it gave way to others"))
        self._later(body, 5 * self._random(), self._start)

    def _plan(self, body: Body, wait_s: float, code: int | None, reason: Reason, message: str) -> None:
        self._later(body, wait_s, partial(self._end, code=code, reason=reason, message=message))

    def _later(self, body: Body, wait_s: float, act: Any) -> None:
        body.life += 1
        self._schedule.after(wait_s, self._if_alive, body, body.life, act)

    def _if_alive(self, body: Body, life: int, act: Any) -> None:
        if body.life == life and body.end is None:
            act(body)

    def _end(self, body: Body, code: int | None, reason: Reason, message: str = "") -> None:
        if self.blind and body.started_at is not None:
            code, reason, message = None, Reason.LOST, "its runner was killed while it ran"
        body.end = Ended(body.attempt, code, reason, self._schedule.wall, message, body.started_at)
        self._schedule.judge.ended(body.end, body.task)
        self._say(body.end)
        self._give_room()

    def _repeat(self, body: Body) -> None:
        if body.end is not None:
            self._say(body.end)
        elif body.started_at is not None:
            self._say(Started(body.attempt, body.started_at, cards=body.task.cards if body.task is not None else ()))
        else:
            self._say(Placed(body.attempt) if self._cluster else Started(body.attempt, self._schedule.wall))

    def _say(self, report: Report) -> None:
        for link in self.links:
            link.hear(report)


class Link:
    """A server's way to the place: what ``Turns`` takes for an executor. A thing said is a while on its way."""

    def __init__(self, schedule: Schedule, place: Place, server: Server) -> None:
        self._schedule = schedule
        self._random = schedule.rng.random
        self._place = place
        self._server = server
        self._ready: list[Report] = []
        self._epoch = 0
        self._up = False
        self._closed = False
        self._sent_until = 0.0
        self._heard_until: dict[AttemptId, float] = {}

    # Place

    def open(self) -> None:
        self._schedule.after(0.05 * self._random(), self._connect)

    def close(self) -> None:
        self._closed = True
        self._hang_up()

    def fileno(self) -> int:
        raise NotImplementedError

    def capacity(self) -> Capacity:
        return self._place.capacity

    def cut(self, why: str) -> None:
        """The connection breaks, and what is on its way is lost in both directions."""
        if self._up:
            self._hang_up()
            self._ready.append(Away(why))
            self._server.wake()
            self._schedule.after(3 * self._random() ** 4, self._connect)

    def _connect(self) -> None:
        if self._closed or self._up:
            return
        if self._place.blind:
            self._schedule.after(0.3, self._connect)
            return
        self._up = True
        self._place.links.append(self)
        self._ready.append(Back(self._place.kept()))
        self._server.wake()
        self._place.greet(self)

    def _hang_up(self) -> None:
        if self._up:
            self._place.links.remove(self)
        self._up = False
        self._epoch += 1
        self._heard_until.clear()

    # Executor

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        for task in tasks:
            self._schedule.judge.launching(self._server, task)
        self._send("launch", tasks)

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        self._send("stop", attempt, message, grace_s)

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        self._send("recall", attempts)

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        self._schedule.judge.acknowledging(attempts)
        self._send("acknowledge", attempts)

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        self._schedule.judge.forgetting(pipelines)
        self._send("forget", pipelines)

    def reports(self) -> list[Report]:
        ready, self._ready = self._ready, []
        return ready

    def _send(self, verb: str, *words: Any) -> None:
        self._server.moment(verb)
        if self._up:
            self._sent_until = max(self._sent_until, self._schedule.now + self._lag())
            self._schedule.at(self._sent_until, self._arrive, self._epoch, verb, words)

    def _arrive(self, epoch: int, verb: str, words: tuple[Any, ...]) -> None:
        if epoch == self._epoch:
            self._schedule.heard(verb, words)
            getattr(self._place, verb)(*words)
            self._schedule.moment()

    def hear(self, report: Report) -> None:
        """A report sets out; a second copy may follow."""
        attempt = getattr(report, "attempt")  # noqa: B009 - only reports of attempts come here
        until = max(self._heard_until.get(attempt, 0.0), self._schedule.now + self._lag())
        self._heard_until[attempt] = until
        self._schedule.at(until, self._come, self._epoch, report)
        if self._random() < 0.05 and type(report) in (Placed, Started, Ended):
            self._schedule.at(until + 5 * self._random(), self._come, self._epoch, report)

    def _come(self, epoch: int, report: Report) -> None:
        if epoch == self._epoch:
            self._schedule.note("engine hears", report)
            self._ready.append(report)
            self._server.wake()
            self._schedule.moment()

    def _lag(self) -> float:
        chance = self._random()
        return 0.002 * chance if chance < 0.9 else 20 * (chance - 0.9)
