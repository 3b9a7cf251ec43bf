"""The life of what runs: its timeout, its stop, the rest of its tree, its end.

Once told to stop a body the runner sees it through: TERM to all of its tree, the grace, KILL until nothing is left.
When the main process ends by itself, the rest of its tree gets TERM and five seconds; only then the attempt ends.
"""

from __future__ import annotations

import heapq
import os
import resource
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from .ending import LOST, Stop, Verdict, verdict
from .ledger import Ledger

REST_GRACE_S = 5.0  # for what the main process leaves behind (reliability.md, F-81)
AGAIN_S = 0.05  # KILL is repeated: a process may fork while it is being killed
UNKNOWN_CPU_M = 1000  # what tasks take that do not say
LOOK_S = 0.2  # how often a body is looked at that cannot be waited for


@dataclass(slots=True, eq=False)
class Body:
    """A process and its tree. ``born`` is its start time in the system's own count, ``started_at`` in POSIX seconds.

    ``child`` is False for one that an earlier runner started: it can be watched, not waited for. ``oom_kills`` is how
    many processes the kernel had killed for want of memory when it started, None where that is not known. ``cpu_m`` and
    ``cards`` are what it was given: thousandths of CPUs, GPUs (None: not known).
    """

    id: str
    pid: int | None
    started_at: float
    born: int | None = None
    timeout_s: float | None = None
    grace_s: float = 30.0
    child: bool = True
    over: bool = False
    status: int | None = None
    cpu_s: float | None = None
    rss_kb: int | None = None
    stop: Stop | None = None
    terminated: bool = False
    killing: bool = False
    due: float | None = None
    oom_kills: int | None = None
    cpu_m: int = 0
    cards: tuple[str, ...] | None = ()


class Processes(Protocol):
    """What the system must do; ``linux`` and ``portable`` each have one."""

    def boot(self) -> str: ...
    def oom_kills(self) -> int | None: ...
    def give_up_privileges(self) -> None: ...
    def mark(self, attempt: str) -> None: ...
    def unmark(self) -> None: ...
    def born(self, pid: int) -> int | None: ...
    def alive(self, body: Body) -> bool: ...
    def find(self, attempt: str) -> Body | None: ...
    def cards(self, pid: int) -> tuple[str, ...] | None: ...
    def watch(self, pid: int) -> int | None: ...
    def exit_status(self, watch: int) -> int | None: ...
    def left(self, bodies: Collection[Body], running: Collection[int]) -> set[str]: ...
    def signal(self, bodies: Collection[Body], signum: int) -> None: ...


class Bodies:
    """All that runs. Signals asked for in a turn are sent together by ``signal_all``: one look at the processes.

    ``cpu_m`` and ``cards`` are what all of it was given; ``uncounted`` may have any GPU.
    """

    def __init__(
        self,
        processes: Processes,
        ledger: Ledger,
        *,
        log_size: Callable[[str], int | None],
        reach: Callable[[str], None],
    ) -> None:
        self._processes = processes
        self._ledger = ledger
        self._log_size = log_size
        self._reach = reach
        self.by_id: dict[str, Body] = {}
        self.cpu_m = 0
        self.cards: set[str] = set()
        self.uncounted: set[str] = set()
        self._by_pid: dict[int, Body] = {}
        self._timers: list[tuple[float, int, Body]] = []
        self._count = 0
        self._term: list[Body] = []
        self._kill: list[Body] = []
        self._ended: list[Body] = []

    def add(self, body: Body) -> None:
        self.by_id[body.id] = body
        self.cpu_m += body.cpu_m
        self.cards.update(body.cards or ())
        if body.cards is None:
            self.uncounted.add(body.id)
        if body.pid is not None and body.child:
            self._by_pid[body.pid] = body
        if body.timeout_s is not None:
            self._wake(body, time.monotonic() + body.timeout_s - (time.time() - body.started_at))

    def stop(self, body: Body, stop: Stop) -> None:
        """TERM, grace, KILL; a second call can only shorten the grace."""
        deadline = time.monotonic() + stop.grace_s
        if body.stop is None and not body.over:
            body.stop = stop
        if not body.terminated:
            self._term.append(body)
            body.terminated = True
            self._wake(body, deadline)
        elif not body.killing and (body.due is None or deadline < body.due):
            self._wake(body, deadline)

    def reaped(self, pid: int, status: int, usage: Any) -> None:
        """A child of ours is gone; an orphan of some body's tree is not a body."""
        if body := self._by_pid.pop(pid, None):
            body.cpu_s = round(usage.ru_utime + usage.ru_stime, 6)
            body.rss_kb = _peak(usage)
            self.over(body, status)

    def over(self, body: Body, status: int | None) -> None:
        body.over, body.status = True, status
        self._ended.append(body)

    def advance(self, now: float) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now:
            due, _, body = heapq.heappop(self._timers)
            if body.due == due and body.id in self.by_id:
                body.due = None
                self._act(body, now)

    def signal_all(self) -> None:
        if self._term:
            self._processes.signal(self._term, 15)
            self._term.clear()
            self._reach("runner:term-sent")
        if self._kill:
            self._processes.signal(self._kill, 9)
            self._kill.clear()

    def settle(self) -> list[tuple[str, str]]:
        """Those whose main process is over and whose tree is gone end now: attempts and their lines."""
        if not self._ended:
            return []
        left = self._processes.left(self._ended, self._by_pid)
        done = [body for body in self._ended if body.id not in left]
        self._ended = [body for body in self._ended if body.id in left]
        for body in self._ended:
            self._clear_rest(body)
        return [(body.id, self._end(body)) for body in done]

    def next_in(self, now: float) -> float | None:
        """Seconds until something is due: a timer, or another look at trees that are coming down."""
        due = max(0.0, self._timers[0][0] - now) if self._timers else None
        if not self._ended:
            return due
        return AGAIN_S if due is None else min(due, AGAIN_S)

    def _act(self, body: Body, now: float) -> None:
        if not body.terminated:
            message = f"it ran longer than its timeout of {body.timeout_s:g} s"
            self.stop(body, Stop("timeout", message, body.grace_s))
            return
        if body.stop and not body.over:
            body.stop.forced = True
        body.killing = True
        self._kill.append(body)
        self._wake(body, now + AGAIN_S)

    def _clear_rest(self, body: Body) -> None:
        limit = time.monotonic() + REST_GRACE_S
        if not body.terminated:
            body.terminated = True
            self._term.append(body)
            self._wake(body, limit)
        elif body.due is None or body.due > limit:
            self._wake(body, limit)

    def _end(self, body: Body) -> str:
        del self.by_id[body.id]
        self.cpu_m -= body.cpu_m
        self.cards.difference_update(body.cards or ())
        self.uncounted.discard(body.id)
        body.due = None
        self._reach("runner:before-end")
        end = verdict(body.status, body.stop, _unseen(body), memory_ran_out=self._memory_ran_out(body))
        return self._ledger.ended(end_record(body, end, self._log_size(body.id)))

    def _memory_ran_out(self, body: Body) -> bool:
        """The kernel does not tell whom it killed, only how many; it is asked where it may have been this one."""
        if body.oom_kills is None or body.status is None or not os.WIFSIGNALED(body.status):
            return False
        return (self._processes.oom_kills() or 0) > body.oom_kills

    def _wake(self, body: Body, when: float) -> None:
        body.due = when
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, body))


def _peak(usage: Any) -> int | None:
    """Kilobytes. Until its exec a child counts the runner's pages as its own: no more than those is not known."""
    peak = int(usage.ru_maxrss)
    return peak if peak > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss else None


def _unseen(body: Body) -> str:
    return LOST if body.child else f"{LOST}: its runner was killed while it ran"


def end_record(body: Body, end: Verdict, log_bytes: int | None) -> dict[str, Any]:
    """The line that journal and server get of an end."""
    return {
        "op": "ended",
        "id": body.id,
        "code": end.code,
        "reason": end.reason,
        "message": end.message,
        "at": time.time(),
        "started": body.started_at or None,
        "cpu": body.cpu_s,
        "rss": body.rss_kb,
        "log": log_bytes,
    }
