"""What each request of the server does; the answers are lines for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from .adoption import Adopted
from .bodies import Bodies, Body, end_record
from .ending import LOST, Stop, Verdict
from .ledger import Ledger, pipeline_of
from .program import CannotStart
from .spawn import Logs, Starter
from .wire import encode

ATTEMPT = re.compile(r"[a-z](-?-?[a-z0-9])*")
POWER_LOST = f"{LOST}: the machine went down"


class Requests:
    """Every verb may be repeated. ``suspect``: after a power loss, what is unknown may have run."""

    def __init__(self, ledger: Ledger, bodies: Bodies, *, adopted: Adopted, starter: Starter, logs: Logs) -> None:
        self._ledger = ledger
        self._bodies = bodies
        self._adopted = adopted
        self._starter = starter
        self._logs = logs
        self.suspect = ledger.power_lost
        self._verbs: dict[str, Callable[[dict[str, Any]], list[str]]] = {
            "launch": self.launch,
            "stop": self.stop,
            "recall": self.recall,
            "ack": self.acknowledge,
            "forget": self.forget,
        }

    def answer(self, request: dict[str, Any]) -> list[str]:
        return self._verbs[request["op"]](request)

    def launch(self, request: dict[str, Any]) -> list[str]:
        attempt = _checked(request["id"])
        if line := self._known(attempt):
            return [line]
        if not self._ledger.admits(pipeline_of(attempt), request["fence"]):
            return []  # its owner is no longer the owner
        if self._ledger.full:
            return [self._end(attempt, Verdict(None, "refused", "the disk of the runner's journal is full"))]
        try:
            body = self._starter.start(request)
        except FileExistsError:
            return [self._investigate(attempt)]
        except CannotStart as error:
            reason = "refused" if error.code is None else "not-started"
            return [self._end(attempt, Verdict(error.code, reason, error.message))]
        self._bodies.add(body)
        return [self._witness(body)]

    def stop(self, request: dict[str, Any]) -> list[str]:
        attempt = _checked(request["id"])
        if attempt not in self._bodies.by_id and attempt not in self._ledger.ends:
            if not self._logs.exists(attempt):
                return [self._end(attempt, Verdict(None, "void", request["message"]))]
            self._investigate(attempt)
        body = self._bodies.by_id.get(attempt)
        if body is None:
            return [self._ledger.ends[attempt]]
        self._stop(body, request)
        return []

    def recall(self, request: dict[str, Any]) -> list[str]:
        return [self._recall(_checked(attempt), fence) for attempt, fence in request["ids"].items()]

    def acknowledge(self, request: dict[str, Any]) -> list[str]:
        self._ledger.acknowledge(request["ids"])
        return []

    def forget(self, request: dict[str, Any]) -> list[str]:
        self._ledger.forget(request["pipelines"])
        return []

    def _recall(self, attempt: str, fence: int) -> str:
        self._ledger.admits(pipeline_of(attempt), fence)
        if line := self._known(attempt):
            return line
        if self._logs.exists(attempt):
            return self._investigate(attempt)
        if self.suspect:
            return self._end(attempt, Verdict(None, "lost", POWER_LOST))
        return encode({"op": "absent", "id": attempt, "fence": fence})

    def _known(self, attempt: str) -> str | None:
        if line := self._ledger.ends.get(attempt):
            return line
        record = self._ledger.open.get(attempt)
        return encode(record) if record else None

    def _investigate(self, attempt: str) -> str:
        """Its log exists, so it may have started, and an earlier runner died before it could say more."""
        if body := self._adopted.discover(attempt):
            return self._witness(body)
        return self._end(attempt, Verdict(None, "lost", f"{LOST}: its runner was killed as it started"))

    def _stop(self, body: Body, request: dict[str, Any]) -> None:
        grace_s = request["grace"]
        record = {"reason": "stopped", "message": request["message"], "until": time.time() + grace_s}
        if body.id not in self._ledger.stops:
            self._ledger.stopping({"op": "stop", "id": body.id, **record})
        self._bodies.stop(body, Stop("stopped", request["message"], grace_s))

    def _witness(self, body: Body) -> str:
        return self._ledger.started(
            {
                "op": "started",
                "id": body.id,
                "at": body.started_at,
                "pid": body.pid,
                "born": body.born,
                "timeout": body.timeout_s,
                "grace": body.grace_s,
            }
        )

    def _end(self, attempt: str, end: Verdict) -> str:
        never = Body(attempt, None, 0.0)
        return self._ledger.ended(end_record(never, end, self._logs.size(attempt)))


def _checked(attempt: str) -> str:
    """An attempt's id is part of a path: refuse what is not one."""
    if not ATTEMPT.fullmatch(attempt) or len(attempt) > 100:
        raise ValueError(f"not the id of an attempt: {attempt!r}")
    return attempt
