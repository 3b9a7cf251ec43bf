"""Bodies that an earlier runner started: found again, watched until they end.

They are not our children, so their exit code is known only where the kernel tells it (Linux 6.15).
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

from .bodies import LOOK_S, UNKNOWN_CPU_M, Bodies, Body, Processes
from .ending import Stop
from .ledger import Ledger
from .spawn import Logs

REAP_WAIT_S = 10.0  # how long init may take to reap: only then does the kernel tell the exit code


class Adopted:
    def __init__(self, processes: Processes, bodies: Bodies, *, ledger: Ledger, logs: Logs, poll: select.poll) -> None:
        self._processes = processes
        self._bodies = bodies
        self._ledger = ledger
        self._logs = logs
        self._poll = poll
        self._watches: dict[int, Body] = {}
        self._looked_at: list[Body] = []
        self._dying: dict[int, tuple[Body, float]] = {}
        self._look_at = 0.0

    def take_over(self, *, same_boot: bool) -> None:
        """At the start: everything that the journal says was running."""
        for record in list(self._ledger.open.values()):
            body = self._body(record)
            if same_boot and _is_child(body):
                body.child = True
                self._bodies.add(body)
            elif same_boot:
                self._adopt(body, alive=self._lives(body))
            else:
                body.pid = None
                self._adopt(body, alive=False)
            if stop := self._ledger.stops.get(body.id):
                self._resume(body, stop)

    def discover(self, attempt: str) -> Body | None:
        """An attempt whose log exists and of which nothing else is known: its body, if something of it lives."""
        body = self._processes.find(attempt)
        if body is None and self._logs.held(attempt):
            body = Body(attempt, None, time.time(), child=False, cpu_m=UNKNOWN_CPU_M, cards=None)
        if body is not None:
            self._adopt(body, alive=True)
        return body

    def readable(self, fd: int) -> bool:
        """A watched process ended; False when the descriptor is none of ours."""
        body = self._watches.pop(fd, None)
        if body is None:
            return False
        self._poll.unregister(fd)
        self._dying[fd] = (body, time.monotonic() + REAP_WAIT_S)
        return True

    def look(self, now: float) -> None:
        """See after those that cannot be waited for."""
        for fd, (body, limit) in list(self._dying.items()):
            status = self._processes.exit_status(fd)
            if status is not None or now >= limit or self._processes.born(body.pid or 0) != body.born:
                del self._dying[fd]
                status = status if status is not None else self._processes.exit_status(fd)
                os.close(fd)
                self._bodies.over(body, status)
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            gone = [body for body in self._looked_at if not self._lives(body)]
            self._looked_at = [body for body in self._looked_at if body not in gone]
            for body in gone:
                self._bodies.over(body, None)

    def next_in(self) -> float | None:
        if self._dying:
            return 0.02
        return LOOK_S if self._looked_at else None

    def _adopt(self, body: Body, *, alive: bool) -> None:
        self._bodies.add(body)
        fd = self._processes.watch(body.pid) if alive and body.pid else None
        if fd is not None:
            self._watches[fd] = body
            self._poll.register(fd, select.POLLIN)
        elif alive:
            self._looked_at.append(body)
        else:
            if body.pid and (_exists(body.pid) or not self._logs.held(body.id)):
                body.pid = None  # a stranger's by now, or soon: never to be signalled
            self._bodies.over(body, None)

    def _body(self, record: dict[str, Any]) -> Body:
        """Those of an older runner do not say what it was given."""
        body = Body(
            record["id"],
            record["pid"],
            record["at"],
            born=record["born"],
            timeout_s=record["timeout"],
            grace_s=record["grace"],
            child=False,
            cpu_m=record.get("cpu", UNKNOWN_CPU_M),
            cards=tuple(record["cards"]) if "cards" in record else None,
        )
        if body.cards is None and body.pid is not None and self._processes.alive(body):
            body.cards = self._processes.cards(body.pid)
        return body

    def _lives(self, body: Body) -> bool:
        if body.pid is None:
            return self._logs.held(body.id)
        return self._processes.alive(body)

    def _resume(self, body: Body, stop: dict[str, Any]) -> None:
        left = max(0.0, stop["until"] - time.time())
        self._bodies.stop(body, Stop(stop["reason"], stop["message"], left))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_child(body: Body) -> bool:
    """After an upgrade in place the runner is still the parent."""
    if body.pid is None:
        return False
    try:
        os.waitid(os.P_PID, body.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):  # not everywhere is there a waitid
        return False
    return True
