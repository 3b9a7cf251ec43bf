"""Says in the log what the event loop was doing when it stood still: nothing may block it.

A loop that does not go on within a minute never will, as where a thread died at its birth for want of memory. Then the
process ends: whoever started it starts it again, tasks run on, and nothing that was acknowledged is lost.
Source: reliability.md, F-09, F-11.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback

BEAT_S = 0.1
STALL_S = 0.5  # a busy machine is that late now and then without anybody's fault
GIVE_UP_S = 60.0
FAILED = 9
log = logging.getLogger("odin.watchdog")


class Watchdog:
    """Watches the running loop of the thread that makes it, from another thread, until it is left."""

    def __init__(self, give_up_s: float = GIVE_UP_S) -> None:
        self._patience = round(give_up_s / BEAT_S)
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="odin-watchdog", daemon=True)
        self._beat()

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        self._seen_at = time.monotonic()
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._over.wait(BEAT_S):
            # Where this thread is late too, the whole process did not run: nobody is to blame here.
            now, late_s = time.monotonic(), time.monotonic() - looked_at - BEAT_S
            looked_at = now
            if late_s < STALL_S and self._still_s() > STALL_S:
                self._tell()
                looked_at = time.monotonic()

    def _tell(self) -> None:
        since, frame = self._seen_at, sys._current_frames().get(self._watched)
        log.warning("requests wait, the event loop stands still:\n%s", "".join(traceback.format_stack(frame)))
        for _ in range(self._patience):  # counted, not timed: a process that is stopped meanwhile is not to blame
            if self._over.wait(BEAT_S) or self._seen_at != since:
                log.warning("the event loop goes on after %.1f s", time.monotonic() - since)
                return
        log.critical("the event loop never went on; this server ends, to be started again; tasks run on")
        os._exit(FAILED)

    def _still_s(self) -> float:
        return time.monotonic() - self._seen_at
