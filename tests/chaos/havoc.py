"""Everything at once, with real parts: servers, their runner and PostgreSQL are killed while pipelines run.

What tasks did by their own account is then held against what Odin says, and ``odin-fsck`` looks at what is left. The
order of what is broken follows from the seed; when it falls does not. Source: reliability.md, 2.2 (L3) and 6.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from chaos.breaks import Breaks, Parts, small_disk
from chaos.oracle import Fate, Oracle, Plan, storm
from chaos.scoreboard import Asked, Row
from clocks import JumpingClock
from e2e.serving import ENDED, PASSWORD, USER, Answer, Api, Serving, sign_in
from pgproxy import Proxy
from postgres import Postgres, cluster

JOBS = 8
WINDOW = 12  # pipelines at once
SECONDS = (0, 0, 0.05, 1, 3)  # of a task: something runs each time that something breaks
UNSEEN = "it may have run"  # what Odin says where it cannot know: reliability.md, P3
NO_SPACE = "no space left on device"  # for its log or folder; for less a task waits
STUCK_S = 600.0  # without anything moving
KILLS = {False: 100, True: 500}  # wanted by the gate, and by a release
RESTARTS = {False: 5, True: 60}  # of PostgreSQL
STALL_S = 2.0


class Patient(Api):
    """Asks again until somebody answers, as the commands do: what is not repeatable by itself carries a key."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if method == "POST":
            headers.setdefault("Idempotency_Key", uuid.uuid4().hex)
        until = time.monotonic() + STUCK_S
        while True:
            with suppress(OSError, http.client.HTTPException):
                answer = super().ask(method, path, body, **headers)
                if answer.status == 401:  # by the server's clock the token is over, or not valid yet
                    self.token = sign_in(self.port, USER, PASSWORD)
                elif answer.status not in (503, 507):
                    return answer
            assert time.monotonic() < until, f"nobody answers {method} {path}"
            time.sleep(0.05)


@dataclass(frozen=True)
class Dose:
    """How much of everything."""

    pipelines: int = 200
    tasks: int = 50
    kills: int = 500
    pause_s: tuple[float, float] = (0.0, 0.5)  # between two things that break
    only_database: bool = False
    is_told: bool = False  # each of them


@dataclass
class Tally:
    """What became of it. ``wrong`` has a sentence for each pipeline whose account is wrong."""

    launched: list[tuple[str, Plan]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)  # acknowledged, and not there
    extra: list[str] = field(default_factory=list)  # there, and not acknowledged
    wrong: list[str] = field(default_factory=list)
    attempts: int = 0
    doubled: int = 0  # starts of an attempt after its first
    again: int = 0  # starts of a task after it had succeeded
    unseen: int = 0  # tasks whose runner was killed as it started them
    refused: int = 0  # tasks that the full disk kept from starting
    left: list[str] = field(default_factory=list)  # differences that odin-fsck names, and processes
    tracebacks: int = 0

    @property
    def stuck(self) -> list[str]:
        return [each for each, _ in self.launched if each not in self.over]

    @property
    def faults(self) -> list[str]:
        counted = {"lost": self.lost, "unknown": self.extra, "stuck": self.stuck, "wrong": self.wrong}
        said = [f"{len(those)} {what}" for what, those in counted.items() if those]
        said += [f"{self.doubled} doubled"] * bool(self.doubled) + [f"{self.again} run again"] * bool(self.again)
        return said + [f"{len(self.left)} left"] * bool(self.left)


class Havoc:
    """One server on folders of its own, and people who use it while things break."""

    def __init__(self, dose: Dose, parts: Parts, seed: str) -> None:
        self._dose, self._parts, self._odin = dose, parts, parts.odin
        self._rng = random.Random(seed)
        self.breaks = Breaks(parts, random.Random(f"{seed} breaks"), dose.only_database)
        self._oracle = Oracle(parts.odin)
        self.tally = Tally()
        self._failed: BaseException | None = None

    def run(self) -> None:
        self._odin.start()
        self._parts.people = Proxy(self._odin.port)
        try:
            plans = self._push()
            driving = threading.Thread(target=self._drive_all, args=(plans,), daemon=True)
            driving.start()
            self._break_all()  # in this thread, with which a PostgreSQL that it starts would end
            driving.join()
        finally:
            self._parts.people.close()
        if self._failed is not None:
            raise self._failed
        self._judge()

    # people

    def _api(self) -> Patient:
        """To the server as clients reach it: through what is cut."""
        assert self._parts.people is not None
        return Patient(self._parts.people.port, self._odin.api().token)

    def _push(self) -> list[Plan]:
        plans = [storm(self._rng, self._dose.tasks, failing=number % 2 == 1, seconds=SECONDS) for number in range(JOBS)]
        for number, plan in enumerate(plans):
            answer = self._api().write(f"storm{number}", plan.files(self._oracle), Idempotency_Key=uuid.uuid4().hex)
            assert answer.status == 200, answer.body
        return plans

    def _drive_all(self, plans: list[Plan]) -> None:
        try:
            self._drive(self._api(), plans)
        except BaseException as error:
            self._failed = error

    def _drive(self, api: Api, plans: list[Plan]) -> None:
        """Launch as things break, so that something runs each time."""
        tally, flying = self.tally, list[str]()
        seen, moved_at, said_at = -1, time.monotonic(), 0.0
        while len(tally.over) < self._dose.pipelines and time.monotonic() < moved_at + STUCK_S:
            while len(flying) < WINDOW and self._may_launch():
                number = self._rng.randrange(JOBS)
                flying.append(api.launch(f"storm{number}"))
                tally.launched.append((flying[-1], plans[number]))
            tally.over |= {each for each in flying if self._is_over(api, each)}
            flying = [each for each in flying if each not in tally.over]
            if (count := self._oracle.count()) != seen:
                seen, moved_at = count, time.monotonic()
            if time.monotonic() > said_at + 20:
                said_at = time.monotonic()
                self._say(f"{len(tally.over)} of {len(tally.launched)} pipelines over")
            time.sleep(0.3)

    def _is_over(self, api: Api, pipeline: str) -> bool:
        answer = api.ask("GET", f"/v1/pipelines/{pipeline}")
        return answer.status == 404 or answer.json["pipeline"]["status"] in ENDED  # 404: it is lost

    def _may_launch(self) -> bool:
        dose, launched = self._dose, len(self.tally.launched)
        lead = min(WINDOW / 2, dose.pipelines / 10)
        return launched < min(dose.pipelines, dose.pipelines * (self._done() + 1) / dose.kills + lead)

    # what breaks

    def _done(self) -> int:
        return self.breaks.restarts if self._dose.only_database else self.breaks.kills

    def _break_all(self) -> None:
        while self._done() < self._dose.kills and self._failed is None:
            time.sleep(self._pause_s())
            began = time.monotonic()
            name = self.breaks.one()
            if self._dose.is_told:
                self._say(f"{name} {time.monotonic() - began:.2f} s")

    def _pause_s(self) -> float:
        """On a slow machine longer, or nobody would ever get an answer."""
        shortest, longest = self._dose.pause_s
        took_s = self.breaks.ready_s[-1] if self.breaks.ready_s else 0.0
        return self.breaks.rng.uniform(shortest, max(longest, took_s / 2))

    def _say(self, sentence: str) -> None:
        print(f"  {self._done()} of {self._dose.kills}: {sentence}", flush=True)

    # what came of it

    def _judge(self) -> None:
        tally = self.tally
        self._oracle.api = self._odin.api()
        self._oracle.api.token = sign_in(self._odin.port, USER, PASSWORD)
        self._oracle.disk_was_full = "full disk, for a while" in self.breaks.broken
        there, known = self._listed(), {pipeline for pipeline, _ in tally.launched}
        tally.lost = sorted(known - there)
        tally.extra = sorted(there - known)
        for pipeline, plan in tally.launched:
            if pipeline in there and pipeline in tally.over:
                self._judge_one(pipeline, plan)
        tally.left = [f"process {pid} of {task}" for pid, task in self._odin.bodies()]
        self.breaks.mend()
        self._odin.terminate()
        self._oracle.stores_are_sound()
        tally.left += self._differences()
        tally.tracebacks = self._odin.said().count("Traceback") + self._odin.runner_said().count("Traceback")

    def _listed(self) -> set[str]:
        """What the server knows, page by page."""
        found, cursor = set[str](), ""
        while True:
            page = self._oracle.asking.get(f"/v1/pipelines?limit=100{cursor}")
            found |= {one["id"] for one in page["pipelines"]}
            if "nextCursor" not in page:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    def _judge_one(self, pipeline: str, plan: Plan) -> None:
        told = self._oracle.asking.finished(pipeline)
        self._count(told)
        reasons = {name: one["reason"] or "" for name, one in told["tasks"].items()}
        unseen = {name for name, reason in reasons.items() if reason.startswith(UNSEEN)}
        refused = {name for name, reason in reasons.items() if reason.endswith(NO_SPACE)}
        self.tally.unseen += len(unseen)
        self.tally.refused += len(refused)
        try:
            if excused := unseen | refused:
                only_these_differ(told, plan.fates, excused)
                self._oracle.hold_together(told)
            else:
                self._oracle.judge(pipeline, plan.fates)
        except AssertionError as error:
            self.tally.wrong.append(f"{pipeline}: {str(error).splitlines()[0][:300]}")

    def _count(self, told: Mapping[str, Any]) -> None:
        """Starts by the ledger, whatever the oracle will say of them."""
        starts = Counter((line.task, line.attempt) for line in self._oracle.of(told["id"]) if line.word == "start")
        done = {one["id"]: one["attempt"] for one in told["tasks"].values() if one["status"] == "executed"}
        self.tally.attempts += sum(one["attempt"] for one in told["tasks"].values())
        self.tally.doubled += sum(count - 1 for count in starts.values())
        self.tally.again += sum(attempt > done.get(task, attempt) for task, attempt in starts)

    def _differences(self) -> list[str]:
        """By the command, once the server has stopped."""
        done = self._odin.operate("odin-fsck", "--json", code=None)
        assert done.code in (0, 1), (done.code, done.err)
        return [f"{one['kind']}: {one['place']}: {one['what']}" for one in json.loads(done.out)["differences"]]


def only_these_differ(told: Mapping[str, Any], fates: Mapping[str, Fate], excused: set[str]) -> None:
    """Whoever was not excused, and has only parents that succeeded, met its fate."""
    tasks = told["tasks"]
    for name in tasks.keys() - excused:
        one, fate = tasks[name], fates[name]
        if all(tasks[parent]["status"] == "executed" for parent in one["depends"]):
            assert (one["status"], one["exitCode"], one["attempt"]) == (fate.status, fate.code, fate.attempts), one
        else:
            assert one["status"] == "skipped", one


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


@contextmanager
def parts(kind: str) -> Iterator[Parts]:
    """A server that was not started yet, with all that can be broken here."""
    with ExitStack() as stack:
        postgres, proxy = stack.enter_context(database(kind)), None
        odin = Serving()
        stack.callback(shutil.rmtree, odin.folder, ignore_errors=True)
        disk = stack.enter_context(small_disk(odin.data))
        stack.callback(odin.close, quiet=False)
        if postgres is not None:
            proxy = Proxy(postgres.port)
            stack.callback(proxy.close)
            odin.settings["DATABASE_URL"] = postgres.conninfo(postgres.empty().rpartition("/")[2], proxy.port)
        clock = JumpingClock(odin.folder) if JumpingClock.is_possible() else None
        odin.under = clock.under if clock is not None else ()
        yield Parts(odin, postgres, proxy, disk=disk, clock=clock)


def wreak(dose: Dose, kind: str, asked: Asked) -> Iterator[Row]:
    """Run it, say what came of it, and give the rows that this measures."""
    began = time.monotonic()
    print(f"chaos: seed {asked.seed}, {dose.pipelines} pipelines of {dose.tasks} tasks on {kind}", flush=True)
    with parts(kind) as there:
        havoc = Havoc(dose, there, asked.seed)
        if not dose.only_database:
            for sentence in there.missing():
                print(f"  {sentence}")
        havoc.run()
    tell(havoc, time.monotonic() - began)
    yield from rows(havoc, dose, asked)


def tell(havoc: Havoc, took_s: float) -> None:
    tally, breaks = havoc.tally, havoc.breaks
    tasks = sum(len(plan.fates) for _, plan in tally.launched)
    print(f"chaos: {len(tally.launched)} pipelines, {tasks} tasks, {tally.attempts} attempts in {took_s:.0f} s")
    for what, times in sorted((breaks.killed + breaks.broken).items()):
        print(f"  {times:5} × {what}")
    print(f"  pipelines: {len(tally.lost)} acknowledged and lost, {len(tally.extra)} that nobody was told of, "
          f"{len(tally.stuck)} stuck, {len(tally.wrong)} whose account is wrong")  # fmt: skip
    print(f"  tasks: {tally.doubled} attempts doubled, {tally.again} run again after they had succeeded")
    print(f"  excused: {tally.unseen} tasks whose runner was killed as it started them (failed, never started again), "
          f"{tally.refused} that a full disk kept from starting")  # fmt: skip
    print(f"  left: {len(tally.left)} differences by odin-fsck; {tally.tracebacks} tracebacks in the logs")
    for sentence in [*tally.lost, *tally.extra, *tally.stuck, *tally.wrong, *tally.left][:20]:
        print(f"    {sentence}")
    if breaks.ready_s:
        print(f"  ready after a kill: p50 {at(breaks.ready_s, 0.5):.2f} s, p99 {at(breaks.ready_s, 0.99):.2f} s")


def rows(havoc: Havoc, dose: Dose, asked: Asked) -> Iterator[Row]:
    tally, breaks = havoc.tally, havoc.breaks
    came = ", ".join(tally.faults) or "0 lost, 0 run again, 0 stuck"
    enough = KILLS[asked.long]
    if not dose.only_database:
        figure = f"{came} in {breaks.kills} kills" + (" (too few)" if breaks.kills < enough else "")
        met = not tally.faults if breaks.kills >= enough or tally.faults else None
        what = f"kills under {len(tally.launched)} pipelines of {dose.tasks} tasks"
        yield Row("R2", what, figure, f"0, 0, 0 in {enough}", met)
    if breaks.database_s:
        figure = f"{came} in {breaks.restarts} restarts"
        enough = RESTARTS[asked.long]
        met = not tally.faults if breaks.restarts >= enough or tally.faults else None
        yield Row("R5", f"PostgreSQL restarted under {len(tally.launched)} pipelines", figure, f"0 in {enough}", met)
        stall = at(breaks.database_s, 0.99)
        yield Row("R13", f"stall after PostgreSQL's return ({breaks.restarts}), p99", f"{stall:.2f} s",
                  f"≤ {STALL_S:g} s", stall <= STALL_S)  # fmt: skip


def at(seconds: list[float], share: float) -> float:
    """A quantile."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))]
