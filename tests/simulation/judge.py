"""What must hold at every commit, every call and every start, whatever happens: I1 to I5 and I7 of reliability.md.

It knows what the bodies really did, which neither the engine nor the store is told, and reads what is committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from odin.executors.protocol import TaskLaunch
from odin.model.ids import AttemptId, PipelineId, attempt_id, split_resource, task_id
from odin.model.reports import Ended, Reason
from odin.model.states import FINAL, AttemptState, Outcome, TaskStatus
from odin.model.world import Happened, Submission
from odin.store.leases import Order
from simulation.memory import TASK, Row

if TYPE_CHECKING:
    from simulation.schedule import Schedule
    from simulation.server import Server

COMPLETED_AT = TASK.index("completed_at")

# Which budget pays for another attempt after an end, by the promise of job-files.md.
BUDGET = {
    Reason.EXIT: "user",
    Reason.SIGNAL: "user",
    Reason.TIMEOUT: "user",
    Reason.NOT_STARTED: "user",
    Reason.LOST: "user",
    Reason.OOM: "oom",
    Reason.EVICTED: "node",
    Reason.NODE_LOST: "node",
    Reason.PREEMPTED: "preempt",
}

# The state machine of a task as its history tells it: what may follow what.
OVER = frozenset({"executed", "failed", "terminated", "skipped"})
_OPEN = frozenset({"placed", "started", "held", "stopping", "suspended", "retrying", *OVER})
FOLLOWS: dict[str | None, frozenset[str]] = {
    None: frozenset({"queued", "planned", "kept", *OVER}),
    "queued": frozenset({"planned", *OVER}),
    "planned": _OPEN - {"suspended"},
    "placed": _OPEN - {"placed", "suspended"},
    "started": _OPEN - {"placed", "started"},
    "held": _OPEN,
    "suspended": _OPEN - {"placed", "suspended"},
    "stopping": _OPEN - {"retrying"},
    "retrying": frozenset({"queued", "planned", *OVER}),
    **dict.fromkeys((*OVER, "kept"), frozenset()),
}


class Violation(BaseException):
    """Something that must never happen did. Not an Exception: no border of the engine may catch it."""


class Judge:
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.starts: Counter[str] = Counter()
        self.commits = 0
        self._running: dict[AttemptId, TaskLaunch] = {}
        self._ends: dict[AttemptId, Ended] = {}
        self._done: set[str] = set()  # tasks of which an attempt has ended well
        self._submissions: dict[str, dict[PipelineId, Submission]] = {}
        self._accepted: dict[str, PipelineId] = {}
        self._removed: set[PipelineId] = set()
        self._told: dict[tuple[PipelineId, int], str] = {}
        self._seqs: dict[PipelineId, int] = {}
        self._halted: dict[PipelineId, Happened] = {}
        self._open: dict[AttemptId, tuple[int, tuple[str, ...]]] = {}
        capacity = schedule.capacity
        self._cpu_m = capacity.cpu_m
        self._cards = frozenset(capacity.cards)

    def blame(self, sentence: str) -> None:
        raise Violation(sentence)

    # --- what bodies do

    def started(self, attempt: AttemptId, task: TaskLaunch) -> None:
        """A body begins."""
        self.starts[attempt] += 1
        pipeline, name, _ = split_resource(attempt)
        if self.starts[attempt] > 1:
            self.blame(f"{attempt} was started twice")
        whole = task_id(pipeline, str(name))
        if whole in self._done:
            self.blame(f"{attempt} runs although {whole} has finished")
        for other in self._running.values():
            if other.origin.pipeline == pipeline and other.origin.task == name:
                self.blame(f"{attempt} and {other.attempt} run at once")
        for parent in task.spec.depends:
            if task_id(pipeline, parent) not in self._done:
                self.blame(f"{attempt} began before {parent} was done")
        self._running[attempt] = task
        self._within_limits()

    def ended(self, end: Ended, task: TaskLaunch | None) -> None:
        """A body, or what never became one, is over."""
        self._running.pop(end.attempt, None)
        self._ends[end.attempt] = end
        if end.reason is Reason.EXIT and end.code == 0:
            assert task is not None
            self._done.add(task_id(task.origin.pipeline, task.origin.task))

    def _within_limits(self) -> None:
        if self._cpu_m is None:
            return
        cpu_m = sum(self._cpu_of(task.spec.cpu_m) for task in self._running.values())
        if cpu_m > self._cpu_m:
            self.blame(f"{cpu_m} thousandths of CPUs run where there are {self._cpu_m}")
        cards = [card for task in self._running.values() for card in task.cards]
        if len(set(cards)) < len(cards) or not self._cards.issuperset(cards):
            self.blame(f"the GPUs {cards} are given to tasks at once")

    def _cpu_of(self, wanted: int | None) -> int:
        assert self._cpu_m is not None
        return min(1000 if wanted is None else wanted, self._cpu_m)

    # --- what the engine asks of the place

    def launching(self, server: Server, task: TaskLaunch) -> None:
        """A launch leaves the engine: all of it stands in the rows."""
        row = self._schedule.memory.rows.get(task.origin.pipeline)
        if row is None:
            # A server that was stopped for long may not know that all of it is removed.
            if task.origin.pipeline not in self._removed:
                self.blame(f"{task.attempt} is launched and its pipeline is not committed")
            return
        if row.owner is not server or row.fence != task.fence:
            return  # it does not know yet; its fence keeps it from doing harm
        names = [spec.name for spec in row.submission.tasks]
        idx = names.index(task.origin.task)
        kept = row.attempts.get((idx, task.origin.number))
        if kept is None:
            self.blame(f"{task.attempt} is launched and was not committed")
            return
        if kept[0] is AttemptState.ENDED:
            self.blame(f"{task.attempt} is launched and is over")
        if kept[1] is not None:
            self.blame(f"{task.attempt} is launched and must stop")
        for parent in task.spec.depends:
            if row.tasks[names.index(parent)][0] is not TaskStatus.EXECUTED:
                self.blame(f"{task.attempt} is launched and {parent} is not done")

    def acknowledging(self, attempts: Collection[AttemptId]) -> None:
        """The place may let go of these ends: they are kept here."""
        for attempt in attempts:
            kept = self._kept(attempt)
            if kept is not None and kept[0] is not AttemptState.ENDED:
                self.blame(f"the end of {attempt} is acknowledged and not committed")

    def _kept(self, attempt: AttemptId) -> tuple[Any, ...] | None:
        pipeline, name, number = split_resource(attempt)
        row = self._schedule.memory.rows.get(pipeline)
        if row is None:
            return None
        idx = next(idx for idx, spec in enumerate(row.submission.tasks) if spec.name == name)
        return row.attempts.get((idx, number or 1), (None,))

    def forgetting(self, pipelines: Collection[PipelineId]) -> None:
        for identity in pipelines:
            row = self._schedule.memory.rows.get(identity)
            if row is not None and row.outcome is None:
                self.blame(f"{identity} is forgotten and not over")

    # --- what is committed

    def task(self, row: Row, idx: int, was: tuple[Any, ...], now: tuple[Any, ...]) -> None:
        if was[0] in FINAL and was[0] is not now[0]:
            self.blame(f"task {idx} of {row.submission.id} was {was[0]} and becomes {now[0]}")
        if row.submission.tasks[idx].name in row.submission.kept:
            self._done.add(task_id(row.submission.id, row.submission.tasks[idx].name))
        elif now[0] is TaskStatus.EXECUTED and was[0] is not TaskStatus.EXECUTED:
            name = task_id(row.submission.id, row.submission.tasks[idx].name)
            end = self._ends.get(attempt_id(name, now[2]))
            if end is None or (end.reason, end.code) != (Reason.EXIT, 0):
                self.blame(f"{name} is executed and its attempt {now[2]} ended as {end}")

    def attempt(self, row: Row, key: tuple[int, int], was: tuple[Any, ...] | None, now: tuple[Any, ...]) -> None:
        idx, number = key
        if row.submission.tasks[idx].name in row.submission.kept:
            return  # of the pipeline before it
        name = attempt_id(task_id(row.submission.id, row.submission.tasks[idx].name), number)
        if was is None:
            self._planned(row, idx, number, name)
        elif was[0] is AttemptState.ENDED and was != now:
            self.blame(f"{name} had ended as {was} and ends again as {now}")
        if now[0] is AttemptState.ENDED:
            self._open.pop(name, None)
            self._agrees(name, now)
        elif was is None and self._cpu_m is not None and not self._schedule.several:
            # Several servers each know what they gave, not what the others did: the place decides.
            self._open[name] = (self._cpu_of(row.submission.tasks[idx].cpu_m), now[2])
            self._admitted()

    def _planned(self, row: Row, idx: int, number: int, name: AttemptId) -> None:
        if number == 1:
            return
        last = row.attempts.get((idx, number - 1))
        if last is None or last[0] is not AttemptState.ENDED:
            self.blame(f"{name} is planned and the attempt before is not over: {last}")
        self._paid(row, idx, name)

    def _paid(self, row: Row, idx: int, name: AttemptId) -> None:
        ends = [each for (of, _), each in row.attempts.items() if of == idx]
        spent = Counter(BUDGET.get(each[7], "nothing") for each in ends)
        budget = row.submission.tasks[idx].retries
        for cause, count in spent.items():
            if count > getattr(budget, cause, 0):
                self.blame(f"{name} is planned after {count} failures of cause {cause}; the budget is {budget}")
        if any((each[7], each[6]) == (Reason.EXIT, 0) for each in ends):
            self.blame(f"{name} is planned after a success")

    def _agrees(self, name: AttemptId, now: tuple[Any, ...]) -> None:
        end = self._ends.get(name)
        if end is None and now[7] is not Reason.LOST:
            self.blame(f"{name} is over as {now} and its place knows no end")
        elif end is not None and (end.code, end.reason) != (now[6], now[7]) and now[7] is not Reason.LOST:
            self.blame(f"{name} is over as {now} and really ended as {end}")

    def _admitted(self) -> None:
        if sum(cpu_m for cpu_m, _ in self._open.values()) > (self._cpu_m or 0):
            self.blame(f"more is planned than there are CPUs: {self._open}")
        cards = [card for _, given in self._open.values() for card in given]
        if len(set(cards)) < len(cards):
            self.blame(f"a GPU is given twice: {self._open}")

    def events(self, row: Row, events: Sequence[Happened]) -> None:
        """History: gapless, and for each task a path of the state machine."""
        identity = row.submission.id
        for event in events:
            if event.seq != self._seqs.get(identity, 0) + 1:
                self.blame(f"the history of {identity} goes from {self._seqs.get(identity)} to {event.seq}")
            self._seqs[identity] = event.seq
            if event.type == "planned" and identity in self._halted:
                self.blame(f"task {event.idx} of {identity} is planned after {self._halted[identity]}")
            if self._halts(row, event):
                self._halted.setdefault(identity, event)
            if event.message is not None and "timeout of" in event.message:
                self._not_early(row, event)
            if event.idx is not None:
                last = self._told.get((identity, event.idx))
                if event.type not in FOLLOWS[last]:
                    self.blame(f"the history of task {event.idx} of {identity} goes from {last} to {event.type}")
                self._told[identity, event.idx] = event.type

    def _not_early(self, row: Row, event: Happened) -> None:
        """A limit on time has passed, by clocks that nobody has set meanwhile."""
        is_pending = event.idx is not None and "pending_timeout" in str(event.message)
        is_whole = event.idx is None and event.type == "stopping"
        if self._schedule.has_jumped or not (is_pending or is_whole):
            return
        of = row.submission
        limit_s, since = of.timeout_s, of.submitted_at
        if event.idx is not None:
            spec = of.tasks[event.idx]
            limit_s = spec.pending_timeout_s
            names = {each.name: idx for idx, each in enumerate(of.tasks)}
            done = (row.tasks[names[parent]][COMPLETED_AT] for parent in spec.depends if parent not in of.kept)
            since = max([since, *done])
        if limit_s is None or event.at - since < limit_s - 1e-6:
            self.blame(f"{event} comes {event.at - since:g} s after the beginning; the limit is {limit_s}")

    def _halts(self, row: Row, event: Happened) -> bool:
        """After it nothing of the pipeline is started any more."""
        if event.type == "failed" and event.idx is not None:
            return row.submission.on_failure == "stop"
        return event.type == "stopping" and event.idx is None

    def pipeline(self, row: Row) -> None:
        """After a commit: what the pipeline says agrees with its tasks and its history."""
        self.commits += 1
        identity = row.submission.id
        if row.seq != self._seqs.get(identity):
            self.blame(f"{identity} is at {row.seq} and its history at {self._seqs.get(identity)}")
        if row.outcome is None:
            return
        left = [status for status, *_ in row.tasks if status not in FINAL]
        still = [key for key, kept in row.attempts.items() if kept[0] is not AttemptState.ENDED]
        if left or still:
            self.blame(f"{identity} is {row.outcome} with tasks {left} and open attempts {still}")
        if (row.outcome is Outcome.SUCCEEDED) != all(each[0] is TaskStatus.EXECUTED for each in row.tasks):
            self.blame(f"{identity} is {row.outcome} with {[each[0].value for each in row.tasks]}")

    # --- what people were told

    def asked(self, key: str, submission: Submission) -> None:
        self._submissions.setdefault(key, {})[submission.id] = submission

    def accepted(self, key: str, identity: PipelineId) -> None:
        """A pipeline's id was given out: it is there, and is what was asked for."""
        self._accepted[key] = identity
        row = self._schedule.memory.rows.get(identity)
        if identity in self._removed:
            return
        if row is None:
            self.blame(f"{identity} is answered and not committed")
        elif row.submission is not self._submissions[key].get(identity):
            self.blame(f"{identity} is answered and another's")

    def repeated(self, key: str, identity: PipelineId) -> None:
        if key not in self._schedule.memory.answers:
            self.blame(f"the answer for {key} ({identity}) is not kept")

    def halted(self, server: Server, identity: PipelineId) -> None:
        row = self._schedule.memory.rows.get(identity)
        if row is not None and row.owner is server and row.outcome is None and row.pipeline[4] is None:
            self.blame(f"the cancel of {identity} is answered and not committed")

    def carried_out(self, order: Order) -> None:
        row = self._schedule.memory.rows.get(order.pipeline)
        if row is not None and row.outcome is None and row.pipeline[4] is None:
            self.blame(f"{order} is taken for done and is not committed")

    def removed(self, identity: PipelineId) -> None:
        self._removed.add(identity)

    # --- the end

    def close(self) -> None:
        """All is quiet: what was promised is there, and nothing is left behind."""
        memory = self._schedule.memory
        for key, identity in self._accepted.items():
            if identity not in memory.rows and identity not in self._removed:
                self.blame(f"{identity} was answered to {key} and is gone")
        for key, submissions in self._submissions.items():
            made = [each for each in submissions if self._is_made(each, submissions[each])]
            if len(made) > 1:
                self.blame(f"the request {key} made {made}")
        for identity, row in memory.rows.items():
            self._explained(identity, row)
        if self._running:
            self.blame(f"these still run: {list(self._running)}")

    def _is_made(self, identity: PipelineId, submission: Submission) -> bool:
        row = self._schedule.memory.rows.get(identity)
        return row is not None and row.submission is submission

    def _explained(self, identity: PipelineId, row: Row) -> None:
        """Nobody stopped it: then each task that did not run has a failure to blame."""
        is_built = row.submission.built or any(event.type == "built" for event in row.events)
        if row.pipeline[4] is not None or not is_built:
            return
        names = {spec.name: idx for idx, spec in enumerate(row.submission.tasks)}
        statuses = [each[0] for each in row.tasks]
        if TaskStatus.TERMINATED in statuses:
            self.blame(f"{identity} was not stopped and has {statuses}")
        for idx, (spec, status) in enumerate(zip(row.submission.tasks, statuses, strict=True)):
            parents = [statuses[names[parent]] for parent in spec.depends]
            bad = any(parent is not TaskStatus.EXECUTED for parent in parents)
            if status is TaskStatus.SKIPPED and row.submission.on_failure == "continue" and not bad:
                self.blame(f"{spec.name} of {identity} is skipped and its parents are done")
            if status is not TaskStatus.SKIPPED and bad and (idx, 1) in row.attempts:
                self.blame(f"{spec.name} of {identity} is {status} after {parents}")
        if TaskStatus.SKIPPED in statuses and TaskStatus.FAILED not in statuses:
            self.blame(f"{identity} has {statuses} and nothing failed")
