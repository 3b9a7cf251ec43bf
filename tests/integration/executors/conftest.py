"""A machine with a runner, its server's end, and tasks that tell what they did."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from odin.executors.connection import runner_command
from odin.executors.local import RUNNER_ENV, LocalExecutor
from odin.executors.logs import log_path
from odin.executors.protocol import Absent, Back, Ended, Origin, Recall, Report, Started, TaskLaunch
from odin.model.ids import AttemptId
from odin.model.job import TaskSpec

DEADLINE_S = 30.0
PLENTY = 1_000_000  # thousandths of CPUs: nothing waits for room
PIPELINE = "test-abcd1234"


def processes() -> Iterator[tuple[int, str]]:
    """Every process with its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


class Machine:
    """One data folder. ``here`` is a folder for the tests' own files, where tasks start."""

    def __init__(self, *options: str, root: Path | None = None, pipeline: str = PIPELINE, **settings: Any) -> None:
        self.pipeline = pipeline
        self.root = root or Path(tempfile.mkdtemp(prefix="odin", dir="/tmp"))
        self.data, self.here = self.root / "data", self.root / "here"
        self.here.mkdir(exist_ok=True)
        self.ledger = self.here / "ledger"
        self.options, self.settings = options, settings
        self.seen: list[Report] = []
        self.runners: set[int] = set()
        self.place: LocalExecutor | None = None

    # the server's end

    def open(self) -> Machine:
        self.place = LocalExecutor(
            data=self.data,
            shared=self.root / "shared",
            runner_options=self.options,
            **{
                "cpu_m": PLENTY,
                "environ": {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
                **self.settings,
            },
        )
        self.place.open()
        self.until(lambda: self.last(Back))
        return self

    def close(self) -> None:
        if self.place:
            self.place.close()
            self.place = None

    def crash(self) -> None:
        """The server dies: its connection breaks without a word."""
        self.executor._hang_up()
        self.executor._connector.stop()
        self.executor.close()
        self.place = None

    @property
    def executor(self) -> LocalExecutor:
        assert self.place is not None
        return self.place

    @property
    def pid(self) -> int:
        return int(self.executor.runner["pid"])

    def start_runner(self, fault: str) -> None:
        """A runner with a planned fault; the one that follows it has none."""
        (self.data / "runner").mkdir(parents=True, mode=0o700)
        with (self.data / "runner" / "messages.log").open("ab") as messages:
            command = runner_command(self.data, *self.options)
            env = {name: os.environ[name] for name in RUNNER_ENV if name in os.environ} | {"ODIN_FAULT": fault}
            subprocess.run(command, env=env, stdout=messages, stderr=messages, start_new_session=True, check=True)

    def kill_runner(self) -> None:
        self.seen = [report for report in self.seen if not isinstance(report, Back)]
        os.kill(self.pid, signal.SIGKILL)
        self.until(lambda: self.last(Back))

    # attempts

    def task(self, name: str, *argv: str, **more: Any) -> TaskLaunch:
        values: dict[str, Any] = {
            "fence": 1,
            "env": {},
            "work": str(self.here),
            "make": (),
            "timeout_s": None,
            "grace_s": 5.0,
            "spec": TaskSpec(name, argv),
            "origin": Origin(self.pipeline, name, 1, "test", "0" * 40, "ann"),
        }
        return TaskLaunch(self.id(name), argv=argv, **{**values, **more})

    def spec(self, name: str = "t", **fields: Any) -> TaskSpec:
        return TaskSpec(name, ("sh",), **fields)

    def id(self, name: str) -> str:
        return f"{self.pipeline}--{name}"

    def launch(self, name: str, *argv: str, **more: Any) -> str:
        self.executor.launch([self.task(name, *argv, **more)])
        return self.id(name)

    def shell(self, name: str, script: str, **more: Any) -> str:
        return self.launch(name, "/bin/sh", "-c", script, **more)

    def python(self, name: str, script: str, *args: str, **more: Any) -> str:
        return self.launch(name, sys.executable, "-I", "-S", "-c", script, *args, **more)

    def run(self, name: str, *argv: str, **more: Any) -> Ended:
        self.launch(name, *argv, **more)
        return self.end(name)

    def stop(self, name: str, grace_s: float = 5.0) -> None:
        self.executor.stop(self.id(name), kind="Pod", grace_s=grace_s, message="cancelled by ann")

    def recall(self, *names: str, fence: int = 2, planned_at: float | None = None) -> None:
        self.executor.recall({self.id(name): Recall(fence, "Pod", planned_at) for name in names})

    # what came of it

    def until(self, condition: Callable[[], Any]) -> Any:
        limit = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            assert time.monotonic() < limit, f"waited in vain; seen: {self.seen}; {self.messages()}"
            if self.place is None:
                time.sleep(0.01)
                continue
            select.select([self.place.fileno()], [], [], 0.05)
            reports = self.place.reports()
            self.runners.update([self.pid] if self.place.runner else [])
            self.seen += reports
        return found

    def last(self, kind: type, name: str | None = None) -> Any:
        found = [r for r in self.seen if isinstance(r, kind) and (name is None or r.attempt == self.id(name))]
        return found[-1] if found else None

    def end(self, name: str) -> Ended:
        return self.until(lambda: self.last(Ended, name))

    def started(self, name: str) -> Started:
        return self.until(lambda: self.last(Started, name))

    def absent(self, name: str) -> Absent:
        return self.until(lambda: self.last(Absent, name))

    def settle(self) -> None:
        """Wait until the runner has answered everything handed over before: a probe of its own comes back."""
        probe = AttemptId(f"probe-abcd1234--p{len(self.seen)}")
        self.executor.recall({probe: Recall(1, "Pod", time.time() + 60)})
        self.until(lambda: any(isinstance(each, Absent) and each.attempt == probe for each in self.seen))

    def log(self, name: str) -> bytes:
        return log_path(self.data, self.id(name)).read_bytes()

    def wait_for_file(self, name: str) -> None:
        self.until((self.here / name).exists)

    def messages(self) -> str:
        path = self.data / "runner" / "messages.log"
        return path.read_text() if path.exists() else ""

    def dispose(self) -> None:
        """End what was started here, by its number."""
        if self.place is not None:
            over = {r.attempt for r in self.seen if isinstance(r, Ended)}
            for report in [r for r in self.seen if isinstance(r, Started) and r.attempt not in over]:
                self.place.stop(report.attempt, kind="Pod", grace_s=0.0, message="the test is over")
                self.until(
                    lambda report=report: any(isinstance(r, Ended) and r.attempt == report.attempt for r in self.seen)
                )
        self.close()
        for pid in self.runners:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(params=["linux", "portable"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A connected machine: once with what Linux has, once with the fallback for other systems."""
    made = Machine(*(["--portable"] if request.param == "portable" else []))
    try:
        yield made.open()
    finally:
        made.dispose()


@pytest.fixture(params=["linux", "portable"])
def new_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The same, not connected yet."""
    made = Machine(*(["--portable"] if request.param == "portable" else []))
    try:
        yield made
    finally:
        made.dispose()


@pytest.fixture
def linux(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    made = Machine(**getattr(request, "param", {}))
    try:
        yield made.open()
    finally:
        made.dispose()
