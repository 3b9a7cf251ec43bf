"""Measures the rows R1 to R13 of the scoreboard with real parts; first of all the hours in which everything breaks.

A measure that cannot run here says what is missing. The exit code is 1 where a row is not met.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from dataclasses import replace
from functools import partial

import pytest

from chaos import havoc, pauses, powerloss, restart, servers, soak, suites, takeover
from chaos.scoreboard import Asked, Measure, Row, show, unmeasured

ALL = tuple(f"R{number}" for number in range(1, 14))
DATABASE = havoc.Dose(pipelines=20, kills=10, pause_s=(2, 5), only_database=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py chaos", description=__doc__)
    parser.add_argument("--only", default=",".join(ALL), metavar="R2,R5", help="these rows (default: all)")
    parser.add_argument("--pipelines", type=int, metavar="N", help="under which things break (default: 200)")
    parser.add_argument("--tasks", type=int, default=50, metavar="N", help="of each pipeline (default: 50)")
    parser.add_argument("--kills", type=int, metavar="N", help="at least so many (default: 500)")
    parser.add_argument(
        "--only-database",
        action="store_true",
        help="only PostgreSQL is restarted, --kills times (default: 10) under --pipelines (default: 20)",
    )
    parser.add_argument(
        "--servers", type=int, metavar="N", help="only this: so many on one host, one killed every 5 s (50 pipelines)"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what is broken, in which order (default: any)")
    parser.add_argument("--long", action="store_true", help="as much as before a release")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="how long R10 looks (default: not)")
    parser.add_argument("--verbose", action="store_true", help="tell each thing that is broken")
    return parser.parse_args()


def measures(options: argparse.Namespace) -> list[tuple[tuple[str, ...], Measure]]:
    """All there are, with the rows that each gives."""
    usual = DATABASE if options.only_database else havoc.Dose()
    dose = replace(
        usual,
        pipelines=options.pipelines or usual.pipelines,
        tasks=options.tasks,
        kills=options.kills or usual.kills,
        is_told=options.verbose,
    )
    return [
        (("R2", "R5", "R13"), partial(havoc.wreak, dose, options.database)),
        (("R1",), suites.kill_points),
        (("R3",), suites.schedules),
        (("R6", "R7"), suites.cluster),
        (("R9",), suites.named),
        (("R4",), powerloss.measure),
        (("R8",), pauses.measure),
        (("R10",), soak.measure),
        (("R11",), restart.measure),
        (("R12",), takeover.measure),
    ]


def taken(names: tuple[str, ...], measure: Measure, asked: Asked) -> list[Row]:
    """The rows of one. What it cannot run with, and what breaks it, are rows too."""
    found: list[Row] = []
    try:
        found += measure(asked)
    except pytest.skip.Exception as reason:
        found += [unmeasured(name, "", "", str(reason)) for name in names]
    except Exception as error:
        traceback.print_exc()
        said = str(error).splitlines()[:1] or [""]
        found += [Row(name, "", f"broken off: {type(error).__name__}: {said[0][:200]}", "", False) for name in names]
    return found


def main() -> int:
    options = parsed()
    if options.servers:
        return servers.run(options.servers, options.pipelines or 50, options.tasks, options.seed)
    wanted = {"R2", "R5", "R13"} if options.only_database else set(options.only.upper().split(","))
    if unknown := wanted - set(ALL):
        print(f"there is no row {', '.join(sorted(unknown))}: {ALL[0]} to {ALL[-1]}", file=sys.stderr)
        return 2
    asked = Asked(long=options.long, soak_min=options.soak, seed=options.seed)
    rows: list[Row] = []
    for names, measure in measures(options):
        if wanted & set(names):
            began = time.monotonic()
            rows += taken(names, measure, asked)
            print(f"{', '.join(names)}: {time.monotonic() - began:.0f} s", flush=True)
    show(rows)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
