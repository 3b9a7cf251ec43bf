"""Removes what finished pipelines left once it is old, or too much, where the settings say so.

By the same steps as a cleanup that somebody asks for: files, logs and cluster objects first, the rows last, a
tombstone of the id stays. One that runs is never touched, nor one that another goes on from while that runs. What
lies in a run folder and in the logs counts, as ``du`` would count it. Source: architecture.md, "Folders".
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from odin.engine.cleanup import Cleaner
from odin.engine.clock import Clock
from odin.model.errors import OdinError
from odin.model.ids import PipelineId, Sha
from odin.store.expiry import Expiry, Finished

PERIOD_S = 600.0
RETRY_S = 2.0  # after a sweep that the database or a disk broke off: what it left would be too much for ten minutes
STOP_S = 5.0  # a removal that takes longer is gone on with at the next start
DAY_S = 86_400.0
BLOCK = 512  # what ``st_blocks`` counts in, whatever the file system
log = logging.getLogger("odin.retention")


@dataclass(frozen=True, slots=True)
class Limits:
    """None for what is not limited."""

    age_s: float | None = None
    size_bytes: int | None = None


class Size(NamedTuple):
    """Bytes on the disk; a file with several names, such as an output that a later pipeline keeps, is one file."""

    held: int  # divided among the names of a file: all of them together are the file
    freed: int  # once this folder is gone: none of a file that has another name


@dataclass(slots=True)
class Figures:
    """What was done since the server started; ``held`` is None before it was measured."""

    removed: Counter[str] = field(default_factory=Counter)  # by reason: age, size
    held: int | None = None


class Retention:
    """Looks at its start and every ten minutes, in a thread of its own. ``gone`` is told of each that is removed."""

    def __init__(
        self, limits: Limits, expiry: Expiry, cleaner: Cleaner, *, clock: Clock, gone: Callable[[str], None]
    ) -> None:
        self.figures = Figures()
        self._limits = limits
        self._expiry = expiry
        self._cleaner = cleaner
        self._clock = clock
        self._gone = gone
        self._unfinished: dict[PipelineId, tuple[Sha, str]] = {}
        self._is_full = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="odin-retention", daemon=True)

    def start(self) -> None:
        if self._limits != Limits():
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def sweep(self) -> None:
        """Remove what the limits do not allow, the oldest first. Raises OdinError, OSError."""
        for pipeline, (version, reason) in list(self._unfinished.items()):
            self._remove(pipeline, version, reason)
        if self._limits.age_s is not None:
            before = self._clock.now() - self._limits.age_s
            for one in self._expiry.finished():
                if one.completed_at >= before:
                    break
                self._expire(one, "age")
        if self._limits.size_bytes is not None:
            self._shrink(self._limits.size_bytes)

    def _run(self) -> None:
        pause_s = PERIOD_S
        while not self._stopping.is_set():
            is_again, before = pause_s < PERIOD_S, self.figures.removed.total()
            try:
                self.sweep()
                pause_s = PERIOD_S
            except (OdinError, OSError) as error:
                log.log(
                    logging.DEBUG if is_again else logging.WARNING, "what is old could not be removed yet: %s", error
                )
                is_stuck = is_again and self.figures.removed.total() == before  # to measure all the folders costs much
                pause_s = min(2 * pause_s, PERIOD_S) if is_stuck else RETRY_S
            except Exception:  # border: chore
                log.exception("what is old could not be removed")
                pause_s = PERIOD_S
            self._stopping.wait(pause_s)

    def _shrink(self, most: int) -> None:
        """Measures what goes a second time: to keep the sizes of all takes megabytes, which stay torn when they go."""
        held = sum(size_of(folder).held for parent in self._parents() for folder in self._folders(parent))
        for one in self._expiry.finished() if held > most else ():
            if held <= most:
                break
            sizes = [size_of(parent / one.id) for parent in self._parents()]
            if any(size.held for size in sizes) and self._expire(one, "size"):
                held -= sum(size.freed for size in sizes)
        self.figures.held = held
        if held > most and not self._is_full:
            log.warning("pipelines hold %d bytes of files and logs, of %d; none that is left may go", held, most)
        self._is_full = held > most

    def _parents(self) -> tuple[Path, Path]:
        return self._cleaner.layout.runs, self._cleaner.logs

    def _folders(self, parent: Path) -> Iterator[Path]:
        with suppress(FileNotFoundError), os.scandir(parent) as scan:
            for entry in scan:
                if self._stopping.is_set():
                    break
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)

    def _expire(self, one: Finished, reason: str) -> bool:
        if self._stopping.is_set() or not self._expiry.begin(one.id):
            return False
        self._unfinished[one.id] = one.version, reason
        age = (self._clock.now() - one.completed_at) / DAY_S
        log.info("removing %s, which ended %.1f days ago: its %s", one.id, age, reason)
        self._remove(one.id, one.version, reason)
        return True

    def _remove(self, pipeline: PipelineId, version: Sha, reason: str) -> None:
        try:
            self._cleaner.carry_on(pipeline, version)
        except OdinError as error:
            log.warning("the removal of %s waits: %s", pipeline, error)
            return
        del self._unfinished[pipeline]
        self.figures.removed[reason] += 1
        self._gone(pipeline)


def size_of(folder: Path) -> Size:
    """What lies in it. What vanishes meanwhile is left out."""
    held = freed = 0
    with suppress(FileNotFoundError, PermissionError), os.scandir(folder) as scan:
        for entry in scan:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                size = found.st_blocks * BLOCK
                if entry.is_dir(follow_symlinks=False):
                    below = size_of(Path(entry.path))
                    held, freed = held + size + below.held, freed + size + below.freed
                else:
                    held += size // max(1, found.st_nlink)
                    freed += size if found.st_nlink == 1 else 0
    return Size(held, freed)
