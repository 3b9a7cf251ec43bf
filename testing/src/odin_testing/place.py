"""A place where nothing really runs: attempts end at once, or when and how a test says.

It keeps the same promises as the real ones (``tests/integration/executors`` runs one contract against all).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from odin.executors.protocol import Absent, Back, Capacity, Ended, Reason, Report, Started, TaskLaunch
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Recall

Plan = Callable[[TaskLaunch], int | None]


class FakePlace:
    """``plan`` gives the exit code of a launch, None to let it run until ``finish``; ``starts`` counts starts."""

    def __init__(self, plan: Plan = lambda _: 0, *, cpu_m: int | None = 16_000, cards: tuple[str, ...] = ()) -> None:
        self.starts: dict[AttemptId, int] = {}
        self.running: dict[AttemptId, TaskLaunch] = {}
        self.ended: dict[AttemptId, Ended] = {}
        self.acknowledged: set[AttemptId] = set()
        self.forgotten: list[PipelineId] = []
        self._plan = plan
        self._capacity = Capacity(cpu_m, cards)
        self._fences: dict[AttemptId, int] = {}
        self._out: deque[Report] = deque()
        self._ends: tuple[socket.socket, ...] = ()
        self._rung = False

    def open(self) -> None:
        """Also after ``close``: what was launched is still known, as a real place would."""
        self._ends = socket.socketpair()
        self._out.clear()
        self._rung = False
        kept = {split_resource(attempt)[0] for attempt in (*self.running, *self.ended)}
        self._say(Back(tuple(sorted(kept))))

    def close(self) -> None:
        for end in self._ends:
            end.close()
        self._ends = ()

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def capacity(self) -> Capacity:
        return self._capacity

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        for task in tasks:
            if task.fence < self._fences.get(task.attempt, 0) or self._repeated(task.attempt):
                continue
            self.starts[task.attempt] = self.starts.get(task.attempt, 0) + 1
            self.running[task.attempt] = task
            self._say(Started(task.attempt, time.time()))
            code = self._plan(task)
            if code is not None:
                self.finish(task.attempt, code)

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        if attempt in self.running:
            self._end(Ended(attempt, 143, Reason.STOPPED, time.time()))
        elif attempt not in self.ended:
            self._end(Ended(attempt, None, Reason.VOID, time.time()))

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        for attempt, asked in attempts.items():
            self._fences[attempt] = asked.fence
            if not self._repeated(attempt):
                self._say(Absent(attempt, asked.fence))

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        self.acknowledged.update(attempts)

    def forget(self, pipelines: Collection[PipelineId]) -> None:
        gone = set(pipelines)
        self.forgotten.extend(pipelines)
        for attempt in [each for each in self.ended if split_resource(each)[0] in gone]:
            del self.ended[attempt]

    def reports(self) -> list[Report]:
        if self._rung:
            self._ends[0].recv(1)
            self._rung = False
        taken = list(self._out)
        self._out.clear()
        return taken

    def finish(self, attempt: AttemptId, code: int, reason: Reason = Reason.EXIT) -> None:
        """End a running attempt."""
        self._end(Ended(attempt, code, reason, time.time()))

    def _end(self, end: Ended) -> None:
        self.running.pop(end.attempt, None)
        self.ended[end.attempt] = end
        self._say(end)

    def _repeated(self, attempt: AttemptId) -> bool:
        if attempt in self.ended:
            self._say(self.ended[attempt])
        elif attempt in self.running:
            self._say(Started(attempt, time.time()))
        else:
            return False
        return True

    def _say(self, report: Report) -> None:
        self._out.append(report)
        if not self._rung and self._ends:
            self._rung = True
            self._ends[1].send(b"\0")
