"""Reaches the runner of a data folder, starting it if there is none: the slow part, off the engine's thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import odin

PROTOCOL = 1
RUNNER = Path(__file__).parent / "runner"
ALREADY_RUNNING = 75  # its exit status when another runner has the folder
LONGEST_SOCKET_PATH = 100  # of 107 bytes, 103 on some systems
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 5.0
HELLO_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection after both said hello. ``rest`` is what came behind the runner's answer."""

    sock: socket.socket
    hello: Mapping[str, Any]
    rest: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """An attempt to connect failed; the next one follows by itself."""

    message: str


@dataclass(slots=True)
class Connector:
    """Tries until it has a connection, then hands it to ``arrived`` and ends.

    ``hello`` makes the first message. ``environ`` is that of the runner: no task sees it.
    """

    data: Path
    hello: Callable[[], Mapping[str, Any]]
    arrived: Callable[[Arrival | Trouble], None]
    environ: Mapping[str, str]
    options: tuple[str, ...] = ()
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="odin-runner-connector", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def command(self) -> list[str]:
        return runner_command(self.data, *self.options)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                arrival = self._connect()
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self.arrived(Trouble(str(error)))
                self._stopped.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.arrived(arrival)
                return

    def _connect(self) -> Arrival:
        try:
            sock = _dial(self.data / "runner")
        except OSError:
            self._start_runner()
            sock = _dial(self.data / "runner")
        try:
            return self._greet(sock)
        except BaseException:
            sock.close()
            raise

    def _greet(self, sock: socket.socket) -> Arrival:
        sock.settimeout(HELLO_TIMEOUT_S)
        sock.sendall(json.dumps(self.hello()).encode() + b"\n")
        data = b""
        while b"\n" not in data:
            if not (chunk := sock.recv(1 << 16)):
                raise ConnectionResetError("the runner closed the connection; its last words are in messages.log")
            data += chunk
        line, _, rest = data.partition(b"\n")
        answer = json.loads(line)
        if answer["protocol"] != PROTOCOL:
            raise ValueError(f"the runner speaks protocol {answer['protocol']}, this server {PROTOCOL}")
        sock.setblocking(False)
        return Arrival(sock, answer, rest)

    def _start_runner(self) -> None:
        """Run its first process, which ends when the runner can be reached, or when another one has the folder."""
        folder = self.data / "runner"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        messages = os.open(folder / "messages.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            done = subprocess.run(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                env=dict(self.environ),
                start_new_session=True,
                timeout=30,
                check=False,
            )
        finally:
            os.close(messages)
        if done.returncode not in (0, ALREADY_RUNNING):
            raise OSError(f"the runner did not start; {folder / 'messages.log'} says why")


def runner_command(data: Path, *options: str) -> list[str]:
    """How the runner of a data folder is started. UTF-8 whatever the locale: arguments arrive byte for byte."""
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(RUNNER)]
    command += [f"--data={data.absolute()}", f"--version={odin.__version__}", *options]
    if faults := find_spec("odin_testing"):
        places = faults.submodule_search_locations or []
        command += [f"--faults={Path(place) / 'faults.py'}" for place in places]
    return command


def _dial(folder: Path) -> socket.socket:
    """Connect to the socket; through a descriptor of its folder where the path is too long for an address."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        if len(os.fsencode(folder / "socket")) <= LONGEST_SOCKET_PATH:
            sock.connect(str(folder / "socket"))
            return sock
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sock.connect(f"/proc/self/fd/{handle}/socket")
        finally:
            os.close(handle)
    except BaseException:
        sock.close()
        raise
    return sock
