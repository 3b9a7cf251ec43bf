"""W1 to W4, W8 and W9: each measured beside its floor, round by round, on one server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import floors
import processes
import shapes
from client import Client
from database import Committed
from floors import Build
from server import SLOTS, Server
from shapes import Shape
from table import Row, Target

SHAPES = (shapes.fan_out(500), shapes.chain(100), shapes.layers(20, 25, 3), shapes.diamond())
IDLE_S = 2.0
SETTLE_S = 0.05  # for what the server still does once a pipeline's end can be seen


@dataclass(slots=True)
class Bench:
    """A server with the jobs pushed and run once, and the same graphs for make and ninja."""

    server: Server
    client: Client
    committed: Committed
    folder: Path
    rounds: int
    builds: dict[str, Build] = field(default_factory=dict)

    @classmethod
    def prepare(cls, server: Server, folder: Path, rounds: int) -> Bench:
        bench = cls(server, server.client(), server.committed(), folder, rounds)
        server.command("odin-auth")
        for shape in SHAPES:
            bench.client.push(shape.name, {"main.yml": shapes.main_yml(shape)})
            bench.builds[shape.name] = Build.write(folder / "floors" / shape.name, shape)
        for shape in SHAPES:
            bench.run(shape)
        return bench

    def close(self) -> None:
        self.client.close()
        self.committed.close()

    def run(self, shape: Shape) -> float:
        """From the request to the committed end, in seconds; nobody watches meanwhile."""
        began = time.perf_counter()
        self.committed.wait(self.client.launch(shape.name))
        return time.perf_counter() - began

    def watched(self, shape: Shape) -> float:
        """The same with one who follows the stream."""
        began = time.perf_counter()
        self.client.follow(self.client.launch(shape.name))
        return time.perf_counter() - began


def fan_out(bench: Bench) -> Iterator[Row]:
    """W1: throughput of tasks that do not wait for one another, and what each costs."""
    shape, ninja = SHAPES[0], floors.ninja()
    names = ("odin", "watched", "make", "ninja", "spawned", "cpu", "spawned_cpu")
    seen: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(bench.rounds):
        spawned = floors.spawn(len(shape), SLOTS)
        seen["spawned"].append(len(shape) / spawned.wall_s)
        seen["spawned_cpu"].append(spawned.cpu_s / len(shape) * 1e3)
        seen["make"].append(len(shape) / bench.builds[shape.name].make(SLOTS).wall_s)
        before = bench.server.cpu_s()
        seen["odin"].append(len(shape) / bench.run(shape))
        time.sleep(SETTLE_S)
        seen["cpu"].append((bench.server.cpu_s() - before) / len(shape) * 1e3)
        if ninja:
            seen["ninja"].append(len(shape) / bench.builds[shape.name].ninja(SLOTS).wall_s)
        seen["watched"].append(len(shape) / bench.watched(shape))
    yield Row("W1", "fan-out ÷ make -j16", "tasks/s", seen["odin"], seen["make"], Target(0.35, 0.65, at_least=True))
    if ninja:
        target = Target(0.6, 1.1, at_least=True)
        yield Row("W1", "fan-out ÷ ninja -j16", "tasks/s", seen["odin"], seen["ninja"], target)
    yield Row("W1", "CPU a task ÷ posix_spawn + pidfd", "ms", seen["cpu"], seen["spawned_cpu"], Target(2.5, 1.3))
    yield Row("W1", "fan-out ÷ posix_spawn + pidfd", "tasks/s", seen["odin"], seen["spawned"])
    yield Row("W1", "fan-out with a follower ÷ make -j16", "tasks/s", seen["watched"], seen["make"])


def chain(bench: Bench) -> Iterator[Row]:
    """W2: what lies between the end of a task and the start of the next."""
    shape = SHAPES[1]
    odin, make = [], []
    for _ in range(bench.rounds):
        make.append(bench.builds[shape.name].make(SLOTS).wall_s / len(shape) * 1e3)
        odin.append(bench.run(shape) / len(shape) * 1e3)
    yield Row("W2", "chain, an edge ÷ make", "ms", odin, make, Target(4, 1.7))


def layers(bench: Bench) -> Iterator[Row]:
    """W3: many dependencies, some parallelism."""
    shape = SHAPES[2]
    odin, make = [], []
    for _ in range(bench.rounds):
        make.append(len(shape) / bench.builds[shape.name].make(SLOTS).wall_s)
        odin.append(len(shape) / bench.run(shape))
    yield Row("W3", "layers 20 x 25 ÷ make -j16", "tasks/s", odin, make, Target(0.35, 0.65, at_least=True))


def diamond(bench: Bench) -> Iterator[Row]:
    """W4: how long somebody waits for a small pipeline, with the server warm, and with a command's whole start."""
    shape = SHAPES[3]
    odin, forks, cold, python = [], [], [], []
    for _ in range(4 * bench.rounds):
        forks.append(floors.forks(len(shape)).wall_s * 1e3)
        odin.append(bench.watched(shape) * 1e3)
    for _ in range(2 * bench.rounds):
        python.append(floors.python().wall_s * 1e3)
        cold.append(bench.server.command("odin-run", "--follow", shape.name).wall_s * 1e3)
    yield Row("W4", "diamond, warm ÷ 4 x fork, exec, wait", "ms", odin, forks, Target(15, 4))
    yield Row("W4", "diamond, odin-run --follow ÷ python -c pass", "ms", cold, python, Target(25, 10))


def commands(bench: Bench) -> Iterator[Row]:
    """W8: the start of a command."""
    pipeline = bench.client.launch("diamond")
    bench.committed.wait(pipeline)
    python, status, overview = [], [], []
    for _ in range(2 * bench.rounds):
        python.append(floors.python())
        status.append(bench.server.command("odin-status", pipeline))
        overview.append(bench.server.command("odin", "--help"))
    for name, costs in (("odin-status", status), ("odin --help", overview)):
        for what, of, target in (("CPU", _cpu_ms, Target(8, 4)), ("wall", _wall_ms, None)):
            yield Row("W8", f"{name}, {what} ÷ python -c pass", "ms", of(costs), of(python), target)


def idle(bench: Bench) -> Iterator[Row]:
    """W9: a server that has nothing to do: its start on a fresh folder and on this one, its memory, its CPU."""
    bench.close()
    worked_mb = processes.memory_mb(bench.server.pid)
    fresh, again, memory, runner, cpu = [], [], [], [], []
    for index in range(max(1, bench.rounds // 2 + 1)):
        with Server(bench.folder / f"fresh-{index}") as server:
            fresh.append(server.ready_s)
        bench.server.stop()
        bench.server.start()
        again.append(bench.server.ready_s)
        cpu.append(_idle_cpu(bench.server))
        memory.append(processes.memory_mb(bench.server.pid))
        runner += [processes.memory_mb(pid) for pid in [bench.server.runner] if pid]
    yield Row("W9", "start to ready, fresh folder", "s", fresh, target=Target(2, 0.7))
    yield Row("W9", "start to ready, folder with pipelines", "s", again, target=Target(2, 0.7))
    yield Row("W9", "idle memory of the server", "MB", memory, target=Target(120, 60))
    if runner:
        yield Row("W9", "idle memory of the runner", "MB", runner)
    yield Row("W9", "memory of the server after W1 to W8", "MB", [worked_mb])
    yield Row("W9", "idle CPU of server and runner", "%", cpu)


def _idle_cpu(server: Server) -> float:
    """Percent of one core, over two seconds that begin half a second after the start."""
    time.sleep(0.5)
    pids = [pid for pid in (server.pid, server.runner) if pid]
    before = sum(map(processes.own_cpu_s, pids))
    time.sleep(IDLE_S)
    return (sum(map(processes.own_cpu_s, pids)) - before) / IDLE_S * 100


def _cpu_ms(costs: list[processes.Cost]) -> list[float]:
    return [cost.cpu_s * 1e3 for cost in costs]


def _wall_ms(costs: list[processes.Cost]) -> list[float]:
    return [cost.wall_s * 1e3 for cost in costs]


Workload = Callable[[Bench], Iterator[Row]]
USUAL: dict[str, Workload] = {
    "W1": fan_out, "W2": chain, "W3": layers, "W4": diamond, "W8": commands, "W9": idle,
}  # fmt: skip
