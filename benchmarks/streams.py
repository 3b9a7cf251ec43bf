"""STREAMS: 500 streams of one pipeline and 50 followers of one log, by clients that leave and come back."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import processes
from logs import Memory
from looking import Looking
from server import Server
from table import Row, Target, percentile

STREAMS = 500
FOLLOWERS = 50
STAY_S = 3.0
CLIENTS = 2  # processes that they are spread over
CHAINS, STEPS, STEP_S = 8, 50, 0.4
LINES = 100_000
BURST = 50  # lines each 10 ms
QUIET_S = 3.0
JOB = "streams"


def streams(folder: Path) -> Iterator[Row]:
    """STREAMS: 500 streams of one pipeline and 50 followers of a log of 100,000 lines, leaving at random."""
    with Server(folder / "streams") as server:
        client = server.client()
        writer = Path(__file__).with_name("writer.py").read_text()
        client.push(JOB, {"writer.py": writer, "main.yml": main_yml()})
        client.push("other", {"main.yml": "tasks:\n  - name: x\n    command: 'true'\n"})
        other = client.launch("other")
        with look(server, other) as quiet:
            time.sleep(QUIET_S)
        before_mb, before_s = processes.memory_mb(server.pid), processes.cpu_s(server.pid)
        pipeline = client.launch(JOB)
        began = time.monotonic()
        with Memory(server.pid) as memory, look(server, other) as busy:
            answers = attended(server, client.token, pipeline)
        share = (processes.cpu_s(server.pid) - before_s) / (time.monotonic() - began)
        client.close()
        log = (server.data / "logs" / pipeline / f"{pipeline}--talk.log").read_bytes()
    yield from correct(answers, log)
    yield from prompt(answers)
    yield Row("R17", "memory with streams and followers", "MB", [memory.most_mb - before_mb], target=Target(64, 32))
    yield Row("R16", "CPU of the server, of one", "", [share])
    for name, most in (("ping", math.inf), ("status", 250), ("list", 400)):
        yield Row("R16", f"p99 of {name} meanwhile", "ms", busy.took_ms[name], target=Target(most, most), percentile=99)
    yield Row("R16", "p99 of ping meanwhile ÷ idle", "ms", [busy.p99("ping")], [quiet.p99("ping")])


def look(server: Server, other: str) -> Looking:
    """Somebody who is interested in another pipeline."""
    paths = {"ping": "/v1/ping", "status": f"/v1/pipelines/{other}", "list": "/v1/pipelines?limit=1"}
    return Looking(server.client(), paths)


def attended(server: Server, token: str, pipeline: str) -> list[dict[str, Any]]:
    """What the clients say, once all have the end."""
    stream = f"/v1/pipelines/{pipeline}/stream"
    log = f"/v1/resources/{pipeline}--talk/logs?follow=true"
    return audience(server, token, [stream] * STREAMS, [log] * FOLLOWERS, stay_s=STAY_S)


def audience(
    server: Server, token: str, streams: list[str], followers: list[str], **more: object
) -> list[dict[str, Any]]:
    """Clients of these paths, spread over some processes; ``more`` is what else ``audience.py`` is given."""
    program = [sys.executable, str(Path(__file__).with_name("audience.py"))]
    with ExitStack() as stack:
        running = []
        for seed in range(CLIENTS):
            mine = {"streams": streams[seed::CLIENTS], "followers": followers[seed::CLIENTS], "seed": seed}
            given = json.dumps({"port": server.port, "token": token, **mine, **more})
            running.append(stack.enter_context(processes.child([*program, given], subprocess.PIPE)))
        return [json.loads(process.stdout.read()) for process in running if process.stdout]


def correct(answers: list[dict[str, Any]], log: bytes) -> Iterator[Row]:
    wrong = sum(
        abs(LINES - each["lines"]) or int(each["checksum"] != zlib.crc32(log))
        for answer in answers
        for each in answer["logs"]
    )
    for figure, count in (
        ("streams without an end", total(answers, "unfinished")),
        ("states lost", total(answers, "lost")),
        ("changes seen twice", total(answers, "twice")),
        ("lines of logs lost or doubled", wrong),
    ):
        yield Row("F-72", figure, "", [count], target=Target(0, 0))
    yield Row("F-71", "times that a client left and came back", "", [total(answers, "left")])


def prompt(answers: list[dict[str, Any]]) -> Iterator[Row]:
    for figure, key in (("a change's delay", "delays_ms"), ("a line's delay", "log_delays_ms")):
        delays = [delay for answer in answers for delay in answer[key]]
        yield Row("R16", f"p50 of {figure}", "ms", [percentile(delays, 50)])
        yield Row("R16", f"p99 of {figure}", "ms", delays, target=Target(1000, 250), percentile=99)


def total(answers: list[dict[str, Any]], key: str) -> int:
    return sum(answer[key] for answer in answers)


def main_yml() -> str:
    words = ["${WORK_PATH}/writer.py", str(LINES), str(BURST)]
    lines = ["tasks:", "  - name: talk", f"    command: {json.dumps(sys.executable)}", f"    args: {json.dumps(words)}"]
    for chain in range(CHAINS):
        for step in range(STEPS):
            lines += [f"  - name: c{chain}s{step}", "    command: sleep", f'    args: ["{STEP_S}"]']
            lines += [f"    depends: [c{chain}s{step - 1}]"] if step else []
    return "\n".join(lines) + "\n"
