"""Tasks that write more than anybody reads."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.jobs import job, task
from e2e.serving import Serving

LINES = 100_000
TASKS, FOLLOWERS = 5, 6
MOST_MEMORY_KB = 64 << 10


def memory_kb(pid: int) -> int:
    """The most that a process has had at once."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])


def test_f84_a_hundred_thousand_lines_at_once_reach_every_follower_whole(fresh: Serving) -> None:
    api = fresh.start().api()
    names = [f"t{number}" for number in range(TASKS)]
    api.push("flood", job(*(task(name, f"seq -f '{name} %.0f' {LINES}") for name in names)))
    before = memory_kb(fresh.process.pid)
    pipeline = api.launch("flood")
    with ThreadPoolExecutor(TASKS * FOLLOWERS) as readers:
        told = [
            (name, readers.submit(api.log, f"{pipeline}--{name}", follow="true"))
            for name in names
            for _ in range(FOLLOWERS)
        ]
        assert {api.ask("GET", "/v1/ping").status for _ in range(20)} == {200}
        for name, text in told:
            assert text.result() == b"".join(b"%s %d\n" % (name.encode(), n) for n in range(1, LINES + 1)), name
    assert api.finished(pipeline)["outcome"] == "succeeded"
    assert memory_kb(fresh.process.pid) - before < MOST_MEMORY_KB
