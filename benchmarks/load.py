"""LOAD: R16 of reliability.md for as long as 5,000 short tasks take: pipelines, streams and clients all at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import processes
from logs import Memory
from server import SLOTS, Server
from streams import audience, total
from table import Row, Target, percentile

PIPELINES = 1_000
STREAMS = 500
ASKERS = 100  # in each of the two processes
STEPS, STEP_S = 5, 0.3
LATER = 100  # launched while all the rest goes on
JOB = "load"


def load(folder: Path) -> Iterator[Row]:
    """LOAD: 1,000 pipelines run, 500 are followed, 200 clients ask, others launch."""
    with Server(folder / "load") as server:
        client = server.client()
        client.push(JOB, {"main.yml": main_yml()})
        before_mb, before_s = processes.memory_mb(server.pid), processes.cpu_s(server.pid)
        began = time.monotonic()
        ids = [client.launch(JOB) for _ in range(PIPELINES)]
        launched_s: list[float] = []
        launcher = Thread(target=launch_more, args=(server, launched_s))
        followed = [f"/v1/pipelines/{each}/stream" for each in ids[-STREAMS:]]
        ask = {"status": f"/v1/pipelines/{ids[-1]}", "list": "/v1/pipelines?limit=20"}
        with Memory(server.pid) as memory:
            launcher.start()
            answers = audience(server, client.token, followed, [], stay_s=0, askers=ASKERS, ask=ask)
            launcher.join()
        took_s = time.monotonic() - began
        share = (processes.cpu_s(server.pid) - before_s) / took_s
        client.close()
    yield Row("R16", "requests that failed", "", [total(answers, "failures")], target=Target(0, 0))
    yield Row(
        "R16", "states lost or seen twice", "", [total(answers, "lost") + total(answers, "twice")], target=Target(0, 0)
    )
    yield Row(
        "R16",
        f"task starts with {SLOTS} at once",
        "/s",
        [PIPELINES * STEPS / took_s],
        target=Target(0, 50, at_least=True),
    )
    for name, most in (("status", 250), ("list", 400)):
        took = [each for answer in answers for each in answer["took_ms"][name]]
        yield Row("R16", f"p99 of {name} under load", "ms", took, target=Target(most, most), percentile=99)
    yield Row(
        "R16",
        "p99 of a launch under load",
        "ms",
        [each * 1e3 for each in launched_s],
        target=Target(500, 500),
        percentile=99,
    )
    delays = [delay for answer in answers for delay in answer["delays_ms"]]
    yield Row("R16", "p50 of a change's delay under load", "ms", [percentile(delays, 50)])
    yield Row("R16", "p99 of a change's delay under load", "ms", delays, percentile=99)
    yield Row("R16", "memory under load", "MB", [memory.most_mb - before_mb], target=Target(math.inf, math.inf))
    yield Row("R16", "CPU of the server under load, of one", "", [share])


def launch_more(server: Server, took_s: list[float]) -> None:
    client = server.client()
    for _ in range(LATER):
        time.sleep(0.2)
        began = time.perf_counter()
        client.launch(JOB)
        took_s.append(time.perf_counter() - began)
    client.close()


def main_yml() -> str:
    lines = ["tasks:"]
    for step in range(STEPS):
        lines += [f"  - name: s{step}", "    command: sleep", f'    args: ["{STEP_S}"]']
        lines += [f"    depends: [s{step - 1}]"] if step else []
    return "\n".join(lines) + "\n"
