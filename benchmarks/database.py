"""Looks into a server's database for what is committed: unlike a request, this takes nothing of the server's CPU."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

LONGEST_RUN_S = 300.0
LOOK_S = 0.002
OUTCOME = "SELECT outcome FROM pipelines WHERE id = ?"
OPEN = "SELECT 1 FROM pipelines WHERE status IN ('BUILDING', 'RUNNING') LIMIT 1"
STARTED = "SELECT count(*) FROM attempts WHERE started_at >= ?"
FAILED = "SELECT id FROM pipelines WHERE outcome <> 'succeeded' LIMIT 1"


class Committed:
    """Not for more than one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def close(self) -> None:
        self._connection.close()

    def wait(self, pipeline: str) -> None:
        """Until the pipeline succeeded. Raises RuntimeError if it ends otherwise or not at all."""
        until = time.monotonic() + LONGEST_RUN_S
        while (outcome := self._one(OUTCOME, pipeline)) is None and time.monotonic() < until:
            time.sleep(LOOK_S)
        if outcome != "succeeded":
            raise RuntimeError(f"the pipeline {pipeline} ended with {outcome}")

    def wait_until_idle(self) -> None:
        """Until all pipelines are over. Raises RuntimeError unless all of them succeeded, ever."""
        until = time.monotonic() + LONGEST_RUN_S
        while not self.idle and time.monotonic() < until:
            time.sleep(LOOK_S)
        if not self.idle or self._one(FAILED):
            raise RuntimeError("some pipelines failed, or never ended")

    def started(self, since: float) -> int:
        """How many attempts began to run at or after a moment (POSIX seconds)."""
        row = self._connection.execute(STARTED, (since,)).fetchone()
        return int(row[0])

    @property
    def idle(self) -> bool:
        return self._one(OPEN) is None

    def _one(self, query: str, *values: str) -> object:
        row = self._connection.execute(query, values).fetchone()
        return row[0] if row else None
