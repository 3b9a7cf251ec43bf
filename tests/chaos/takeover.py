"""R12: one of two servers is killed; how long until the other moves what that one drove.

Some pipelines are chains of short tasks that write down when they begin. Once their server is dead the task that runs
ends, and nothing follows until somebody else drives them: as long as a lease lasts and a beat of who takes over. Many
others are older, in whose only task nothing happens, and change hands each time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chaos.mates import Pair, pair
from chaos.scoreboard import Asked, Row
from e2e.jobs import job, task
from e2e.serving import Serving, until

KILLS, MANY = 20, 100
AT_ONCE, BESIDE = 3, 600
SOON_S = 1.0  # what begins within that was still started by who is dead: a lease has longer to go
TARGET_S = 10.0
WHAT = f"one of two servers is killed with {BESIDE} running pipelines: until the other moves the newest, p99"


def measure(asked: Asked) -> Iterator[Row]:
    with pair() as servers:
        pauses = Takeovers(servers, random.Random(f"{asked.seed} takeover")).run(MANY if asked.long else KILLS)
    worst = sorted(pauses)[min(len(pauses) - 1, int(len(pauses) * 0.99))]
    figure = f"{worst:.1f} s ({len(pauses) // AT_ONCE} kills, median {sorted(pauses)[len(pauses) // 2]:.1f} s)"
    yield Row("R12", WHAT, figure, f"≤ {TARGET_S:g} s", worst <= TARGET_S)


class Takeovers:
    def __init__(self, servers: Pair, rng: random.Random) -> None:
        self._servers, self._rng = servers, rng
        self._folder = servers.first.folder / "began"
        self._folder.mkdir()

    def run(self, kills: int) -> list[float]:
        first, second = self._servers.first.start(), self._servers.second.start()
        note = f"date +%s.%N >> {self._folder}/${{ODIN_TASK_ID%%--*}}; sleep 0.05"
        names = [f"t{number}" for number in range(400)]
        chain = [task(name, note, *names[at - 1 : at], cpu="10m") for at, name in enumerate(names)]
        first.api().push("chain", job(*chain))
        first.api().push("idle", job(task("idle", "exec sleep 1000000", cpu="1m")))
        with ThreadPoolExecutor(4) as people:
            list(people.map(second.api().launch, ["idle"] * BESIDE))
        pauses: list[float] = []
        for number in range(kills):
            victim, other = (first, second) if number % 2 else (second, first)
            pauses += self._kill(victim, other)
            print(f"  R12: {', '.join(f'{pause:.2f}' for pause in pauses[-AT_ONCE:])} s", flush=True)
        return pauses

    def _kill(self, victim: Serving, other: Serving) -> list[float]:
        pipelines = [victim.api().launch("chain") for _ in range(AT_ONCE)]
        until(lambda: all(len(self._began(each)) > 2 for each in pipelines))
        time.sleep(self._rng.random() * 2)  # anywhere between two beats
        at = time.time()
        victim.kill()
        until(lambda: all(self._began(each)[-1] > at + SOON_S for each in pipelines), told=other.said)
        moved = [next(moment for moment in self._began(each) if moment > at + SOON_S) for each in pipelines]
        for each in pipelines:
            other.api().post(f"/v1/pipelines/{each}/cancel")
        victim.start()
        for each in pipelines:
            assert other.api().finished(each)["outcome"] == "cancelled"
        return [moment - at for moment in moved]

    def _began(self, pipeline: str) -> list[float]:
        path: Path = self._folder / pipeline
        return list(map(float, path.read_text().split())) if path.exists() else []
