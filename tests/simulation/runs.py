"""Many seeds: one after the other, or on all cores."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from random import Random

from simulation.schedule import Result, Schedule

SLICE = 500
REPLAY = "python3 dev.py simulate --seed {}"


@dataclass(slots=True)
class Total:
    """What came of some seeds. ``virtual_s`` is the time that went by in them, ``wall_s`` what it took here."""

    schedules: int = 0
    faults: int = 0
    commits: int = 0
    attempts: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    broken: list[Result] = field(default_factory=list)

    def add(self, results: Iterable[Result]) -> None:
        for each in results:
            self.schedules += 1
            self.faults += each.faults
            self.commits += each.commits
            self.attempts += each.attempts
            self.virtual_s += each.virtual_s
            if each.violation is not None:
                self.broken.append(each)

    def __str__(self) -> str:
        return (
            f"{self.schedules} schedules, {self.schedules / self.wall_s:.0f}/s; {self.virtual_s / 86400:.1f} days in "
            f"{self.wall_s:.1f} s; {self.commits} commits, {self.attempts} attempts, {self.faults} faults; "
            f"{len(self.broken)} violations"
        )


def told(result: Result, mutation: str | None = None) -> str:
    """A violation with the line that replays it."""
    broken = f" --mutation {mutation}" if mutation else ""
    return f"seed {result.seed}: {result.violation}\n  {REPLAY.format(result.seed)}{broken}"


def run(seeds: Iterable[int]) -> list[Result]:
    """These seeds, in this process. What the engine logs of faults is not news."""
    log = logging.getLogger("odin.engine")
    disabled, log.disabled = log.disabled, True
    try:
        return [Schedule(seed).run() for seed in seeds]
    finally:
        log.disabled = disabled


def run_on_all_cores(first: int, count: int) -> Iterator[list[Result]]:
    """``count`` seeds from ``first`` on, in slices as they are done."""
    slices = [range(at, min(at + SLICE, first + count)) for at in range(first, first + count, SLICE)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(run, slices)


def total(first: int, count: int) -> Total:
    """All of them, with figures."""
    found, begun = Total(), time.perf_counter()
    for results in run_on_all_cores(first, count):
        found.add(results)
        found.wall_s = time.perf_counter() - begun
    return found


def today() -> int:
    """A first seed that nobody has run yet."""
    return Random().randrange(1 << 40)
