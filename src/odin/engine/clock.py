"""The engine's time: POSIX seconds that never jump, whatever somebody does to the wall clock meanwhile."""

from __future__ import annotations

import time


class Clock:
    """Time as it was at the start, moved on by the monotonic clock. Source: reliability.md, F-12."""

    def __init__(self, begins_at: float | None = None) -> None:
        """``begins_at`` is what is the time now, by default as the machine says."""
        self._offset = (time.time() if begins_at is None else begins_at) - time.monotonic()

    def now(self) -> float:
        """POSIX seconds; never goes back."""
        return time.monotonic() + self._offset
