"""W10 and R17: ten tasks that write 100,000 lines each while fifty clients follow them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import processes
from looking import Looking
from server import Server
from table import Row, Target

TASKS = 10
LINES = 100_000
BURST = 50  # lines each 10 ms, so 5,000 a second of each task
TIMES = 5  # followers of each task
CLIENTS = 2  # processes that they are spread over
QUIET_S = 5.0
PING = {"ping": "/v1/ping"}
JOB = "logs"


def logs(folder: Path) -> Iterator[Row]:
    """W10: 10 tasks writing 100,000 lines each, 5,000 a second, 50 followers."""
    with Server(folder / "logs") as server:
        client, committed = server.client(), server.committed()
        client.push(JOB, {"writer.py": Path(__file__).with_name("writer.py").read_text(), "main.yml": main_yml()})
        with Looking(server.client(), PING) as quiet:
            time.sleep(QUIET_S)
        before_mb, before_s = processes.memory_mb(server.pid), processes.cpu_s(server.pid)
        pipeline = client.launch(JOB)
        with Memory(server.pid) as memory, Looking(server.client(), PING) as busy:
            answers = followed(server, client.token, [f"{pipeline}--t{index}" for index in range(TASKS)])
        cpu_s = processes.cpu_s(server.pid) - before_s
        committed.wait(pipeline)
        committed.close()
        client.close()
        lost = sum(lines_lost(server, each) for answer in answers for each in answer["followers"])
    delays = [delay for answer in answers for delay in answer["delays_ms"]]
    yield Row("W10", "lines lost", "", [lost], target=Target(0, 0))
    yield Row("W10", "p99 of a line's delay", "ms", delays, target=Target(1000, 100), percentile=99)
    yield Row(
        "W10", "memory that the server takes more", "MB", [memory.most_mb - before_mb], target=Target(math.inf, 32)
    )
    yield Row("W10", "CPU of the server", "s", [cpu_s])
    yield Row("R17", "p99 of ping meanwhile ÷ idle", "ms", [busy.p99("ping")], [quiet.p99("ping")], Target(2, 2))


class Memory:
    """Looks at a process ten times a second and remembers the most that it had."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.most_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.most_mb = max(self.most_mb, processes.memory_mb(self._pid))


def followed(server: Server, token: str, tasks: list[str]) -> list[dict[str, Any]]:
    """What the followers saw, once all logs are at their end."""
    program = str(Path(__file__).with_name("followers.py"))
    words = [sys.executable, program, str(server.port), token, str(TIMES)]
    shares = [tasks[index::CLIENTS] for index in range(CLIENTS)]
    with ExitStack() as stack:
        running = [stack.enter_context(processes.child([*words, *share], subprocess.PIPE)) for share in shares]
        return [json.loads(process.stdout.read()) for process in running if process.stdout]


def lines_lost(server: Server, follower: dict[str, Any]) -> int:
    """Lines that a follower did not get; a follower with other bytes than the log has lost one at least."""
    task = follower["task"]
    content = (server.data / "logs" / task.partition("--")[0] / f"{task}.log").read_bytes()
    missing = LINES - follower["lines"]
    return missing or int(zlib.crc32(content) != follower["checksum"])


def main_yml() -> str:
    words = ["${WORK_PATH}/writer.py", str(LINES), str(BURST)]
    entry = f"    command: {json.dumps(sys.executable)}\n    args: {json.dumps(words)}\n"
    return "tasks:\n" + "".join(f"  - name: t{index}\n{entry}" for index in range(TASKS))
