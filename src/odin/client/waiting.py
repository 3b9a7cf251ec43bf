"""Waiting for a pipeline to end, with a limit or without."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from odin.client.pipeline import Pipeline

TICK_S = 0.5


def wait(pipeline: Pipeline, timeout_s: float | None) -> None:
    """Follow it to its end, so that it is up to date. Raises TimeoutError."""
    if pipeline.raw.get("outcome"):
        return
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    tick_s = None if timeout_s is None else max(0.01, min(TICK_S, timeout_s))
    changes = pipeline.follow(tick_s=tick_s)
    try:
        for _ in changes:
            if deadline is not None and time.monotonic() >= deadline and not pipeline.raw.get("outcome"):
                raise TimeoutError(f"{pipeline.id} is not over after {timeout_s:g} s")
    finally:
        changes.close()
