"""Runs attempts as processes of this machine, through the runner of the data folder.

The engine's thread writes to the runner's socket and reads from it, without ever waiting: what the socket does not
take stays in a buffer. Connecting is done beside it (``connection``). Source: architecture.md, "Executors".
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import odin
from odin import machine
from odin.executors.connection import PROTOCOL, Arrival, Connector, Trouble
from odin.executors.protocol import (
    Absent,
    Away,
    Back,
    Capacity,
    Ended,
    Held,
    Outdated,
    Reason,
    Recall,
    Report,
    Started,
    TaskLaunch,
)
from odin.model.admission import shape
from odin.model.ids import AttemptId

KEPT_ENV = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_LIBRARY_PATH", "CUDA_HOME", "XDG_CACHE_HOME",
)  # fmt: skip
"""What a task inherits of the server's environment, and nothing else; a trailing ``*`` stands for any ending."""

RUNNER_ENV = ("PATH", "LD_LIBRARY_PATH", "ODIN_FAULT")
CHUNK = 1 << 16  # more than malloc keeps: each read would map and unmap memory
_encode = json.JSONEncoder(separators=(",", ":")).encode


class LocalExecutor:
    """An ``Executor`` and ``Place`` over the runner of ``data``.

    ``shared`` is the folder that tasks see. ``cards`` are the GPUs that may be given to tasks, by index.
    ``task_user`` is the user that tasks run as (the runner must be root for it), None for the runner's own. ``now`` is
    the engine's clock.
    """

    def __init__(
        self,
        *,
        data: Path,
        shared: Path,
        cpu_m: int,
        cards: tuple[str, ...] = (),
        keep_env: Collection[str] = KEPT_ENV,
        task_user: str | None = None,
        environ: Mapping[str, str] | None = None,
        runner_options: tuple[str, ...] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._shared = shared
        self._capacity = Capacity(cpu_m, cards)
        self._env = kept(environ, keep_env) | _identity(task_user)
        self._task_user = task_user
        self._node = machine.host()
        self._now = now
        self._selector = selectors.DefaultSelector()
        self._poke, self._poked = socket.socketpair()
        self._arrivals: deque[Arrival | Trouble] = deque()
        self._connector = Connector(
            data,
            self._hello,
            self._arrived,
            {name: environ[name] for name in RUNNER_ENV if name in environ},
            runner_options,
        )
        self._sock: socket.socket | None = None
        self._part = b""
        self._out = bytearray()
        self._writing = False
        self._ready: list[Report] = []
        self._told_away = False
        self.runner: Mapping[str, Any] = {}

    # The place

    def open(self) -> None:
        for end in (self._poke, self._poked):
            end.setblocking(False)
        self._selector.register(self._poked, selectors.EVENT_READ)
        self._connector.start()

    def close(self) -> None:
        """Say goodbye: a runner with nothing to do ends. Tasks run on."""
        self._connector.stop()
        if self._sock is not None:
            self._send({"op": "bye"})
            self._hang_up()
        self._connector.stop()  # who finds it gone at the goodbye begins to connect again
        for arrival in self._arrivals:
            if isinstance(arrival, Arrival):
                arrival.sock.close()
        self._selector.close()
        self._poke.close()
        self._poked.close()

    def fileno(self) -> int:
        return self._selector.fileno()

    def capacity(self) -> Capacity:
        return self._capacity

    # The executor

    def launch(self, tasks: Sequence[TaskLaunch]) -> None:
        self._send(*map(self._launch, tasks))

    def stop(self, attempt: AttemptId, *, kind: str, grace_s: float, message: str) -> None:
        del kind  # all are processes here
        self._send({"op": "stop", "id": attempt, "grace": grace_s, "message": message})

    def recall(self, attempts: Mapping[AttemptId, Recall]) -> None:
        fences = {attempt: asked.fence for attempt, asked in attempts.items()}
        planned = {attempt: asked.planned_at for attempt, asked in attempts.items()}
        self._send({"op": "recall", "ids": fences, "planned": planned})

    def acknowledge(self, attempts: Collection[AttemptId]) -> None:
        self._send({"op": "ack", "ids": list(attempts)})

    def forget(self, pipelines: Collection[str]) -> None:
        self._send({"op": "forget", "pipelines": list(pipelines)})

    def reports(self) -> list[Report]:
        for key, events in self._selector.select(0):
            if key.fileobj is self._poked:
                self._take_arrivals()
            elif events & selectors.EVENT_WRITE:
                self._flush()
            else:
                self._receive()
        ready, self._ready = self._ready, []
        return ready

    def upgrade(self) -> None:
        """Have the runner go on with this version's code: same process, same children. ``Away`` and ``Back`` follow."""
        self._send({"op": "upgrade", "argv": self._connector.command()})

    # Messages

    def _hello(self) -> Mapping[str, Any]:
        """Runner and boot id are those of the last connection, if there was one."""
        return {
            "op": "hello",
            "protocol": PROTOCOL,
            "version": odin.__version__,
            "runner": self.runner.get("runner"),
            "boot": self.runner.get("boot"),
            "env": self._env,
            "user": self._task_user,
            "cpu": self._capacity.cpu_m,
            "cards": self._capacity.cards,
            "hears": ["outdated"],
            "now": self._now(),
        }

    def _launch(self, task: TaskLaunch) -> Mapping[str, Any]:
        return {
            "op": "launch",
            "id": task.attempt,
            "fence": task.fence,
            "argv": task.argv,
            "env": {**task.env, **self._visible(task.cards)},
            "cwd": task.work,
            "make": task.make,
            "timeout": task.timeout_s,
            "grace": task.grace_s,
            "cpu": shape(task.spec, self._capacity.cpu_m).cpu_m,
            "cards": task.cards,
        }

    def _visible(self, cards: tuple[str, ...]) -> Mapping[str, str]:
        """Where there are GPUs, a task sees those given to it and no other; numbered as NVML numbers them."""
        if not self._capacity.cards:
            return {}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(cards)}

    def _send(self, *messages: Mapping[str, Any]) -> None:
        """Without a connection, nothing: what was handed over is recalled after ``Back``."""
        if self._sock is not None and messages:
            self._out += ("\n".join(map(_encode, messages)) + "\n").encode()
            if not self._writing:
                self._flush()

    def _flush(self) -> None:
        if self._sock is None:
            return
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)
            return
        if self._writing != bool(self._out):
            self._writing = bool(self._out)
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._writing else 0)
            self._selector.modify(self._sock, wanted)

    def _receive(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self._read(data)
        else:
            self._lose(ConnectionResetError("it closed the connection"))

    def _read(self, data: bytes) -> None:
        *lines, self._part = (self._part + data).split(b"\n")
        self._ready += [report(json.loads(line), self._node) for line in lines]

    # Connecting

    def _arrived(self, arrival: Arrival | Trouble) -> None:
        """Called by the connector's thread."""
        self._arrivals.append(arrival)
        with suppress(BlockingIOError):
            self._poke.send(b"1")

    def _take_arrivals(self) -> None:
        with suppress(BlockingIOError):
            self._poked.recv(1 << 10)
        while self._arrivals:
            arrival = self._arrivals.popleft()
            if isinstance(arrival, Trouble):
                self._away(arrival.message)
            else:
                self._connect(arrival)

    def _connect(self, arrival: Arrival) -> None:
        self._sock, self.runner = arrival.sock, arrival.hello
        self._told_away = False
        self._selector.register(self._sock, selectors.EVENT_READ)
        if _is_older(self.runner["version"], odin.__version__):
            self.upgrade()
        self._ready.append(Back(tuple(arrival.hello["pipelines"])))
        self._read(arrival.rest)

    def _lose(self, error: OSError) -> None:
        self._hang_up()
        self._away(str(error))
        self._connector.start()

    def _away(self, message: str) -> None:
        """Said once, until it is back."""
        if not self._told_away:
            self._told_away = True
            self._ready.append(Away(f"the runner on this machine cannot be reached: {message}"))
            with suppress(BlockingIOError):
                self._poke.send(b"1")

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._selector.unregister(self._sock)
            self._sock.close()
        self._sock = None
        self._part = b""
        self._out.clear()
        self._writing = False


def report(message: Mapping[str, Any], node: str) -> Report:
    """What a line of the runner on this machine says."""
    attempt = AttemptId(message["id"])
    if message["op"] == "started":
        return Started(attempt, message["at"], message["pid"], node, tuple(message.get("cards", ())))
    if message["op"] == "absent":
        return Absent(attempt, message.get("fence"))
    if message["op"] == "held":
        return Held(attempt, message["why"])
    if message["op"] == "outdated":
        return Outdated(attempt, message["fence"])
    return Ended(
        attempt,
        message["code"],
        Reason(message["reason"]),
        message["at"],
        message["message"],
        message["started"],
        message["cpu"],
        message["rss"],
        message["log"],
        node,
    )


def _is_older(runner: str, server: str) -> bool:
    """Of several servers an older one must not take back what a newer one has done."""
    numbers = [[int(part) for part in re.findall(r"\d+", version)] for version in (runner, server)]
    return numbers[0] < numbers[1]


def kept(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What of an environment is on the list; a trailing ``*`` stands for any ending."""
    whole = {name for name in names if not name.endswith("*")}
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    return {name: value for name, value in environ.items() if name in whole or (starts and name.startswith(starts))}


def _identity(user: str | None) -> dict[str, str]:
    """What tells a task who it runs as, when that is not the server's user."""
    if user is None or user == getpass.getuser():
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:  # the runner says so of each task
        return {}
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell}
