"""Rows whose figures come from tests that there are: kill points, schedules, an API server that fails, the catalogue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from xml.etree import ElementTree

import rows as catalogue
from chaos.scoreboard import Asked, Row, unmeasured
from simulation.runs import REPLAY, today, total

TESTS = Path(__file__).resolve().parents[1]
POINTS, YEAR_S = 44, 365.25 * 86400
FAULTS_S = {False: 75, True: 600}  # how long a storm of faults lasts
SILENCES = {False: 3, True: 25}  # in each as many watches as are open then: two to four


@dataclass(frozen=True)
class Done:
    """What pytest says of some tests."""

    passed: Counter[str]
    failed: tuple[str, ...]
    skipped: int
    why: str

    def __add__(self, other: Done) -> Done:
        failed = self.failed + other.failed
        return Done(self.passed + other.passed, failed, self.skipped + other.skipped, self.why or other.why)


def pytest_of(*words: str, **variables: str) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", f"--junitxml={report}", *words]
        done = subprocess.run(command, cwd=TESTS.parent, env=os.environ | variables, text=True, capture_output=True)
        if not report.exists():
            return Done(Counter(), (done.stdout[-500:] + done.stderr[-500:],), 0, "")
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    passed, failed, skipped, why = Counter[str](), [], 0, ""
    for case in cases:
        name = case.get("name", "")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif (reason := case.find("skipped")) is not None:
            skipped, why = skipped + 1, reason.get("message", "")
        else:
            passed[name.partition("[")[0]] += 1
    if failed:
        print(done.stdout[-3000:])
    return Done(passed, tuple(failed), skipped, why)


def kill_points(asked: Asked) -> Iterator[Row]:
    """R1: each is a test, in which everything is passed that there is to pass."""
    from chaos.test_kill_points import OF_RUNNER, OF_SERVER

    turns, points = (5 if asked.long else 2), len(OF_SERVER) + len(OF_RUNNER)
    done = pytest_of("tests/chaos/test_kill_points.py", "-n", "2", ODIN_CHAOS=str(10 * turns))
    runs = done.passed.total() + len(done.failed)
    figure = f"{len(done.failed)} violations in {runs} runs of {points} points"
    met = not done.failed and points >= POINTS and runs >= points * turns
    yield Row("R1", "killed at a named point (SQLite, local)", figure, f"0 in {POINTS} points × {turns}", met)


def schedules(asked: Asked) -> Iterator[Row]:
    """R3: the simulator, on seeds that nobody has run yet."""
    wanted, years = (300_000, 15) if asked.long else (20_000, 1)
    found = total(today(), wanted)
    for each in found.broken[:10]:
        print(f"  {each.violation}\n  {REPLAY.format(each.seed)}")
    lived = found.virtual_s / YEAR_S
    time = f"{lived:.1f} years" if lived >= 1 else f"{found.virtual_s / 86400:.0f} days"
    figure = f"{len(found.broken)} violations in {found.schedules:,}, {time} ({found.schedules / found.wall_s:.0f}/s)"
    met = not found.broken and lived >= years
    yield Row("R3", "simulated schedules, and their time", figure, f"0 in {wanted:,}; ≥ {years} years", met)


def cluster(asked: Asked) -> Iterator[Row]:
    """R6 and R7: the API server's faults, by a proxy before it."""
    calls = f"0 in {50_000 if asked.long else 2_000:,}", f"0 in {'30 / 500 / 50' if asked.long else '3 / 50 / 5'}"
    names = "faults of the API server: duplicate pods, false failures", "API server restarted / 410 / silent watch"
    if not os.environ.get("KUBECONFIG"):
        for name, what, wanted in zip(("R6", "R7"), names, calls, strict=True):
            yield unmeasured(name, what, wanted, "KUBECONFIG names no cluster")
        return
    done, counts = _storms(asked)
    failed, skipped = len(done.failed), f" ({done.skipped} tests not run: {done.why})" * bool(done.skipped)
    met = not failed and counts["faults"] >= (50_000 if asked.long else 2_000)
    yield Row("R6", names[0], f"{failed} in {counts['faults']:,}{skipped}", calls[0], met)
    restarts = sum(count for name, count in done.passed.items() if "killed_and_restarted" in name or "etcd" in name)
    seen, wanted = (restarts, counts["expired"], counts["silent"]), (30, 500, 50) if asked.long else (3, 50, 5)
    met = not failed and all(have >= want for have, want in zip(seen, wanted, strict=True))
    yield Row("R7", names[1], f"{failed} in {' / '.join(map(str, seen))}", calls[1], met)


def _storms(asked: Asked) -> tuple[Done, Counter[str]]:
    """What the tests say, and what was done to calls in them."""
    length, often = FAULTS_S[asked.long], 15 if asked.long else 5
    runs = ["tests/kubernetes/test_faults.py"] + ["tests/kubernetes/test_outages.py"] * often
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder) / "tally"
        variables = {
            "ODIN_FAULT_TALLY": str(tally),
            "ODIN_FAULT_S": str(length),
            "ODIN_SILENCES": str(SILENCES[asked.long]),
        }
        done = reduce(Done.__add__, [pytest_of(path, "-n", "0", "--timeout=0", **variables) for path in runs])
        counts = Counter[str]()
        for line in tally.read_text().splitlines() if tally.exists() else ():
            counts.update(json.loads(line))
    return done, counts


def named(_: Asked) -> Iterator[Row]:
    """R9: which rows of the catalogue of faults have a test that is named after them."""
    tests = catalogue.covered()
    of = [row.id for row in catalogue.catalogue() if row.id.startswith("F")]
    missing = [row for row in of if row not in tests]
    figure = f"{len(of) - len(missing)} of {len(of)}" + (f"; not {', '.join(missing)}" if missing else "")
    yield Row("R9", "rows of the catalogue of faults with a test", figure, f"{len(of)} of {len(of)}", not missing)
