"""Puts a restored database and repository where the former ones were, which stay beside under another name.

Several renames are not one: a mark is there from the first to the last, and while it is, no server starts. Whoever
restores again goes on where the last one was, and what was there before the first is what is kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from odin.backup.archive import sync_folder
from odin.faults import reach
from odin.model.errors import Conflict
from odin.store.copying import BESIDE

MARK = "restoring"


def refuse_half_done(data: Path) -> None:
    """Raises Conflict while a restore that was interrupted waits to be done again."""
    if (data / MARK).exists():
        raise Conflict(
            f"a restore into {data} was interrupted, and what is there is half of the old and half of the new;"
            " restore again: odin-serve restore FILE"
        )


@dataclass(frozen=True, slots=True)
class Switch:
    """``database`` and ``jobs`` are the places; what goes there waits at ``new(place)``.

    ``database`` is None where that is no file; then ``former`` is the file that it takes the place of, if it is there.
    """

    data: Path
    database: Path | None
    jobs: Path
    former: Path | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.jobs,) if self.database is None else (self.database, self.jobs)

    @staticmethod
    def new(place: Path) -> Path:
        return place.with_name(f"{place.name}.{MARK}")

    @property
    def is_begun(self) -> bool:
        """Whether an earlier one was interrupted."""
        return (self.data / MARK).exists()

    def clear(self) -> None:
        """Take away what an interrupted restore had made ready."""
        for place in self.places:
            _remove(self.new(place))

    def make(self, fill: Callable[[], None] = lambda: None) -> list[Path]:
        """Do it; where what was there before is kept now. ``fill`` is what else belongs to it; it may be repeated."""
        kept = f".before-{self._begin()}"
        reach("restore:marked")
        for place, aside in self._moves(kept):
            if place.exists() and not aside.exists():
                place.rename(aside)
        reach("restore:former-aside")
        for place in self.places:
            _remove(place)  # only what an interrupted restore had put there is there still
            self.new(place).rename(place)
            reach("restore:one-in-place")
        for folder in {place.parent for place in self.places}:
            sync_folder(folder)
        fill()
        reach("restore:filled")
        (self.data / MARK).unlink()
        sync_folder(self.data)
        named = (*self.places, self.former)
        return [aside for place, aside in self._moves(kept) if aside.exists() and place in named]

    def _begin(self) -> str:
        """The moment of the first restore that was not finished: this one's, or an earlier one's."""
        mark = self.data / MARK
        if mark.exists() and (begun := mark.read_text()):
            return begun
        now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        draft = mark.with_name(f"{MARK}.new")
        with draft.open("w") as file:
            file.write(now)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(mark)
        sync_folder(self.data)
        return now

    def _moves(self, kept: str) -> Iterator[tuple[Path, Path]]:
        """The log of the database first: beside a new database it would be taken for that one's."""
        if (database := self.database or self.former) is not None:
            for ending in (*BESIDE, ""):
                there = f"{database.name}{ending}"
                yield database.with_name(there), database.with_name(f"{database.name}{kept}{ending}")
        yield self.jobs, self.jobs.with_name(f"{self.jobs.name}{kept}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
