"""What takes minutes: W5, W6, W7, W10, W11 and what many clients cost; each starts what it needs but for W11's cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import shapes
from crowds import crowds
from floors import Build
from load import hold, load
from logs import logs
from pods import pods
from server import SLOTS, Server
from storm import reads, storm
from streams import streams
from table import Row, Target
from workloads import Bench

FEW, MANY = 1_000, 100_000
REAL = 10_000
ROUNDS = 3


def engine(folder: Path) -> Iterator[Row]:
    """W5: 10,000 real tasks, and the engine alone with 100,000 that take no process: CPU, memory, how they grow."""
    yield from real(folder)
    few, many, submit = [], [], []
    for index in range(ROUNDS):
        few.append(alone("run", FEW, folder / f"few-{index}")["cpu_us"])
        run = alone("run", MANY, folder / f"many-{index}")
        many.append(run["cpu_us"])
        submit.append(run["submit_us"])
    memory = alone("hold", MANY, folder / "hold")
    yield Row("W5", "engine's CPU a task, 100,000 ÷ 1,000 tasks", "µs", many, few, Target(1.5, 1.1))
    yield Row("W5", "engine's CPU a task, 100,000 tasks", "µs", many, target=Target(400, 100))
    yield Row("W5", "of it until it is stored", "µs", submit)
    yield Row("W5", "memory a stored task in flight", "kB", [memory["bytes"] / 1e3], target=Target(4, 1))
    yield Row("W5", "memory a task at the peak of storing", "kB", [memory["peak_bytes"] / 1e3])


def real(folder: Path) -> Iterator[Row]:
    shape = shapes.fan_out(REAL)
    build = Build.write(folder / "wide", shape)
    with Server(folder / "wide-server") as server:
        bench = Bench(server, server.client(), server.committed(), folder, ROUNDS)
        bench.client.push(shape.name, {"main.yml": shapes.main_yml(shape)})
        odin, make = [], []
        for _ in range(ROUNDS):
            make.append(len(shape) / build.make(SLOTS).wall_s)
            odin.append(len(shape) / bench.run(shape))
        bench.close()
    yield Row("W5", "fan-out of 10,000 ÷ make -j16", "tasks/s", odin, make)


def alone(word: str, count: int, folder: Path) -> dict[str, float]:
    folder.mkdir()
    program = str(Path(__file__).with_name("engine_alone.py"))
    command = [sys.executable, program, word, str(count), str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


LARGE: dict[str, Callable[[Path], Iterator[Row]]] = {
    "W5": engine,
    "W6": storm,
    "W7": reads,
    "W10": logs,
    "W11": pods,
    "STREAMS": streams,
    "CROWDS": crowds,
    "LOAD": load,
    "HOLD": hold,
}
