"""What the runner knows of each attempt until its pipeline is forgotten; the journal is the durable half.

Records, by ``op``: ``open`` (the runner's random id, first line), ``boot``, ``fence``, ``started`` (the witness:
pid and start time), ``stop``, ``ended``, ``forget``, ``doubt``, ``closed``. The server gets ``started`` and
``ended`` as they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .journal import Journal
from .wire import encode

SYNC_AFTER_S = 0.1  # an end unacknowledged for so long must survive a power loss
REWRITE_AT = 4 << 20
MOST_PAST = 10_000
CLOCK_SLACK_S = 5.0  # between servers of one machine, which take the time from one database


def pipeline_of(attempt: str) -> str:
    return attempt.partition("--")[0]


class Ledger:
    """``ends`` and ``open`` hold one line or record for each attempt; ``fences`` the highest seen of a pipeline.

    A fence above the first outlives its pipeline: a former owner may wake up long after that.

    After a power loss what is unknown may have run, if it was planned before that. ``doubted`` says until when by the
    clock of the first server that came after: it has begun at no less than anything that is recorded. None while no
    server has said it, -inf where no power was ever lost. It outlives the runner: an owner may ask much later.
    """

    def __init__(self, journal: Journal, *, runner: str, boot: str) -> None:
        self._journal = journal
        self.runner = runner
        self.boot = boot
        self.fences: dict[str, int] = {}
        self._past: dict[str, int] = {}  # of forgotten pipelines, oldest first: what is too low
        self.ends: dict[str, str] = {}
        self.open: dict[str, dict[str, Any]] = {}
        self.stops: dict[str, dict[str, Any]] = {}
        self._of: dict[str, set[str]] = {}
        self._unacknowledged: dict[str, None] = {}
        self._unsynced: dict[str, float] = {}  # unacknowledged too, oldest first
        self.doubted: float | None = -math.inf
        self.rebooted = False
        self._rewritten_at = 0
        self._replay(journal.records)
        journal.records = []

    @property
    def pipelines(self) -> list[str]:
        return list(self._of)

    @property
    def full(self) -> bool:
        return self._journal.full

    def recovers(self) -> bool:
        """Whether its disk was full, and is so no more."""
        if not self.full:
            return False
        self._journal.flush()
        return not self.full

    def admits(self, pipeline: str, fence: int) -> bool:
        """False for a fence lower than one seen; a higher one is remembered."""
        seen = self.fence_of(pipeline)
        if fence > seen:
            self.fences[pipeline] = fence
            self._of.setdefault(pipeline, set())
            self._journal.add(encode({"op": "fence", "p": pipeline, "n": fence}))
        return fence >= seen

    def fence_of(self, pipeline: str) -> int:
        """The highest one seen."""
        return self.fences.get(pipeline, self._past.get(pipeline, -2) + 1)

    def started(self, record: dict[str, Any]) -> str:
        """Take down a witness; the line that says so."""
        line = encode(record)
        self._journal.add(line)
        self._note(record)
        return line

    def stopping(self, record: dict[str, Any]) -> None:
        self.stops[record["id"]] = record
        self._journal.add(encode(record))

    def ended(self, record: dict[str, Any]) -> str:
        """Take down an end, the first one for good; the line that says so."""
        attempt = record["id"]
        line = encode(record)
        self._journal.add(line)
        self._end(attempt, line)
        self._unsynced[attempt] = time.monotonic()
        return line

    def date(self, now: float | None) -> None:
        """A server has come, by whose clock it is now; of an older one that is not known."""
        if self.doubted is None and now is not None:
            self.doubted = now
            self._journal.add(encode({"op": "doubt", "until": now}))

    def doubts(self, planned_at: float | None) -> bool:
        """Whether an attempt of which nothing is known may have run, planned then (by an older server: unknown)."""
        if self.doubted is None or planned_at is None:
            return self.doubted != -math.inf
        return planned_at <= self.doubted + CLOCK_SLACK_S

    def acknowledge(self, attempts: Iterable[str]) -> None:
        for attempt in attempts:
            self._unacknowledged.pop(attempt, None)
            self._unsynced.pop(attempt, None)

    def unacknowledged(self) -> Iterator[tuple[str, str]]:
        """Attempts and the lines of their ends."""
        for attempt in self._unacknowledged:
            yield attempt, self.ends[attempt]

    def forget(self, pipelines: Iterable[str]) -> list[str]:
        """Drop what is over of these pipelines, and name them; what still runs keeps its pipeline."""
        gone = [name for name in pipelines if name in self._of and not self._runs(name)]
        if gone:
            self._drop(gone)
            self._journal.add(encode({"op": "forget", "p": gone}))
        return gone

    def flush(self) -> None:
        """One write for the turn."""
        self._journal.flush()
        if self._journal.size > max(REWRITE_AT, 4 * self._rewritten_at):
            self._journal.replace(self._lines())
            self._rewritten_at = self._journal.size

    def sync_in(self, now: float) -> float | None:
        """Seconds until ends must be made to survive a power loss; None when there is nothing to do."""
        oldest = next(iter(self._unsynced.values()), None)
        return None if oldest is None else max(0.0, oldest + SYNC_AFTER_S - now)

    def sync(self) -> None:
        self._journal.sync()
        self._unsynced.clear()

    def close(self) -> None:
        """The runner ends in order: nothing it did can be lost by a power loss after this."""
        self._journal.add(encode({"op": "closed"}))
        self._journal.flush()
        self._journal.sync()

    def _replay(self, records: list[dict[str, Any]]) -> None:
        boot = self.boot
        closed = bool(records) and records[-1]["op"] == "closed"
        for record in records:
            if record["op"] == "open":
                self.runner = record["runner"]
            if record["op"] in ("open", "boot"):
                boot = record["boot"]
            self._recall(record)
        self.rebooted = boot != self.boot
        if not records:
            self._journal.add(encode({"op": "open", "runner": self.runner, "boot": self.boot}))
        elif self.rebooted or closed:
            self._journal.add(encode({"op": "boot", "boot": self.boot}))
        else:
            return
        if self.rebooted and not closed:
            self.doubted = None
            self._journal.add(encode({"op": "doubt", "until": None}))
        self._journal.flush()
        self._journal.sync()  # before anything runs: after a power loss it says that something may have

    def _recall(self, record: dict[str, Any]) -> None:
        match record["op"]:
            case "fence":
                self.fences[record["p"]] = record["n"]
                self._of.setdefault(record["p"], set())
            case "started":
                self._note(record)
            case "stop":
                self.stops[record["id"]] = record
            case "ended":
                self._end(record["id"], encode(record))
            case "forget":
                self._drop(record["p"])
            case "doubt":
                self.doubted = record["until"]

    def _note(self, record: dict[str, Any]) -> None:
        self.open[record["id"]] = record
        self._of.setdefault(pipeline_of(record["id"]), set()).add(record["id"])

    def _end(self, attempt: str, line: str) -> None:
        self.open.pop(attempt, None)
        self.stops.pop(attempt, None)
        self.ends[attempt] = line
        self._of.setdefault(pipeline_of(attempt), set()).add(attempt)
        self._unacknowledged[attempt] = None

    def _runs(self, pipeline: str) -> bool:
        return any(attempt in self.open for attempt in self._of[pipeline])

    def _drop(self, pipelines: Iterable[str]) -> None:
        for pipeline in pipelines:
            if (fence := self.fences.pop(pipeline, 0)) > 1:
                self._past[pipeline] = fence
            for attempt in self._of.pop(pipeline, ()):
                self.ends.pop(attempt, None)
                self._unacknowledged.pop(attempt, None)
                self._unsynced.pop(attempt, None)
        while len(self._past) > MOST_PAST:
            del self._past[next(iter(self._past))]

    def _lines(self) -> Iterator[str]:
        """The journal as it would be, had nothing been forgotten."""
        yield encode({"op": "open", "runner": self.runner, "boot": self.boot})
        if self.doubted != -math.inf:
            yield encode({"op": "doubt", "until": self.doubted})
        for pipeline, number in self._past.items():
            yield encode({"op": "fence", "p": pipeline, "n": number})
        yield encode({"op": "forget", "p": list(self._past)})
        for pipeline, number in self.fences.items():
            yield encode({"op": "fence", "p": pipeline, "n": number})
        yield from map(encode, self.open.values())
        yield from map(encode, self.stops.values())
        yield from self.ends.values()
