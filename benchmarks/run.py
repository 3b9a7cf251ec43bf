#!/usr/bin/env python3
"""Measures Odin beside floors of the same run: ``python3 dev.py bench``, or with ``--all`` everything.

Every figure is a ratio to a floor that is measured in turns with it, for machines are shared and noisy. The table goes
to standard output, all figures with their spread to a JSON file. Linux only: CPU and memory are read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import floors
from large import LARGE
from server import Server
from table import Row, missed, render
from workloads import USUAL, Bench

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".bench"
EVERY = USUAL | LARGE
LEGEND = """\
ratio: the median of the rounds' ratios, Odin's figure to the floor's. met: goal, yes (the first target), or NO."""


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    KEPT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder or KEPT))
    machine = describe()
    try:
        rows = measure(options.words, folder, options.rounds)
    except KeyboardInterrupt:
        print("bench: interrupted; what was started has been ended", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine["load_after"] = os.getloadavg()[0]
    return report(rows, machine, options)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"also {', '.join(LARGE)}: many minutes")
    parser.add_argument("--only", metavar="W1,W2", help=f"some of {', '.join(EVERY)}")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each figure (default: 5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures go (default: .bench/<time>.json)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the server's data lies (default: .bench)")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a first target is missed")
    options = parser.parse_args()
    given = options.only.upper().split(",") if options.only else list(EVERY if options.all else USUAL)
    if unknown := [word for word in given if word not in EVERY]:
        parser.error(f"there is no workload {', '.join(unknown)}; there are {', '.join(EVERY)}")
    options.words = [word for word in EVERY if word in given]
    if not shutil.which("make"):
        parser.error("the floor is make, which is missing: apt-get update && apt-get install -y make")
    return options


def measure(words: Sequence[str], folder: Path, rounds: int) -> list[Row]:
    rows: list[Row] = []
    if usual := [word for word in words if word in USUAL]:
        with Server(folder / "server") as server:
            say("a server of its own, and each job once to warm up")
            bench = Bench.prepare(server, folder, rounds)
            for word in usual:
                say(USUAL[word].__doc__ or word)
                rows += USUAL[word](bench)
    for word in words:
        if word in LARGE:
            say(LARGE[word].__doc__ or word)
            rows += LARGE[word](folder)
    return rows


def report(rows: Sequence[Row], machine: Mapping[str, Any], options: argparse.Namespace) -> int:
    loads = f"{machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
    print(f"\n{machine['processor']}, {machine['cpus']} CPUs, load {loads}; Python {machine['python']}\n")
    print(render(rows))
    print(f"\n{LEGEND}")
    path = options.json or KEPT / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**machine, "rows": [row.facts() for row in rows]}, indent=1) + "\n")
    print(f"all figures: {path}")
    short = missed(rows)
    if short:
        print(f"short of the first target: {'; '.join(short)}")
    return 1 if short and options.strict else 0


def describe() -> dict[str, Any]:
    """The machine, as far as it decides figures."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "make": first_line("make", "--version"),
        "ninja": first_line(*ninja, "--version") if (ninja := floors.ninja()) else None,
        "load_before": os.getloadavg()[0],
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0]


def say(sentence: str) -> None:
    print(f"bench: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
