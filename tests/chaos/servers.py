"""Several servers at one PostgreSQL, one data folder and one runner: every few seconds one is killed and started again.

Every pipeline takes its steps one after the other, so that it stands still while nobody drives it. The figure is the
longest time between two moves of a pipeline that was not over; a move is an entry of its history, or the beginning or
end of a task by the task's own account. Nothing is subtracted: a step itself lasts up to a second, and a server that
is started again takes up what it drove before, unless another was faster. Source: reliability.md, F-50.
"""

from __future__ import annotations

import http.client
import itertools
import random
import time
import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chaos.havoc import STUCK_S, database
from chaos.oracle import Oracle, Plan
from e2e.fleet import fleet
from e2e.serving import ENDED, Answer, Api, Serving
from odin.store.leases import LEASE_S

JOBS = 5
EVERY_S = 5.0


class Anyone(Api):
    """Asks the servers in turn until one answers."""

    def __init__(self, servers: list[Serving], token: str | None) -> None:
        super().__init__(servers[0].port, token)
        self._ports = itertools.cycle([each.port for each in servers])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if method == "POST":
            headers.setdefault("Idempotency_Key", uuid.uuid4().hex)
        until = time.monotonic() + STUCK_S
        while time.monotonic() < until:
            self.port = next(self._ports)
            with suppress(OSError, http.client.HTTPException):
                answer = super().ask(method, path, body, **headers)
                if answer.status != 503:
                    return answer
            time.sleep(0.02)
        raise AssertionError(f"nobody answers {method} {path}")


def march(rng: random.Random, count: int) -> Plan:
    """Steps one after the other, half of ``count``; beside each a task that may fail, or need another attempt."""
    plan = Plan()
    for number in range(count // 2):
        before = [f"step{number - 1}"] if number else []
        plan.add(f"step{number}", *before, seconds=rng.choice([0, 0.5, 1, 1]), cpu="10m")
        codes: tuple[int, ...] = rng.choice([(0,), (0,), (rng.randint(1, 125),), (rng.randint(1, 125), 0)])
        plan.add(f"side{number}", *before, codes=codes, seconds=rng.choice([0, 0.5, 1]), cpu="10m")
    return plan


@dataclass
class Tally:
    launched: list[tuple[str, Plan]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    kills: int = 0
    doubled: int = 0  # starts of an attempt after its first
    ready_s: list[float] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)  # the longest of each pipeline
    took_s: float = 0.0


class Killing:
    def __init__(self, servers: list[Serving], seed: str) -> None:
        self._servers = servers
        self._rng = random.Random(f"{seed} servers")
        self._oracle = Oracle(servers[0])
        self._tally = Tally()
        self._people = ThreadPoolExecutor(len(servers))
        self._starting: dict[str, Future[None]] = {}

    def run(self, pipelines: int, tasks: int) -> Tally:
        tally, began = self._tally, time.monotonic()
        for each in self._servers:
            each.start()
        self._oracle.api = anyone = Anyone(self._servers, self._servers[0].api().token)
        plans = [march(self._rng, tasks) for _ in range(JOBS)]
        for number, plan in enumerate(plans):
            answer = anyone.write(f"march{number}", plan.files(self._oracle), Idempotency_Key=uuid.uuid4().hex)
            assert answer.status == 200, answer.body
        with self._people:
            self._kill_until_over(anyone, plans, pipelines)
        for each in self._starting.values():
            each.result()
        tally.took_s = time.monotonic() - began
        for pipeline, plan in tally.launched:
            self._judge(pipeline, plan)
        return tally

    def _kill_until_over(self, anyone: Anyone, plans: list[Plan], pipelines: int) -> None:
        """A third of the pipelines are in flight at a time."""
        tally, left = self._tally, list[str]()
        kill_at, seen, moved_at = time.monotonic() + EVERY_S, -1, time.monotonic()
        while len(tally.over) < pipelines and time.monotonic() < moved_at + STUCK_S:
            while len(left) <= pipelines // 3 and (number := len(tally.launched)) < pipelines:
                left.append(anyone.launch(f"march{number % JOBS}"))
                tally.launched.append((left[-1], plans[number % JOBS]))
            if time.monotonic() >= kill_at and (victim := self._victim()) is not None:
                kill_at = time.monotonic() + EVERY_S
                self._kill(victim)
                print(f"  {tally.kills} kills, {len(tally.over)} of {len(tally.launched)} pipelines over", flush=True)
            tally.over |= {each for each in left if anyone.pipeline(each)["status"] in ENDED}
            left = [each for each in left if each not in tally.over]
            if (count := self._oracle.count()) != seen:
                seen, moved_at = count, time.monotonic()
            time.sleep(0.2)

    def _victim(self) -> Serving | None:
        """The one whose turn it is of those that are up; never the last of them."""
        turn = self._tally.kills % len(self._servers)
        order = self._servers[turn:] + self._servers[:turn]
        up = [each for each in order if each.name not in self._starting or self._starting[each.name].done()]
        return up[0] if len(up) > 1 else None

    def _kill(self, server: Serving) -> None:
        server.kill()
        self._tally.kills += 1
        self._starting[server.name] = self._people.submit(self._start, server)

    def _start(self, server: Serving) -> None:
        began = time.monotonic()
        server.start()
        self._tally.ready_s.append(time.monotonic() - began)

    def _judge(self, pipeline: str, plan: Plan) -> None:
        tally = self._tally
        if pipeline not in tally.over:
            return
        try:
            self._oracle.judge(pipeline, plan.fates)
        except AssertionError as error:
            tally.wrong.append(f"{pipeline}: {str(error).splitlines()[0][:300]}")
        starts = Counter((line.task, line.attempt) for line in self._oracle.of(pipeline) if line.word == "start")
        tally.doubled += sum(count - 1 for count in starts.values())
        tally.pauses_s.append(self._pause_s(pipeline))

    def _pause_s(self, pipeline: str) -> float:
        """The longest. The ledger tells the time since the machine started."""
        started_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        events = self._oracle.asking.get(f"/v1/resources/{pipeline}/events")["events"]
        moves = [datetime.fromisoformat(one["timestamp"]).timestamp() for one in events]
        moves = sorted(moves + [started_at + line.at for line in self._oracle.of(pipeline)])
        return max(after - before for before, after in itertools.pairwise(moves))


def run(servers: int, pipelines: int, tasks: int, seed: str) -> int:
    """The exit code is 1 where a pipeline was lost, stuck or wrong, or a task ran twice."""
    print(f"servers: seed {seed}, {servers} servers, {pipelines} pipelines of {tasks} tasks", flush=True)
    with database("postgresql") as postgres:
        assert postgres is not None
        with fleet(servers, postgres.empty(), LOCAL_CPUS="16") as made:
            tally = Killing(made, seed).run(pipelines, tasks)
    return tell(tally)


def tell(tally: Tally) -> int:
    launched, over = len(tally.launched), len(tally.over)
    right = over - len(tally.wrong)
    print(f"servers: {launched} pipelines, {sum(plan.starts for _, plan in tally.launched)} attempts, "
          f"{tally.kills} kills in {tally.took_s:.0f} s")  # fmt: skip
    print(f"  pipelines: {right} right, {len(tally.wrong)} wrong, {launched - over} lost or stuck")
    print(f"  attempts begun twice: {tally.doubled}")
    for sentence in tally.wrong[:10]:
        print(f"    {sentence}")
    if tally.ready_s:
        print(f"  ready again after a kill: {sorted(tally.ready_s)[len(tally.ready_s) // 2]:.1f} s (median), "
              f"{max(tally.ready_s):.1f} s (longest)")  # fmt: skip
    if tally.pauses_s:
        print(f"  longest pause of a pipeline: {max(tally.pauses_s):.1f} s; median of all pipelines' longest: "
              f"{sorted(tally.pauses_s)[len(tally.pauses_s) // 2]:.1f} s; the lease is {LEASE_S:g} s")  # fmt: skip
    return 0 if right == launched and not tally.doubled else 1
