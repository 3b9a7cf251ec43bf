"""R11: how long a killed server with a thousand running pipelines takes to be itself again.

Each pipeline is a chain of ten tasks, of which one runs: a process that waits at a gate. While the server is dead that
of every tenth pipeline ends. Once their successors run, what was in flight has been adopted. A job is launched as soon
as somebody answers, and its task says when it began. Seconds count from the start of the server's process.
"""

from __future__ import annotations

import http.client
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos.havoc import database
from chaos.scoreboard import Asked, Row
from e2e.jobs import job, task
from e2e.serving import DEADLINE_S, Api, Serving, until

PIPELINES, TASKS = 1_000, 10
EVERY = 10  # of so many pipelines one has a task that ends while the server is dead
CPU, CPUS = "10m", "20"
TARGETS = {"/readyz": 2.0, "all adopted": 5.0, "first new launch": 3.0}


def measure(asked: Asked) -> Iterator[Row]:
    rounds = 8 if asked.long else 2
    for kind in ("sqlite", "postgresql"):
        floor_s, times = measured(kind, rounds)
        for name, target in TARGETS.items():
            worst = max(each[name] for each in times)
            what = f"{kind}, killed with {PIPELINES:,} running pipelines of {TASKS} tasks: {name}"
            figure = f"{worst:.2f} s (worst of {rounds}; /readyz with no pipeline {floor_s:.2f} s)"
            yield Row("R11", what, figure, f"≤ {target:g} s", worst <= target)


def measured(kind: str, rounds: int) -> tuple[float, list[dict[str, float]]]:
    """Seconds until a server with nothing in flight is ready, and those of each round."""
    with database(kind) as postgres:
        settings = {} if postgres is None else {"DATABASE_URL": postgres.empty()}
        odin = Serving({"LOCAL_CPUS": CPUS, **settings})
        try:
            restart = Restart(odin)
            times = restart.run(rounds)
            return restart.floor_s, times
        finally:
            odin.close(quiet=False)


class Gate:
    """Tasks wait here, doing nothing, until it is opened; from then on nobody waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def open(self) -> None:
        writer = os.open(self.path, os.O_RDWR)
        free = self.path.with_suffix(".open")
        free.touch()
        free.rename(self.path)
        time.sleep(0.2)  # who just found the old one may still be about to open it
        os.close(writer)

    def task(self, name: str, ledger: Path, *depends: str) -> dict[str, Any]:
        script = f"echo $ODIN_TASK_ID >> {ledger}; exec cat {self.path}"
        return task(name, script, *depends, cpu=CPU)


class Restart:
    """One server on folders of its own."""

    def __init__(self, odin: Serving) -> None:
        self.floor_s = 0.0
        self._odin = odin
        self._ledger, self._began = odin.folder / "ledger", odin.folder / "began"
        self._late = Gate(odin.folder / "late")
        self._early = [Gate(odin.folder / f"early{number}") for number in range(TASKS)]

    def run(self, rounds: int) -> list[dict[str, float]]:
        self._odin.start()
        self._push()
        self._odin.kill()
        began = time.monotonic()
        self._odin.start()
        self.floor_s = time.monotonic() - began
        self._launch()
        times = [self._round(number) for number in range(rounds)]
        self._finish()
        return times

    def _push(self) -> None:
        api = self._odin.api()
        for name, gates in (("late", [self._late] * TASKS), ("early", self._early)):
            chain = [
                gate.task(f"t{number}", self._ledger, *([f"t{number - 1}"] if number else []))
                for number, gate in enumerate(gates)
            ]
            api.push(name, job(*chain))
        api.push("new", job(task("only", f"date +%s.%N >> {self._began}", cpu=CPU)))

    def _launch(self) -> None:
        """Until a task of each runs."""
        began, api = time.monotonic(), self._odin.api()
        with ThreadPoolExecutor(4) as people:
            names = ("late" if number % EVERY else "early" for number in range(PIPELINES))
            self._pipelines = list(people.map(api.launch, names))
        until(lambda: len(self._lines()) == PIPELINES, told=lambda: len(self._lines()), pause_s=0.1)
        print(f"  R11: {PIPELINES} pipelines launched and running in {time.monotonic() - began:.1f} s", flush=True)

    def _round(self, number: int) -> dict[str, float]:
        self._odin.kill()
        before = len(self._lines()), len(self._starts())
        self._early[number].open()
        times = self._watched(before[0] + PIPELINES // EVERY, before[1])
        print("  R11: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items()), flush=True)
        return times

    def _watched(self, lines: int, starts: int) -> dict[str, float]:
        at, began = time.time(), time.monotonic()
        times: dict[str, float] = {}
        self._odin.process = self._odin.popen()
        with ThreadPoolExecutor(1) as somebody:
            launching = somebody.submit(self._ready_and_launch, began)
            until(lambda: len(self._lines()) >= lines, told=self._odin.said)
            times["all adopted"] = time.monotonic() - began
            times["/readyz"] = launching.result()
        until(lambda: len(self._starts()) > starts)
        times["first new launch"] = self._starts()[starts] - at
        return {name: times[name] for name in TARGETS}

    def _ready_and_launch(self, began: float) -> float:
        api = self._odin.api()
        while not self._is_ready(api):
            assert time.monotonic() < began + DEADLINE_S, self._odin.said()
            time.sleep(0.01)
        ready_s = time.monotonic() - began
        assert self._odin.process is not None
        ran, waited, _ = Path(f"/proc/{self._odin.process.pid}/schedstat").read_text().split()
        print(
            f"  R11: until then it ran {int(ran) / 1e9:.2f} s and waited for a CPU {int(waited) / 1e9:.2f} s",
            flush=True,
        )
        api.launch("new")
        return ready_s

    def _is_ready(self, api: Api) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return api.ask("GET", "/readyz").status == 200
        return False

    def _finish(self) -> None:
        """F-01: every task of each has run, once."""
        began = time.monotonic()
        for gate in (self._late, *self._early):
            gate.open()
        for pipeline in self._pipelines:
            assert self._odin.api().finished(pipeline)["outcome"] == "succeeded"
        wanted = Counter(f"{pipeline}--t{number}" for pipeline in self._pipelines for number in range(TASKS))
        ran = Counter(self._lines())
        assert ran == wanted, (ran - wanted, wanted - ran)
        print(f"  R11: {len(wanted)} tasks ran once each; the rest took {time.monotonic() - began:.1f} s", flush=True)

    def _lines(self) -> list[str]:
        return self._ledger.read_text().split() if self._ledger.exists() else []

    def _starts(self) -> list[float]:
        return list(map(float, self._began.read_text().split())) if self._began.exists() else []
