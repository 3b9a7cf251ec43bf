"""The engine's time: POSIX seconds that never jump, whatever somebody does to the wall clock meanwhile."""

from __future__ import annotations

import time


class Clock:
    """Wall time as it was at the start, moved on by the monotonic clock. Source: reliability.md, F-12."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """POSIX seconds; never goes back."""
        return time.monotonic() + self._offset
