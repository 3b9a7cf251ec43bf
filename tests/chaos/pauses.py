"""R8: one of two servers freezes at a point of its work, for longer than its lease, and wakes when the other drives.

It freezes in the middle: with events taken, before, in or after a commit, at what must then be launched or stopped. In
every other round somebody cancels a pipeline meanwhile, at the other server. What tasks wrote down of themselves tells
whether two acted at once: a task started twice, before its parents were over, or after its end was told.
Source: reliability.md, F-51.
"""

from __future__ import annotations

import http.client
import itertools
import random
import signal
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from chaos.mates import Pair, pair
from chaos.oracle import Oracle, Plan
from chaos.scoreboard import Asked, Row
from e2e.serving import Serving, until

PAUSES, MANY = 20, 200
EACH = 2  # of either job, in flight at a time
POINTS = ("engine:events-taken", "engine:before-commit", "engine:in-commit", "engine:after-commit")
WHAT = "a server frozen past its lease (SIGSTOP) and woken: two owners acting at once"


def measure(asked: Asked) -> Iterator[Row]:
    wanted = MANY if asked.long else PAUSES
    with pair() as servers:
        wrong = Pauses(servers, random.Random(f"{asked.seed} pauses")).run(wanted)
    for sentence in wrong[:10]:
        print(f"  R8: {sentence}", flush=True)
    yield Row("R8", WHAT, f"{len(wrong)} ({wanted} pauses)", f"0 ({wanted})", not wrong)


def busy() -> Plan:
    """Something to launch at any time for some seconds, with a failure and a retry; its end is seconds after that."""
    plan = Plan()
    plan.add("fetch")
    for number in range(6):
        before = f"step{number - 1}" if number else "fetch"
        plan.add(f"step{number}", before, seconds=0.2)
        plan.add(f"flaky{number}", before, codes=(3, 0))
    plan.add("bad", "step1", codes=(4,))
    plan.add("after", "bad")
    plan.add("last", *(f"flaky{number}" for number in range(6)), "step5")
    return plan


def slow() -> Plan:
    plan = Plan()
    plan.add("fetch")
    plan.add("slow", "fetch", seconds=1000)
    plan.add("child", "slow")
    return plan


PLANS = {"busy": busy(), "slow": slow()}


class Pauses:
    def __init__(self, servers: Pair, rng: random.Random) -> None:
        self._servers, self._rng = servers, rng
        self._oracle = Oracle(servers.first)

    def run(self, wanted: int) -> list[str]:
        """What was wrong, a sentence for each pipeline."""
        other = self._servers.first.start()
        self._oracle.api = other.api()
        for name, plan in PLANS.items():
            answer = other.api().write(name, plan.files(self._oracle))
            assert answer.status == 200, answer.body
        wrong: list[str] = []
        for number in range(wanted):
            began = time.monotonic()
            wrong += self._pause(number)
            said = f"{number + 1} of {wanted}, {time.monotonic() - began:.1f} s, {len(wrong)} wrong"
            print(f"  R8: {said}", flush=True)
        return wrong

    def _pause(self, number: int) -> list[str]:
        frozen, other = self._servers.second, self._servers.first
        point = POINTS[number % len(POINTS)]
        frozen.start(fault=f"{point}:{self._rng.randint(3, 20)}:stop")
        with ThreadPoolExecutor(len(PLANS) * EACH) as people:
            asked = {people.submit(self._launch, name): name for name in PLANS for _ in range(EACH)}
            until(lambda: _is_stopped(frozen), told=frozen.said)
            if number % 2:
                self._cancel(each.result() for each, name in asked.items() if name == "slow" and each.done())
            self._servers.outlived(frozen)
            time.sleep(self._rng.random() / 2)
            assert frozen.process is not None
            frozen.process.send_signal(signal.SIGCONT)
            launched = {each.result(): name for each, name in asked.items()}
        self._cancel(each for each, name in launched.items() if name == "slow")
        wrong = [f"{point}: {said}" for each, name in launched.items() if (said := self._judged(each, name))]
        assert other.alive
        frozen.terminate()
        return wrong

    def _launch(self, name: str) -> str:
        """At the server that freezes; who is not answered well asks the other one for the same."""
        body, key = {"pipeline": {"job": name}}, uuid.uuid4().hex
        for server in itertools.chain([self._servers.second], itertools.repeat(self._servers.first)):
            with suppress(OSError, http.client.HTTPException):
                answer = server.api().ask("POST", "/v1/pipelines", body, Idempotency_Key=key)
                if answer.status == 200:
                    return str(answer.json["pipeline"]["id"])
                assert answer.status == 503, answer
            time.sleep(0.05)
        raise AssertionError

    def _cancel(self, pipelines: Iterable[str]) -> None:
        for each in pipelines:
            answer = self._servers.first.api().ask("POST", f"/v1/pipelines/{each}/cancel")
            assert answer.status in (200, 409), answer  # it is over

    def _judged(self, pipeline: str, name: str) -> str | None:
        try:
            if name == "busy":
                self._oracle.judge(pipeline, PLANS[name].fates)
                return None
            told = self._servers.first.api().finished(pipeline)
            assert told["outcome"] == "cancelled", told
            self._oracle.hold_together(told)
        except AssertionError as error:
            return f"{pipeline}: {str(error)[:400]}"
        return None


def _is_stopped(server: Serving) -> bool:
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
