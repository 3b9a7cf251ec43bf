"""LOAD and HOLD: R16 of reliability.md, for as long as tasks of a quarter of a second take: all at once."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import processes
from client import Client
from logs import Memory
from server import SLOTS, Server
from streams import audience, total
from table import Row, Target, percentile

PIPELINES = 1_000
STREAMS = 500
ASKERS = 100  # in each of the two processes
STEP_S = 0.25  # so 64 starts a second are the most that there can be
SHORT, LONG = 5, 35  # steps of a pipeline: a minute and a half, ten minutes
PAUSE_S = 0.2  # between two launches, while all the rest goes on
JOB = "load"
LATER = "later"


def load(folder: Path) -> Iterator[Row]:
    """LOAD: 1,000 pipelines run, 500 are followed, 200 clients ask, others launch."""
    yield from held(folder / "load", SHORT)


def hold(folder: Path) -> Iterator[Row]:
    """HOLD: the same for ten minutes."""
    yield from held(folder / "hold", LONG)


def held(folder: Path, steps: int) -> Iterator[Row]:
    with Server(folder) as server:
        client, committed = server.client(), server.committed()
        client.push(JOB, {"main.yml": main_yml(steps)})
        client.push(LATER, {"main.yml": main_yml(1)})
        before_mb, before_s = processes.memory_mb(server.pid), processes.cpu_s(server.pid)
        began, began_at = time.monotonic(), time.time()
        ids = [client.launch(JOB) for _ in range(PIPELINES)]
        followed = [f"/v1/pipelines/{each}/stream" for each in ids[-STREAMS:]]
        client.close()
        ask = {"status": f"/v1/pipelines/{ids[-1]}", "list": "/v1/pipelines?limit=20"}
        with Memory(server.pid) as memory, Launching(server) as launching:
            answers = audience(server, client.token, followed, [], stay_s=0, askers=ASKERS, ask=ask)
        took_s = time.monotonic() - began
        started = committed.started(began_at)
        share = (processes.cpu_s(server.pid) - before_s) / took_s
        lag_s = lag(server.client())
        committed.close()
    lost = total(answers, "lost") + total(answers, "twice")
    yield Row("R16", "requests that failed", "", [total(answers, "failures")], target=Target(0, 0))
    yield Row("R16", "states lost or seen twice", "", [lost], target=Target(0, 0))
    rate = started / took_s
    yield Row("R16", f"task starts, {SLOTS} tasks at once", "/s", [rate], target=Target(50, 50, at_least=True))
    yield from promptly(answers, launching.took_ms)
    delays = [delay for answer in answers for delay in answer["delays_ms"]]
    yield Row("R16", "p50 of a change's delay under load", "ms", [percentile(delays, 50)])
    yield Row("R16", "p99 of a change's delay under load", "ms", delays, percentile=99)
    yield Row("R16", "p99 of the event loop's lag, at most", "ms", [lag_s * 1e3], target=Target(50, 50))
    yield Row("R16", "memory under load", "MB", [memory.most_mb - before_mb], target=Target(math.inf, math.inf))
    yield Row("R16", "CPU of the server under load, of one", "", [share])


def promptly(answers: list[dict], launched_ms: list[float]) -> Iterator[Row]:
    for name, most in (("status", 250), ("list", 400)):
        took = [each for answer in answers for each in answer["took_ms"][name]]
        yield Row("R16", f"p99 of {name} under load", "ms", took, target=Target(most, most), percentile=99)
    yield Row("R16", "p99 of a launch under load", "ms", launched_ms, target=Target(500, 500), percentile=99)


class Launching:
    """Somebody who launches all the time; ``took_ms`` is how long each launch took."""

    def __init__(self, server: Server) -> None:
        self.took_ms: list[float] = []
        self._client = server.client()
        self._over = Event()
        self._thread = Thread(target=self._launch_on)

    def __enter__(self) -> Launching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _launch_on(self) -> None:
        while not self._over.wait(PAUSE_S):
            began = time.perf_counter()
            self._client.launch(LATER)
            self.took_ms.append((time.perf_counter() - began) * 1e3)


def lag(client: Client) -> float:
    """What 99 % of the server's looks at its clock were no later than, in seconds."""
    found = re.findall(rb'^odin_loop_lag_seconds_bucket{le="([^"]+)"} (\d+)', client.get("/metrics"), re.M)
    client.close()
    looks = int(found[-1][1])
    return next(float(bound) for bound, count in found if int(count) >= 0.99 * looks)


def main_yml(steps: int) -> str:
    lines = ["tasks:"]
    for step in range(steps):
        lines += [f"  - name: s{step}", "    command: sleep", f'    args: ["{STEP_S}"]']
        lines += [f"    depends: [s{step - 1}]"] if step else []
    return "\n".join(lines) + "\n"
