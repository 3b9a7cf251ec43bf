"""A real ``odin-serve`` of its own, in a folder of its own, with 16 tasks at once; it and its runner are ended."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import processes
from client import Client
from database import Committed
from processes import Cost

BIN = Path(sys.executable).parent
SLOTS = 16
USER = "bench"
READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0


class Server:
    """Usable as a context manager, and again after it: a second start finds the data of the first."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """``folder`` should lie on an ordinary disk: database, logs and journal are written as users have them.

        ``settings`` are further ones, by their names in the environment.
        """
        self.folder = folder
        self._settings = settings
        self.data = folder / "data"
        self._password = secrets.token_urlsafe(16)
        (folder / "home").mkdir(parents=True)
        self.port = 0
        self.ready_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when ``/readyz`` says so; ``ready_s`` is how long that took."""
        self.port = _free_port()
        began = time.perf_counter()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "odin-serve"], env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.perf_counter() - began

    def stop(self) -> None:
        """The server first, which lets go of its runner; then the runner, if it is there still."""
        process, self._process = self._process, None
        if process is not None:
            processes.end(process.pid, ENDED_WITHIN_S)
            process.wait()
        if runner := self.runner:
            tasks = processes.children(runner)
            processes.end(runner, ENDED_WITHIN_S)
            for task in tasks:
                processes.end(task, 1.0)

    def environment(self) -> dict[str, str]:
        """Of the server and of commands that talk to it: nothing of the user's is read or changed."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("ODIN_", "XDG_"))}
        return own | {
            "HOME": str(self.folder / "home"),
            "ODIN_DATA": str(self.data),
            "ODIN_LOCAL_CPUS": str(SLOTS),
            "ODIN_PASSWORD": self._password,
            "ODIN_PORT": str(self.port),
            "ODIN_ROOT_PASS": self._password,
            "ODIN_ROOT_USER": USER,
            "ODIN_URL": f"http://127.0.0.1:{self.port}",
            "ODIN_USERNAME": USER,
            **self._settings,
        }

    def client(self) -> Client:
        client = Client(self.port)
        client.sign_in(USER, self._password)
        return client

    def committed(self) -> Committed:
        return Committed(self.data / "odin.db")

    def command(self, *words: str) -> Cost:
        """Run one of Odin's commands to its end."""
        return processes.run([str(BIN / words[0]), *words[1:]], env=self.environment())

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def runner(self) -> int | None:
        """The runner's pid while it runs."""
        try:
            pid = int((self.data / "runner" / "lock").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.data) in command else None

    def cpu_s(self) -> float:
        """Of server and runner and of every process that they have reaped."""
        return sum(map(processes.cpu_s, filter(None, (self.pid, self.runner))))

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_WITHIN_S
        while not self._ready():
            if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                words = (self.folder / "server.log").read_text(errors="replace")[-4000:]
                raise RuntimeError(f"odin-serve did not become ready and said:\n{words}")
            time.sleep(0.005)

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_WITHIN_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
