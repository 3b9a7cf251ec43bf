"""Clients that leave in the middle of a word and come back: each has everything once, whoever else leaves.

The clients are those of ``benchmarks/streams.py``, fewer of them; ``ODIN_AUDIENCE`` multiplies. Source: reliability.md,
F-71, F-72 and I7.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Api, until

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "audience.py"
TIMES = int(os.environ.get("ODIN_AUDIENCE", "1"))
LINES = 20_000
CHAINS, STEPS = 4, 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stay_s", [0.3, 2.0], ids=["hardly there", "for a while"])
def test_f72_clients_that_leave_at_random_and_come_back_have_everything_once(odin, stay_s):
    odin.start()
    api = odin.api()
    gate = odin.folder / "gate"
    wait = f"until [ -e {gate} ]; do sleep 0.02; done; "
    count = (
        f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo $i line; [ $((i % 100)) -eq 0 ] && sleep 0.02; done; true"
    )
    steps = [
        task(f"c{chain}s{step}", "sleep 0.1" if step else wait, *([f"c{chain}s{step - 1}"] if step else []))
        for chain in range(CHAINS)
        for step in range(STEPS)
    ]
    api.push("watched", job(task("talk", wait + count), *steps))
    pipeline = api.launch("watched")
    given = {
        "port": odin.port,
        "token": api.token,
        "streams": [f"/v1/pipelines/{pipeline}/stream"] * 40 * TIMES,
        "followers": [f"/v1/resources/{pipeline}--talk/logs?follow=true"] * 10 * TIMES,
        "stay_s": stay_s,
        "seed": 1,
    }
    with subprocess.Popen([sys.executable, PROGRAM, json.dumps(given)], stdout=subprocess.PIPE) as audience:
        until(lambda: stay_s < 1 or streams(api) >= 25 * TIMES)  # they come and go, so never all of them
        gate.touch()
        seen = json.loads(audience.stdout.read())
    log = (odin.data / "logs" / pipeline / f"{pipeline}--talk.log").read_bytes()
    assert (seen["unfinished"], seen["lost"], seen["twice"]) == (0, 0, 0)
    assert {each["checksum"] for each in seen["logs"]} == {zlib.crc32(log)}
    assert {each["bytes"] for each in seen["logs"]} == {len(log)}
    assert seen["left"] > 0


def streams(api: Api) -> int:
    """How many are open."""
    told = api.ask("GET", "/metrics").body.decode()
    return int(re.findall(r"^odin_streams (\d+)", told, re.MULTILINE)[0])


def test_what_counts_the_audience_notices_what_is_lost_and_what_comes_twice():
    stream = runpy.run_path(str(PROGRAM))["Stream"]()
    stream.request()

    def event(position, kind, **data):
        stream.piece(f"id: {position}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())

    done = {"completionTime": None}
    event(1, "pipeline", tasks=[{"id": "a", "status": "waiting"}, {"id": "b", "status": "waiting"}])
    event(4, "task", id="a", status="executed", **done)
    event(4, "task", id="a", status="executed", **done)
    event(5, "task", id="a", status="executing", **done)
    event(9, "end", tasks=[{"id": "a", "status": "executed"}, {"id": "b", "status": "skipped"}])
    assert (stream.twice, stream.lost, stream.over) == (2, 2, True)
