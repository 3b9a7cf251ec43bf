"""Attempts after the first, on a real server: what each keeps of its own, and what the kernel takes for its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Serving

GROUPS = Path("/sys/fs/cgroup")


def test_every_attempt_keeps_its_own_log_times_node_and_resources(odin: Serving) -> None:
    script = "echo attempt $ODIN_ATTEMPT; exit $((2 - $ODIN_ATTEMPT))"
    fields = {"retries": 1, "retry_delay": 0, "memory": "64Mi", "cpu": "500m"}
    odin.api().push("twice", job(task("x", script, **fields)))
    done = odin.api().finished(odin.api().launch("twice"))
    assert (done["outcome"], done["tasks"]["x"]["attempt"]) == ("succeeded", 2)
    name = f"{done['id']}--x"
    first, second = odin.command("odin-status", name, "--json").json["task"]["attempts"]
    assert (first["exit_code"], second["exit_code"]) == (1, 0)
    assert first["completion_time"] <= second["submit_time"] <= second["start_time"]
    assert {each["node"] for each in (first, second)} == {socket.gethostname()}
    assert first["resources"] == second["resources"] == {"cpu_m": 500, "memory_bytes": 64 << 20, "gpus": 0}
    assert [odin.api().log(name, attempt=number) for number in (1, 2)] == [b"attempt 1\n", b"attempt 2\n"]
    shown = odin.command("odin-status", name).out.splitlines()
    assert [line.split()[:5] for line in shown[-2:]] == [
        [str(number), "ended", str(code), socket.gethostname(), "64Mi"] for number, code in ((1, 1), (2, 0))
    ]


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A group of processes that may have 32 MiB together."""
    memory = GROUPS / "memory"
    group = (memory if memory.is_dir() else GROUPS) / f"odin-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if memory.is_dir() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(32 << 20))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no group of processes can be limited here: {error.strerror}")
    yield group
    group.rmdir()


def test_a_task_that_the_kernel_kills_for_want_of_memory_spends_the_budget_of_that_cause(
    odin: Serving, small_memory: Path
) -> None:
    greedy = f"{sys.executable} -c 'bytearray(500_000_000)'"
    script = f"[ $ODIN_ATTEMPT = 2 ] || {{ echo $$ > {small_memory}/cgroup.procs; exec {greedy}; }}"
    odin.api().push("greedy", job(task("x", script, retries={"oom": 1}, retry_delay=0, memory="16Mi")))
    done = odin.api().finished(odin.api().launch("greedy"))
    assert done["outcome"] == "succeeded"
    first, second = odin.command("odin-data", f"{done['id']}--x").json["attempts"]
    assert (first["reason"], first["exit_code"]) == ("oom", 137)
    assert first["message"] == "killed by the kernel, which had run out of memory"
    assert [each["resources"]["memory_bytes"] for each in (first, second)] == [16 << 20, 32 << 20]


def test_a_task_that_somebody_kills_did_not_run_out_of_memory(odin: Serving) -> None:
    odin.api().push("killed", job(task("x", "kill -9 $$", retries={"oom": 3})))
    done = odin.api().finished(odin.api().launch("killed"))
    assert (done["outcome"], done["tasks"]["x"]["attempt"]) == ("failed", 1)
    assert "SIGKILL" in done["tasks"]["x"]["reason"]
