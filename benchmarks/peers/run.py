#!/usr/bin/env python3
"""The same graphs through Odin and whatever else is installed, in turns: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import floors
import processes
import shapes
from server import SLOTS, Server
from shapes import Shape

HERE = Path(__file__).resolve().parent
KEPT = HERE.parents[1] / ".bench"
SHAPES = (shapes.fan_out(500), shapes.chain(100), shapes.layers(20, 25, 3), shapes.diamond())
FIGURES: dict[str, Callable[[float, int], str]] = {
    "fan-out": lambda wall_s, count: f"{count / wall_s:,.0f} tasks/s",
    "chain": lambda wall_s, count: f"{wall_s / count * 1e3:.2f} ms/edge",
    "layers": lambda wall_s, count: f"{count / wall_s:,.0f} tasks/s",
    "diamond": lambda wall_s, _: f"{wall_s:.3f} s",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """``module`` must be importable by the peers' interpreter, else ``command`` be on the PATH."""

    command: Sequence[str]
    module: str = ""

    def line(self, python: str) -> tuple[str, ...] | None:
        """The whole command; None when the peer is not installed."""
        if not self.module:
            return tuple(self.command) if shutil.which(self.command[0]) else None
        there = subprocess.run([python, "-c", f"import {self.module}"], capture_output=True).returncode == 0
        return (python, *self.command) if there else None


PEERS: Mapping[str, Peer] = {
    "make": Peer(("make", "-s", f"-j{SLOTS}")),
    "ninja": Peer((*(floors.ninja() or ("ninja",)), "--quiet", f"-j{SLOTS}")),
    "doit": Peer(("-m", "doit", "-f", str(HERE / "dodo.py"), "-d", ".", "-n", str(SLOTS), "-P", "thread"), "doit"),
    "luigi": Peer(
        ("-m", "luigi", "--module", "luigi_graph", "All", "--local-scheduler", "--workers", str(SLOTS)), "luigi"
    ),
    "snakemake": Peer(
        ("-m", "snakemake", "-s", str(HERE / "Snakefile"), "--cores", str(SLOTS), "--quiet"), "snakemake"
    ),
    "prefect": Peer((str(HERE / "prefect_graph.py"),), "prefect"),
}


def main() -> int:
    options = parsed()
    lines = {name: line for name, peer in PEERS.items() if (line := peer.line(options.python))}
    KEPT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=KEPT))
    try:
        with Server(folder / "server") as server:
            prepare(server, folder)
            runs = {"odin": lambda shape: server.command("odin-run", "--follow", shape.name).wall_s}
            runs |= {name: through(line, folder) for name, line in lines.items()}
            show(measure(runs, options.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    missing = [name for name in PEERS if name not in lines]
    print(f"not installed: {', '.join(missing)}" if missing else "all peers are installed")
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--python", default=sys.executable, metavar="PROGRAM", help="interpreter that has the peers")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds, of which the median counts")
    return parser.parse_args()


def prepare(server: Server, folder: Path) -> None:
    """Each graph as everybody reads it; each job once, so that its checkout is there."""
    server.command("odin-auth")
    client = server.client()
    for shape in SHAPES:
        client.push(shape.name, {"main.yml": shapes.main_yml(shape)})
        build = floors.Build.write(folder / shape.name, shape)
        (build.folder / "graph.json").write_text(json.dumps(shape.depends))
    for shape in SHAPES:
        server.command("odin-run", "--follow", shape.name)
    client.close()


def through(line: Sequence[str], folder: Path) -> Callable[[Shape], float]:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PREFECT_HOME": str(folder / "prefect")}

    def run(shape: Shape) -> float:
        place = folder / shape.name
        for made in ("done", ".snakemake", ".doit.db"):
            shutil.rmtree(place / made, ignore_errors=True)
        (place / "done").mkdir()
        return processes.run(line, cwd=place, env=environment).wall_s

    return run


def measure(runs: Mapping[str, Callable[[Shape], float]], rounds: int) -> dict[str, dict[str, str]]:
    """Of each peer its figure for each graph; peers take turns within a round."""
    seen: dict[tuple[str, str], list[float]] = {}
    failed: set[str] = set()
    for turn in range(rounds):
        for name, run in runs.items():
            print(f"peers: round {turn + 1}, {name}", file=sys.stderr, flush=True)
            for shape in SHAPES if name not in failed else ():
                try:
                    seen.setdefault((name, shape.name), []).append(run(shape))
                except RuntimeError as error:
                    print(f"peers: {name} failed: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
                    failed.add(name)
                    break
    return {name: {shape.name: figure(seen.get((name, shape.name)), shape) for shape in SHAPES} for name in runs}


def figure(walls_s: Sequence[float] | None, shape: Shape) -> str:
    return FIGURES[shape.name](statistics.median(walls_s), len(shape)) if walls_s else "failed"


def show(figures: Mapping[str, Mapping[str, str]]) -> None:
    print(f"\n{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("".join(word.rjust(16) for word in ("", *FIGURES)))
    for name, row in figures.items():
        print("".join(word.rjust(16) for word in (name, *row.values())))
    print()


if __name__ == "__main__":
    sys.exit(main())
