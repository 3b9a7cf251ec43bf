"""``odin-midgard`` as a process, with a driver that does what a file says."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

DEADLINE_S = 60.0
CARDS = Path(__file__).parents[2] / "replay/cards/pynvml.py"
T = TypeVar("T")

# A binding with two cards, unless the file says that it hangs, dies, or finds no driver.
DRIVER = f"""
import importlib.util, os, signal, time
_spec = importlib.util.spec_from_file_location("cards", {str(CARDS)!r})
_cards = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_cards)
globals().update({{name: value for name, value in vars(_cards).items() if not name.startswith("__")}})

def _state():
    with open(os.environ["DRIVER"]) as file:
        return file.read()

def nvmlInit():
    if _state() == "none":
        raise NVMLError("Driver Not Loaded")

def nvmlDeviceGetCount():
    state = _state()
    if state == "hang":
        time.sleep(1000)
    if state == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    return 2

def nvmlSystemGetProcessName(pid):
    return os.environ.get("TITLE", f"python-{{pid}}")
"""
# The program with other times, so that a test need not wait for minutes.
LAUNCH = """
import sys
from odin.midgard import cards, listener, program, reporter
for name, value in {changes!r}.items():
    module, _, constant = name.partition(".")
    setattr(globals()[module], constant, value)
sys.exit(program.command())
"""


def until(condition: Callable[[], T], told: Callable[[], object] = lambda: "") -> T:
    """What ``condition`` gives once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain; {told()}"
        time.sleep(0.02)
    return found


@dataclass
class Agent:
    """One agent in a folder of its own; ``times`` are constants of its modules, as ``cards.RETRY_S``."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "pynvml.py").write_text(DRIVER)
        self.driver("well")
        self.token.write_text("the agents' token\n")

    @property
    def token(self) -> Path:
        return self.folder / "token"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def driver(self, state: str) -> None:
        """``well``, ``none``, ``hang``, ``die``."""
        draft = self.folder / "draft"
        draft.write_text(state)
        draft.rename(self.folder / "driver")

    def environment(self) -> dict[str, str]:
        own = {"DRIVER": str(self.folder / "driver"), "PYTHONPATH": str(self.folder), "HOME": str(self.folder)}
        return {"PATH": os.defpath, "NODE_NAME": "n1"} | own | self.env

    def command(self, *words: str) -> list[str]:
        code = LAUNCH.replace("{changes!r}", repr({"program.SHORTEST_S": 0.01} | self.times))
        return [sys.executable, "-c", code, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment(), capture_output=True, text=True, timeout=DEADLINE_S
        )

    def start(self, *words: str, interval: float = 0.1) -> Agent:
        with self.log.open("wb") as log:
            command = self.command("--interval", str(interval), *words)
            self.process = subprocess.Popen(command, env=self.environment(), stdin=subprocess.DEVNULL, stderr=log)
        return self

    def reporting(self, url: str, *words: str, interval: float = 0.1) -> Agent:
        return self.start("--url", url, "--token-file", str(self.token), *words, interval=interval)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def listens(self) -> set[str]:
        """The addresses on which it takes connections, as the kernel writes them."""
        mine = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                mine.add(os.readlink(entry))
        found = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if f"socket:[{fields[9]}]" in mine and fields[2].endswith(":0000"):
                    found.add(fields[1])
        return found

    def memory_kb(self) -> int:
        """Of it and its children: what they would free together."""
        return sum(pss_kb(pid) for pid in (self.pid, *self.children()))

    def close(self) -> None:
        if self.process is None:
            return
        children = self.children() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def pss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def ask(port: int, method: str = "GET", path: str = "/v1/gpus", **fields: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
