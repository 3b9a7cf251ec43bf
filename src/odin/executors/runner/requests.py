"""What each request of a server does; the answers are lines for it."""

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
from .room import Entry, Room
from .servers import Server, Servers
from .spawn import Logs, Starter
from .wire import encode

ATTEMPT = re.compile(r"[a-z](-?-?[a-z0-9])*")
NO_ROOM = "tasks of other servers have the CPUs or GPUs that it asks for"
NO_DISK = "the disk of the runner's journal is full"
POWER_LOST = f"{LOST}: the machine went down"
OUTDATED = "outdated"


class Requests:
    """Every verb may be repeated.

    ``begun`` are attempts that were launched since somebody looked, with the line to tell of each.
    """

    def __init__(
        self, ledger: Ledger, bodies: Bodies, *, servers: Servers, adopted: Adopted, starter: Starter, logs: Logs
    ) -> None:
        self.room = Room(bodies)
        self.begun: list[tuple[str, str]] = []
        self._servers = servers
        self._ledger = ledger
        self._bodies = bodies
        self._adopted = adopted
        self._starter = starter
        self._logs = logs
        self._cleared: set[str] = set()  # pipelines whose owner has asked, after all that was open of them at once
        self._verbs: dict[str, Callable[[dict[str, Any], Server], list[str]]] = {
            "launch": self.launch,
            "stop": self.stop,
            "recall": self.recall,
            "ack": self.acknowledge,
            "forget": self.forget,
        }

    def answer(self, request: dict[str, Any], server: Server) -> list[str]:
        return self._verbs[request["op"]](request, server)

    def launch(self, request: dict[str, Any], server: Server) -> list[str]:
        attempt = _checked(request["id"])
        admitted = self._admits(attempt, request["fence"], server)
        if line := self._known(attempt):
            return [line]
        if not admitted:
            return self._outdated(attempt, server)
        self._clear(attempt, request["fence"])
        self.room.ask(request, server.greeting)
        self.start()
        why = NO_DISK if self._ledger.full else NO_ROOM
        return [encode({"op": "held", "id": attempt, "why": why})] if self.room.holds(attempt) else []

    def start(self) -> None:
        """Start whatever there is room for, here and on the disk: a start that is not noted may happen twice."""
        if self._ledger.full:
            return
        for entry, cards in self.room.admit():
            attempt = entry.request["id"]
            if self._ledger.admits(pipeline_of(attempt), entry.request["fence"]):
                self.begun.append((attempt, self._start(attempt, entry, cards)))

    def stop(self, request: dict[str, Any], server: Server) -> list[str]:
        attempt = _checked(request["id"])
        if self._servers.outranks(server, pipeline_of(attempt)):
            return []
        if self.room.withdraw(attempt):
            self.start()
        if attempt not in self._bodies.by_id and attempt not in self._ledger.ends:
            if not self._logs.exists(attempt):
                return [self._end(attempt, Verdict(None, "void", request["message"]))]
            self._investigate(attempt)
        body = self._bodies.by_id.get(attempt)
        if body is None:
            return [self._ledger.ends[attempt]]
        self._stop(body, request)
        return []

    def recall(self, request: dict[str, Any], server: Server) -> list[str]:
        asked: dict[str, int] = request["ids"]
        planned: dict[str, float] = request.get("planned", {})
        lines: list[str] = []
        for attempt, fence in asked.items():
            lines += self._recall(_checked(attempt), fence, planned.get(attempt), server)
        for attempt, fence in asked.items():
            self._clear(attempt, fence)
        self.start()  # what waited behind those that were withdrawn
        return lines

    def acknowledge(self, request: dict[str, Any], _server: Server) -> list[str]:
        self._ledger.acknowledge(request["ids"])
        return []

    def forget(self, request: dict[str, Any], _server: Server) -> list[str]:
        self._servers.forget(self._ledger.forget(request["pipelines"]))
        self._cleared.difference_update(request["pipelines"])
        return []

    def _admits(self, attempt: str, fence: int, server: Server) -> bool:
        pipeline = pipeline_of(attempt)
        admitted = self._ledger.admits(pipeline, fence)
        if admitted:
            self._servers.note(server, pipeline, fence)
        return admitted

    def _outdated(self, attempt: str, server: Server) -> list[str]:
        """To one that is no longer the owner, or is and has a database that was put back to an older state."""
        if OUTDATED not in server.greeting.hears:
            return []
        return [encode({"op": OUTDATED, "id": attempt, "fence": self._ledger.fence_of(pipeline_of(attempt))})]

    def _clear(self, attempt: str, fence: int) -> None:
        pipeline = pipeline_of(attempt)
        if self._ledger.doubts(None) and self._ledger.admits(pipeline, fence):
            self._cleared.add(pipeline)

    def _start(self, attempt: str, entry: Entry, cards: list[str]) -> str:
        request, greeting = entry
        if cards != request.get("cards", []):
            request["env"]["CUDA_VISIBLE_DEVICES"] = ",".join(cards)
        try:
            body = self._starter.start(request, greeting.env, greeting.user)
        except FileExistsError:
            return self._investigate(attempt)
        except CannotStart as error:
            reason = "refused" if error.code is None else "not-started"
            return self._end(attempt, Verdict(error.code, reason, error.message))
        body.cpu_m, body.cards = request.get("cpu", 0), tuple(cards)
        self._bodies.add(body)
        return self._witness(body)

    def _recall(self, attempt: str, fence: int, planned_at: float | None, server: Server) -> list[str]:
        lines = []
        if self._admits(attempt, fence, server):
            self.room.withdraw(attempt)
        else:
            lines = self._outdated(attempt, server)
        if line := self._known(attempt):
            return [line, *lines]
        if self._logs.exists(attempt):
            return [self._investigate(attempt), *lines]
        if lines:
            return lines  # not absent for sure: a launch under the higher fence may be on its way
        if self._ledger.doubts(planned_at) and pipeline_of(attempt) not in self._cleared:
            return [self._end(attempt, Verdict(None, "lost", POWER_LOST))]
        return [encode({"op": "absent", "id": attempt, "fence": fence})]

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
        record = {
            "op": "started",
            "id": body.id,
            "at": body.started_at,
            "pid": body.pid,
            "born": body.born,
            "timeout": body.timeout_s,
            "grace": body.grace_s,
            "cpu": body.cpu_m,
        }
        return self._ledger.started(record if body.cards is None else {**record, "cards": body.cards})

    def _end(self, attempt: str, end: Verdict) -> str:
        never = Body(attempt, None, 0.0)
        return self._ledger.ended(end_record(never, end, self._logs.size(attempt)))


def _checked(attempt: str) -> str:
    """An attempt's id is part of a path: refuse what is not one."""
    if not ATTEMPT.fullmatch(attempt) or len(attempt) > 100:
        raise ValueError(f"not the id of an attempt: {attempt!r}")
    return attempt
