"""Whether a failed attempt is followed by another, and when.

Each cause has its own budget. An attempt that is *lost* may have done its work: it is repeated only where the file
says that the task itself may be (``retries`` or ``retries.user``). Source: job-files.md; architecture.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

from odin.model.job import TaskSpec
from odin.model.quantities import MOST_BYTES
from odin.model.reports import Reason

LONGEST_DELAY_S = 600.0
SPREAD = 0.2
GROWTH = 2  # of the memory, after an attempt that had too little of it
LIMIT = "memory_limit_bytes"

CAUSES: Mapping[Reason, str] = {
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


def allowed(spec: TaskSpec, reason: Reason, spent: Mapping[str, int]) -> str | None:
    """The budget that pays for another attempt; None if none does."""
    cause = CAUSES.get(reason)
    if cause is None or spent.get(cause, 0) >= getattr(spec.retries, cause):
        return None
    return cause


def grown(spec: TaskSpec, spent: Mapping[str, int] | None) -> TaskSpec:
    """The task as its next attempt asks for it: its memory doubled for each one that ran out of it.

    What the file does not name cannot grow.
    """
    factor = GROWTH ** (spent or {}).get("oom", 0)
    if factor == 1 or spec.memory_bytes is None:
        return spec
    limit = spec.cluster.get(LIMIT)
    more = {LIMIT: min(limit * factor, MOST_BYTES)} if limit is not None else {}
    return replace(spec, memory_bytes=min(spec.memory_bytes * factor, MOST_BYTES), cluster={**spec.cluster, **more})


def delay_s(spec: TaskSpec, attempt: str, retry: int) -> float:
    """How long the ``retry``-th retry (from 1) waits: doubling up to ten minutes, spread by the attempt's name."""
    longest = max(LONGEST_DELAY_S, spec.retry_delay_s)
    doubled = min(spec.retry_delay_s * 2.0 ** min(retry - 1, 30), longest)
    share = zlib.crc32(attempt.encode()) / 0xFFFFFFFF
    return doubled * (1 - SPREAD + 2 * SPREAD * share)
