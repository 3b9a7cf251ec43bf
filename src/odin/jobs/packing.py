"""Packs loose objects when they are many: what git does by itself after a push, for writes that are no push.

One ``git gc --auto`` at a time, in the background, with a rest after it that is long beside the work; git's own lock
keeps it apart from the one after a push. It may be killed at any moment. What a ref leads to stays, pins too, and what
nothing leads to stays for two weeks, so that nothing is lost of a write under way. Source: git-gc(1).
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread, current_thread

from odin.jobs import child

LOOSE = 6700  # git's own gc.auto
SAMPLE = "17"  # git looks into one of its 256 folders too
REST_S = 60.0
REST_FACTOR = 30.0  # at most a thirtieth of the time goes into it
FUTILE_S = 3600.0  # after one that left as many: they belong to nothing and are young
NICE = 10
SETTINGS = ("core.hooksPath=/dev/null", "gc.packRefs=false")  # a packed pin takes longer to look at and to remove
log = logging.getLogger(__name__)


class Packing:
    """Of the repository in ``folder``. Safe to share between threads. ``owner``: see home."""

    def __init__(self, folder: Path, owner: int) -> None:
        self._folder = folder
        self._owner = owner
        self._lock = RLock()
        self._thread: Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._due_at = 0.0
        self._closed = False

    def look(self) -> None:
        """Begin if it is time. Never waits: it costs a look into one folder."""
        if time.monotonic() < self._due_at or not self._are_many():
            return
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = Thread(target=self._pack, name="odin-packing", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End what runs; may be repeated."""
        with self._lock:
            self._closed = True
            thread = self._thread
            if self._child is not None:
                child.end(self._child)
        if thread is not None and thread is not current_thread():
            thread.join()

    def _are_many(self) -> bool:
        try:
            return sum(1 for _ in (self._folder / "objects" / SAMPLE).iterdir()) > -(-LOOSE // 256)
        except OSError:
            return False

    def _pack(self) -> None:
        begun = time.monotonic()
        try:
            self._run()
        except OSError as error:
            log.warning("git gc did not start: %s", error.strerror)
        took_s = time.monotonic() - begun
        rest_s = FUTILE_S if self._are_many() else max(REST_S, REST_FACTOR * took_s)
        with self._lock:
            self._due_at = time.monotonic() + rest_s
            self._thread = None

    def _run(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._child = started = start(self._folder, self._owner)
        assert started.stdout is not None
        with started.stdout as words:
            said = words.read()
        # Not reaped yet: until then its number, and its group's, is nobody else's.
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._child = None
            code = started.wait()
        if code != 0 and not self._closed:
            outcome = child.Outcome(code, said.decode("utf-8", "replace"))
            log.warning("git gc ended with %d: %s", code, outcome.reason)


def start(folder: Path, owner: int) -> subprocess.Popen[bytes]:
    options = [each for setting in (*SETTINGS, f"gc.auto={LOOSE}") for each in ("-c", setting)]
    started = subprocess.Popen(
        ["git", f"--git-dir={folder}", *options, "gc", "--auto", "--quiet"],
        env=child.environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(owner,),
    )
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, started.pid, NICE)
    return started
