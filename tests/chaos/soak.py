"""R10: whether a server that works for long grows: memory, open files, threads and zombies, against time.

People launch small pipelines at a steady pace while PostgreSQL is restarted, connections are cut and the runner is
killed; the server itself goes on, since what it grew by would end with it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from chaos.breaks import Break, Breaks, Parts
from chaos.havoc import Patient, parts
from chaos.oracle import Oracle, Plan
from chaos.scoreboard import Asked, Row, unmeasured
from e2e.serving import ENDED, Serving, until
from pgproxy import Proxy

WHAT, TARGET = "growth in an hour: memory, files, threads, zombies", "< 1 MiB, 0, 0, 0"
WARM = 0.4  # of the time goes by before anything counts
EVERY_S = 2.0
LONG_MIN = 60
RETAINED = "32Mi"  # of finished pipelines: what is older goes, so that only a leak grows
PEOPLE, PACE = 4, 20.0  # pipelines in a second, if they can
BREAKS_S = 5.0, 15.0  # between two things that break


@dataclass(frozen=True)
class Sample:
    at: float
    memory_mb: float
    files: int
    threads: int
    zombies: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        proc = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        files = len(list((proc / "fd").iterdir()))
        kb, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
        return cls(time.monotonic(), kb / 1024, files, threads, zombies(pid))


def zombies(pid: int) -> int:
    found = 0
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                found += Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return found


def measure(asked: Asked) -> Iterator[Row]:
    if not asked.soak_min:
        yield unmeasured("R10", WHAT, TARGET, "only when asked: --soak 60")
        return
    with parts("postgresql") as there:
        there.odin.settings["RETAIN_BYTES"] = RETAINED
        there.odin.start()
        there.people = Proxy(there.odin.port)
        try:
            soak = Soak(there, asked)
            soak.run()
        finally:
            there.people.close()
    yield soak.row()


class Soak:
    def __init__(self, there: Parts, asked: Asked) -> None:
        self._there, self._until = there, time.monotonic() + 60 * asked.soak_min
        self._minutes = asked.soak_min
        self._rng = random.Random(asked.seed)
        self._breaks = Breaks(there, self._rng)
        self._oracle = Oracle(there.odin)
        self._samples: list[Sample] = []
        self._launched: list[str] = []
        self._doubled = 0

    def run(self) -> None:
        plan = Plan()
        plan.add("first")
        plan.add("second", "first")
        odin = self._there.odin
        assert odin.api().write("small", plan.files(self._oracle)).status == 200
        people = [threading.Thread(target=self._launch, daemon=True) for _ in range(PEOPLE)]
        for each in people:
            each.start()
        self._watch(odin)
        for each in people:
            each.join()
        self._judge()

    def _launch(self) -> None:
        assert self._there.people is not None
        api = Patient(self._there.people.port, self._there.odin.api().token)
        while time.monotonic() < self._until:
            next_at = time.monotonic() + PEOPLE / PACE
            self._launched.append(api.launch("small"))
            time.sleep(max(0.0, next_at - time.monotonic()))

    def _watch(self, odin: Serving) -> None:
        breaks, next_at = self._choices(), time.monotonic()
        while time.monotonic() < self._until:
            if time.monotonic() > next_at:
                self._rng.choice(breaks)()
                next_at = time.monotonic() + self._rng.uniform(*BREAKS_S)
            assert odin.process is not None
            self._samples.append(Sample.of(odin.process.pid))
            time.sleep(EVERY_S)

    def _choices(self) -> list[Break]:
        """All but what ends the server."""
        breaks = self._breaks
        ends = {breaks.kill, breaks.kill_at_start, breaks.kill_both, breaks.kill_and_set_clock}
        return [each for each in breaks.choices() if each not in ends]

    def _judge(self) -> None:
        for pipeline in self._launched:
            until(partial(self._is_over, pipeline))
        self._doubled = sum(count - 1 for count in self._starts().values())

    def _is_over(self, pipeline: str) -> bool:
        """Or removed since."""
        answer = self._there.odin.api().ask("GET", f"/v1/pipelines/{pipeline}")
        return answer.status == 404 or answer.json["pipeline"]["status"] in ENDED

    def _starts(self) -> Counter[tuple[str, int]]:
        return Counter((line.task, line.attempt) for line in self._oracle.lines() if line.word == "start")

    def row(self) -> Row:
        """Medians of the first and the last quarter of what counts: who comes and goes is not growth."""
        pace = len(self._launched) / (60 * self._minutes)
        counted = self._samples[int(len(self._samples) * WARM) :]
        quarter = max(1, len(counted) // 4)
        first, last = ([median(each) for each in zip(*map(astuple, part), strict=True)]
                       for part in (counted[:quarter], counted[-quarter:]))  # fmt: skip
        at, memory, *others = (after - before for before, after in zip(first, last, strict=True))
        grew = [memory * 3600 / at, *others]
        figure = f"{grew[0]:+.1f} MiB, " + ", ".join(f"{each:+.0f}" for each in others)
        figure += f" in {self._minutes:g} min at {pace:.0f} pipelines/s, {self._doubled} doubled"
        is_short = self._minutes < LONG_MIN
        met = False if self._doubled else None if is_short else grew[0] < 1 and max(others) <= 0
        return Row("R10", WHAT, figure + " (too short to say)" * is_short, TARGET, met)
