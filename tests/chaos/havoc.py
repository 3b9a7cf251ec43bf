"""Everything at once, with real parts: servers, their runner and PostgreSQL are killed while pipelines run.

What tasks did by their own account is then held against what Odin says. The order of what is broken follows from the
seed; when it falls does not. Source: reliability.md, 2.2 (L3) and 6.
"""

from __future__ import annotations

import argparse
import http.client
import random
import secrets
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos.oracle import Oracle, Plan, storm
from e2e.serving import DEADLINE_S, ENDED, Answer, Api, Serving
from postgres import Postgres, cluster

JOBS = 8
WINDOW = 12  # pipelines at once
UNSEEN = "it may have run"  # what Odin says where it cannot know: reliability.md, P3
LONGEST_S = 600.0  # without anything moving: stuck


class Patient(Api):
    """Asks again until somebody answers, as the commands do: what is not repeatable by itself carries a key."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if method == "POST":
            headers.setdefault("Idempotency_Key", uuid.uuid4().hex)
        until = time.monotonic() + DEADLINE_S
        while True:
            with suppress(OSError, http.client.HTTPException):
                answer = super().ask(method, path, body, **headers)
                if answer.status != 503:
                    return answer
            assert time.monotonic() < until, f"nobody answers {method} {path}"
            time.sleep(0.05)


@dataclass
class Tally:
    """What was done and what came of it; times in seconds."""

    broken: Counter[str] = field(default_factory=Counter)
    launched: list[tuple[str, Plan]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    ready_s: list[float] = field(default_factory=list)
    database_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unseen: int = 0  # tasks whose runner was killed as it started them

    @property
    def kills(self) -> int:
        return sum(self.broken.values())


class Havoc:
    """One server on folders of its own. ``postgres`` is its database, else it has a file."""

    def __init__(self, options: argparse.Namespace, odin: Serving, postgres: Postgres | None) -> None:
        self._options, self._odin, self._postgres = options, odin, postgres
        self._rng = random.Random(options.seed)
        self._oracle = Oracle(odin)
        self._tally = Tally()
        self._failed: BaseException | None = None

    def run(self) -> Tally:
        self._odin.start()
        api = Patient(self._odin.port, self._odin.api().token)
        self._oracle.api = api
        plans = [storm(self._rng, self._options.tasks, failing=number % 2 == 1) for number in range(JOBS)]
        for number, plan in enumerate(plans):
            answer = api.write(f"storm{number}", plan.files(self._oracle), Idempotency_Key=uuid.uuid4().hex)
            assert answer.status == 200, answer.body
        driving = threading.Thread(target=self._drive_all, args=(api, plans), daemon=True)
        driving.start()
        self._wreck()  # in this thread, with which a PostgreSQL that it starts would end
        driving.join()
        if self._failed is not None:
            raise self._failed
        self._judge()
        return self._tally

    # People

    def _drive_all(self, api: Api, plans: list[Plan]) -> None:
        try:
            self._drive(api, plans)
        except BaseException as error:
            self._failed = error

    def _drive(self, api: Api, plans: list[Plan]) -> None:
        """Launch as the kills go on, so that something runs at each of them."""
        tally, flying = self._tally, list[str]()
        seen, moved_at, said_at = -1, time.monotonic(), 0.0
        while len(tally.over) < self._options.pipelines:
            if len(flying) < WINDOW and self._may_launch():
                number = self._rng.randrange(JOBS)
                flying.append(api.launch(f"storm{number}"))
                tally.launched.append((flying[-1], plans[number]))
                continue
            over = {each for each in flying if api.pipeline(each)["status"] in ENDED}
            tally.over |= over
            flying = [each for each in flying if each not in over]
            if (count := self._oracle.count()) != seen:
                seen, moved_at = count, time.monotonic()
            assert time.monotonic() < moved_at + LONGEST_S, f"stuck: {flying}"
            if time.monotonic() > said_at + 10:
                said_at = time.monotonic()
                print(f"  {tally.kills} kills, {len(tally.over)} of {len(tally.launched)} pipelines over", flush=True)
            time.sleep(0.1)

    def _may_launch(self) -> bool:
        launched, wanted = len(self._tally.launched), self._options.pipelines
        return launched < wanted and launched * self._options.kills <= (self._tally.kills + WINDOW) * wanted

    # What breaks

    @property
    def _is_wrecking(self) -> bool:
        return self._tally.kills < self._options.kills

    def _wreck(self) -> None:
        rng = random.Random(f"{self._options.seed} wreck")
        choices = {self._kill: 6, self._kill_at_start: 1, self._kill_runner: 1, self._kill_both: 1}
        if self._postgres is not None:
            choices |= {self._restart_postgres: 1, self._crash_postgres: 1}
        while self._is_wrecking and self._failed is None:
            time.sleep(rng.random() * 0.6)
            (choice,) = rng.choices(list(choices), list(choices.values()))
            began = time.monotonic()
            choice(rng)
            if self._options.verbose:
                print(f"  {choice.__name__.strip('_')}: {time.monotonic() - began:.2f} s", flush=True)

    def _start(self) -> None:
        began = time.monotonic()
        self._odin.start()
        self._tally.ready_s.append(time.monotonic() - began)

    def _kill(self, _: random.Random) -> None:
        self._odin.kill()
        self._tally.broken["server"] += 1
        self._start()

    def _kill_at_start(self, rng: random.Random) -> None:
        self._odin.kill()
        process = self._odin.popen()
        time.sleep(rng.random() * 1.2)
        process.kill()
        process.wait()
        self._tally.broken["server, as it starts"] += 2
        self._start()

    def _kill_runner(self, _: random.Random) -> None:
        with suppress(ProcessLookupError):
            self._odin.kill_runner()
            self._tally.broken["runner"] += 1

    def _kill_both(self, _: random.Random) -> None:
        self._odin.kill()
        with suppress(ProcessLookupError):
            self._odin.kill_runner()
        self._tally.broken["server and runner"] += 2
        self._start()

    def _restart_postgres(self, rng: random.Random) -> None:
        self._down(rng, crash=False)

    def _crash_postgres(self, rng: random.Random) -> None:
        self._down(rng, crash=True)

    def _down(self, rng: random.Random, *, crash: bool) -> None:
        """Stopped for up to two seconds; how long until the server is ready again after its return."""
        assert self._postgres is not None
        self._postgres.stop(signal.SIGQUIT if crash else signal.SIGINT)
        time.sleep(rng.random() * 2)
        self._postgres.start()
        self._tally.broken["PostgreSQL, crashed" if crash else "PostgreSQL, restarted"] += 1
        began = time.monotonic()
        asking = Api(self._odin.port)
        while asking.ask("GET", "/readyz").status != 200:
            assert time.monotonic() < began + DEADLINE_S, self._odin.said()
            time.sleep(0.02)
        self._tally.database_s.append(time.monotonic() - began)

    # What came of it

    def _judge(self) -> None:
        for pipeline, plan in self._tally.launched:
            told = self._oracle.asking.finished(pipeline)
            unseen = [one for one in told["tasks"].values() if (one["reason"] or "").startswith(UNSEEN)]
            self._tally.unseen += len(unseen)
            try:
                if unseen:
                    self._oracle.hold_together(told)
                else:
                    self._oracle.judge(pipeline, plan.fates)
            except AssertionError as error:
                self._tally.wrong.append(f"{pipeline}: {str(error).splitlines()[0][:300]}")
        self._odin.terminate()
        if self._postgres is None:
            self._oracle.stores_are_sound()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py chaos", description=__doc__)
    parser.add_argument("--pipelines", type=int, default=200, metavar="N", help="of 50 tasks or so each (default: 200)")
    parser.add_argument("--tasks", type=int, default=50, metavar="N", help="of each pipeline (default: 50)")
    parser.add_argument("--kills", type=int, default=500, metavar="N", help="at least so many (default: 500)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what is broken, in which order (default: any)")
    parser.add_argument("--verbose", action="store_true", help="tell each thing that is broken")
    return parser.parse_args()


@contextmanager
def database(kind: str) -> Iterator[Postgres | None]:
    if kind == "sqlite":
        yield None
        return
    server = cluster(fsync="on", full_page_writes="on")
    try:
        yield server
    finally:
        server.close()


def main() -> int:
    options = parsed()
    print(f"chaos: seed {options.seed}, {options.pipelines} pipelines of {options.tasks} tasks on {options.database}")
    began = time.monotonic()
    try:
        with database(options.database) as postgres:
            settings = {} if postgres is None else {"DATABASE_URL": postgres.empty()}
            odin = Serving(settings)
            try:
                tally = Havoc(options, odin, postgres).run()
            finally:
                odin.close(quiet=False)
    except pytest.skip.Exception as reason:
        print(reason)
        return 2
    report(tally, time.monotonic() - began)
    return 1 if tally.wrong else 0


def report(tally: Tally, took_s: float) -> None:
    attempts = sum(plan.starts for _, plan in tally.launched)
    tasks = sum(len(plan.fates) for _, plan in tally.launched)
    print(f"chaos: {len(tally.launched)} pipelines, {tasks} tasks, {attempts} attempts in {took_s:.0f} s")
    for what, times in sorted(tally.broken.items()):
        print(f"  {times:5} × {what}")
    lost = len(tally.launched) - len(tally.over)
    print(f"  acknowledged and lost: {lost}; pipelines whose account is wrong: {len(tally.wrong)}")
    print(
        f"  tasks whose runner was killed as it started them, failed for that and never started again: {tally.unseen}"
    )
    for sentence in tally.wrong[:10]:
        print(f"    {sentence}")
    row("R2", f"{tally.kills} kills: wrong or lost", len(tally.wrong) + lost, "0", met=not tally.wrong and not lost)
    if tally.ready_s:
        print(f"  ready after a kill, p99: {p99(tally.ready_s):.3g} s")
    if tally.database_s:
        stall = p99(tally.database_s)
        row("R13", f"ready after PostgreSQL's return ({len(tally.database_s)}), p99", stall, "≤ 2 s", met=stall <= 2)


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]


def row(name: str, what: str, figure: float, target: str, *, met: bool) -> None:
    print(f"  {name:4} {what}: {figure:.3g} (wanted {target}) {'met' if met else 'NOT met'}")


if __name__ == "__main__":
    sys.exit(main())
