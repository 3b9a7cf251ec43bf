"""Seeds in which servers crash, connections break and stores fail anywhere: every promise holds in each.

The gate runs the same seeds every time; ``make simulate`` runs others, as many as ODIN_SEEDS says.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.runs import SLICE, Total, run, told
from simulation.schedule import Schedule

SEEDS = int(os.environ.get("ODIN_SEEDS", "20000"))
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("first", range(0, SEEDS, SLICE))
def test_f01_nothing_is_lost_doubled_or_stuck_wherever_a_server_dies(first, record_property):
    found, begun = Total(), time.perf_counter()
    found.add(run(range(first, min(first + SLICE, SEEDS))))
    found.wall_s = time.perf_counter() - begun
    record_property("schedules", (found.schedules, found.wall_s, found.virtual_s))
    assert not found.broken, "\n".join(map(told, found.broken))


def test_to_wait_for_days_is_not_to_go_round_in_circles():
    """Nearly five days of tasks, one after another, and somebody who looks every 20 s."""
    assert [each.violation for each in run([527381982696])] == [None]


def test_f03_a_take_over_forgets_nothing_that_was_said_of_other_pipelines():
    """A server that took one over as it was told that a task of another had never been launched, never launched it."""
    assert [each.violation for each in run([102075015317])] == [None]


def digest(seeds):
    """What happens in these seeds, all of it, in one number."""
    told = hashlib.sha256()
    for seed in seeds:
        Schedule(seed, lambda line: told.update(line.encode())).run()
    return told.hexdigest()


def test_a_seed_is_the_same_run_in_every_process():
    code = "from simulation.test_schedules import digest; print(digest(range(300)))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=TESTS,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_a_violation_is_told_with_the_line_that_replays_it():
    words = ["--mutation", "drops_an_absent", "--seed"]
    seed = next(seed for seed in range(1000) if replay(*words, str(seed)).returncode)
    done = replay(*words, str(seed))
    assert f"seed {seed}: stuck" in done.stdout
    assert f"python3 dev.py simulate --seed {seed}" in done.stdout


def replay(*words):
    command = [sys.executable, "-m", "simulation", *words]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
