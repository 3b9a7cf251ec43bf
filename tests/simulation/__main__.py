"""Runs seeded schedules of crashes and faults against the engine, and checks what must always hold.

A seed that breaks something is printed with the line that replays it. The replay tells all that happens.
"""

from __future__ import annotations

import argparse
import os
import sys

import pytest

from simulation.mutations import MUTATIONS
from simulation.runs import today, told, total
from simulation.schedule import Schedule


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one and tell all that happens")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="in the replay break the engine so")
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("ODIN_SEEDS", "20000")), metavar="N")
    parser.add_argument("--first", type=int, default=None, help="the first of them; by default any", metavar="SEED")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return replay(chosen.seed, chosen.mutation)
    first = today() if chosen.first is None else chosen.first
    print(f"{chosen.seeds} seeds from {first}", flush=True)
    found = total(first, chosen.seeds)
    for result in found.broken[:10]:
        print(told(result))
    print(found)
    return 1 if found.broken else 0


def replay(seed: int, mutation: str | None) -> int:
    with pytest.MonkeyPatch.context() as patch:
        if mutation is not None:
            MUTATIONS[mutation].apply(patch)
        result = Schedule(seed, print).run()
    print(told(result, mutation) if result.violation is not None else f"seed {seed}: all held")
    return 1 if result.violation is not None else 0


if __name__ == "__main__":
    sys.exit(main())
