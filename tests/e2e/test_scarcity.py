"""A server that has too little of something: it refuses what it cannot do, and goes on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Serving, until

GROUPS = Path("/sys/fs/cgroup")
FILES = 128
CLIENTS = 500


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_f10_clients_cannot_take_the_open_files_that_work_needs(fresh: Serving) -> None:
    fresh.under = ("prlimit", f"--nofile={FILES}:{FILES}")
    api = fresh.start().api()
    pid = fresh.process.pid
    api.push("many", job(*(task(f"t{number}", "echo done") for number in range(50))))
    with ExitStack() as stack:
        known = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=60)))
        known.connect()
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket())
            client.connect(("127.0.0.1", fresh.port))
        last = client
        assert last.recv(200).startswith(b"HTTP/1.1 503 Service Unavailable")
        assert files(pid) < FILES
        known.request(
            "POST",
            "/v1/pipelines",
            json.dumps({"pipeline": {"job": "many"}}),
            {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"},
        )
        pipeline = json.load(known.getresponse())["pipeline"]["id"]
        path = f"/v1/pipelines/{pipeline}"

        def is_done() -> bool:
            known.request("GET", path)
            return json.load(known.getresponse())["pipeline"]["outcome"] == "succeeded"

        until(is_done)
    assert api.finished(api.launch("many"))["outcome"] == "succeeded"
    assert "connections at once: 64 of 2000" in fresh.said()


@contextmanager
def group(controller: str, **limits: int) -> Iterator[Path]:
    """A group of processes with limits, as a unit of systemd is one."""
    place = GROUPS / controller / f"odin-test-{os.getpid()}"
    try:
        place.mkdir()
    except OSError:
        pytest.skip(f"needs the right to make a group of the {controller} controller (version 1)")
    try:
        for name, value in limits.items():
            (place / f"{controller}.{name}").write_text(str(value))
        yield place
    finally:
        until(lambda: not (place / "cgroup.procs").read_text())
        place.rmdir()


def contain_runner(odin: Serving, place: Path) -> None:
    """What runs from now on belongs to the group."""
    (place / "cgroup.procs").write_text(str(until(lambda: odin.runner)))


@pytest.mark.parametrize("bomb", ["b() { b & b & while :; do :; done; }; b", "while :; do (sleep 1000 &); done"])
def test_f86_a_fork_bomb_is_stopped_with_all_that_it_made(fresh: Serving, bomb: str) -> None:
    with group("pids", max=200) as pids:
        api = fresh.start().api()
        contain_runner(fresh, pids)
        api.push("bomb", job(task("one", bomb, grace_period="1s")))
        pipeline = api.launch("bomb")
        until(lambda: "max 0" not in (pids / "pids.events").read_text())
        assert api.ask("GET", "/healthz").status == api.ask("GET", "/readyz").status == 200
        api.post(f"/v1/pipelines/{pipeline}/cancel")
        assert api.finished(pipeline)["tasks"]["one"]["status"] == "terminated"
        until(lambda: (pids / "cgroup.procs").read_text().split() == [str(fresh.runner)])
        api.push("next", job(task("one", "true")))
        assert api.finished(api.launch("next"))["outcome"] == "succeeded"
        fresh.close()


def test_f96_of_tasks_that_share_too_little_memory_the_greedy_one_dies(fresh: Serving) -> None:
    go = fresh.folder / "go"
    with group("memory", limit_in_bytes=128 << 20) as memory:
        api = fresh.start().api()
        contain_runner(fresh, memory)
        api.push("modest", job(task("one", f"while [ ! -e {go} ]; do sleep 0.05; done")))
        api.push("greedy", job(task("one", f"exec {sys.executable} -c 'bytearray(500_000_000)'")))
        modest = api.launch("modest")
        api.executing(f"{modest}--one")
        greedy = api.finished(api.launch("greedy"))["tasks"]["one"]
        assert (greedy["status"], greedy["exitCode"]) == ("failed", 137)
        assert greedy["reason"] == "killed by the kernel, which had run out of memory"
        go.touch()
        assert api.finished(modest)["outcome"] == "succeeded"
        fresh.close()


HOG = """
import sys
open(sys.argv[1], "w").write(str(__import__("os").getpid()))
held = [bytearray(1 << 20) for _ in range(400)]
"""


def test_f09_a_server_that_the_kernel_kills_for_want_of_memory_goes_on_at_its_next_start(fresh: Serving) -> None:
    go = fresh.folder / "go"
    with group("memory", limit_in_bytes=200 << 20) as memory:
        api = fresh.start().api()
        api.push("long", job(task("one", f"while [ ! -e {go} ]; do sleep 0.05; done"), task("two", "echo done", "one")))
        running = api.launch("long")
        api.executing(f"{running}--one")
        pid = fresh.process.pid
        (memory / "cgroup.procs").write_text(str(pid))
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        subprocess.run([sys.executable, "-c", HOG, memory / "cgroup.procs"], check=False)
        assert fresh.gone() == -signal.SIGKILL
        fresh.start()
        go.touch()
        done = api.finished(running)
        assert (done["outcome"], done["tasks"]["one"]["attempt"]) == ("succeeded", 1)
        fresh.close()
