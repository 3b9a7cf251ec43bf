"""From what is seen of an attempt to what is told of it: only what is new since the last time. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator

from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.ids import AttemptId
from odin.model.reports import Ended, Held, Placed, Report, Started


def reports(attempt: AttemptId, before: Sight | None, now: Sight, held: str = "") -> Iterator[Report]:
    """What to tell of ``now``, when ``before`` was told last.

    None: nothing was told of an object, but perhaps that ``held`` kept it from being made.
    """
    if isinstance(now, Over):
        if not isinstance(before, Over):
            yield ended(attempt, now)
    elif isinstance(now, Waits):
        if before is None:
            yield Placed(attempt)
        why = before.why if isinstance(before, Waits) else held
        if isinstance(before, Runs) or now.why != why:
            yield Held(attempt, now.why)
    else:
        if not isinstance(before, Runs):
            yield Started(attempt, now.at)
        if now.why != (before.why if isinstance(before, Runs) else ""):
            yield Held(attempt, now.why, runs=True)


def ended(attempt: AttemptId, over: Over) -> Ended:
    """The end as it is told."""
    at = over.ended_at or time.time()
    return Ended(attempt, over.code, over.reason, at, over.message, over.started_at)
