"""A real ``odin-serve`` with folders of its own, the commands as processes, and the API by plain HTTP.

Nothing of this machine's user is touched: HOME is a temporary folder. What was started is ended by its number, and
nothing that belongs to a task may be left.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from odin.executors.connection import runner_command
from odin.executors.local import RUNNER_ENV

BIN = Path(sys.executable).parent
DEADLINE_S = 120.0  # against hanging for ever; no test waits so long unless something is broken
PORTS = range(20_000, 32_000)  # below those that the kernel gives to outgoing connections
USER, PASSWORD = "ada", "a horse in the rain"
ENDED = ("DONE", "TERMINATED")

T = TypeVar("T")


def until(condition: Callable[[], T], *, told: Callable[[], object] = lambda: "", pause_s: float = 0.01) -> T:
    """What ``condition`` gives once it is true; ``told`` says more when it never is."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain; {told()}"
        time.sleep(pause_s)
    return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """Requests to one server, each on a connection of its own. ``token`` None asks as nobody."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.token = token

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """``body`` is sent as it is when it is bytes, else as JSON. Raises OSError or HTTPException."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            fields.setdefault("Authorization", f"Bearer {self.token}")
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None and not isinstance(body, bytes):
            fields.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path, raw, fields)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, names, reply.read())

    def get(self, path: str, **headers: str) -> Any:
        return self._good(self.ask("GET", path, **headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._good(self.ask("POST", path, body, **headers))

    def delete(self, path: str) -> Any:
        return self._good(self.ask("DELETE", path))

    def push(self, job: str, content: Any, **files: str) -> None:
        """A job of this ``main.yml`` (JSON is YAML), with files beside it, in one commit."""
        answer = self.write(job, {"main.yml": as_yaml(content)} | {name: text.encode() for name, text in files.items()})
        assert answer.status == 200, answer.body

    def write(self, job: str, files: dict[str, bytes], query: str = "create=true", **headers: str) -> Answer:
        """Push files by one request; whatever came of it."""
        mark = "odin-e2e-boundary"
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
            + data
            + b"\r\n"
            for name, data in files.items()
        ]
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        path = f"/v1/jobs/{job.replace('/', '__')}/files?{query}"
        return self.ask("POST", path, body, Content_Type=f"multipart/form-data; boundary={mark}", **headers)

    def launch(self, job: str, **headers: str) -> str:
        return str(self.post("/v1/pipelines", {"pipeline": {"job": job}}, **headers)["pipeline"]["id"])

    def pipeline(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/pipelines/{identifier}")["pipeline"]
        return found

    def finished(self, identifier: str) -> dict[str, Any]:
        """The pipeline once it is final, with ``tasks`` by their names."""

        def final() -> dict[str, Any] | None:
            found = self.pipeline(identifier)
            return found if found["status"] in ENDED else None

        found = until(final, told=lambda: self._state(identifier), pause_s=0.04)
        return {**found, "tasks": {task["name"]: task for task in found["tasks"]}}

    def _state(self, identifier: str) -> str:
        found = self.pipeline(identifier)
        return f"{found['status']}: " + ", ".join(f"{one['name']} {one['status']}" for one in found["tasks"])

    def task(self, identifier: str) -> dict[str, Any]:
        pipeline, _, name = identifier.partition("--")
        return next(task for task in self.pipeline(pipeline)["tasks"] if task["name"] == name)

    def executing(self, identifier: str) -> dict[str, Any]:
        """The task once it runs."""
        return until(lambda: (task := self.task(identifier))["status"] == "executing" and task)

    def log(self, identifier: str, **query: object) -> bytes:
        extra = "".join(f"&{key}={value}" for key, value in query.items())
        answer = self.ask("GET", f"/v1/resources/{identifier}/logs?x=1{extra}", Accept="text/plain")
        assert answer.status == 200, answer.body
        return answer.body

    def _good(self, answer: Answer) -> Any:
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json


def as_yaml(content: Any) -> bytes:
    return (
        content
        if isinstance(content, bytes)
        else content.encode()
        if isinstance(content, str)
        else json.dumps(content).encode()
    )


@dataclass
class Serving:
    """One data folder and a server on it. ``settings`` are ODIN_ variables without the prefix.

    ``variables`` are others, as they are. ``under`` is a command that starts the server, such as prlimit.
    """

    settings: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="odin", dir="/tmp")))
    variables: dict[str, str] = field(default_factory=dict)
    under: tuple[str, ...] = ()
    name: str = "server"
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    _token: str | None = None
    _runners: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.tools.mkdir(exist_ok=True)

    def beside(self, name: str) -> Serving:
        """Another server on the same folders."""
        return Serving(self.settings, self.folder, self.variables, self.under, name)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def tools(self) -> Path:
        """Programs in here are found by the server's tasks and by the commands."""
        return self.folder / "tools"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def shared(self) -> Path:
        return self.folder / "data-shared"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, fault: str | None = None) -> dict[str, str]:
        """The server's."""
        own = {"ROOT_USER": USER, "ROOT_PASS": PASSWORD, "LOCAL_CPUS": "16"} | self.settings
        found = at_a_shell(self.home, self.tools) | {f"ODIN_{name}": value for name, value in own.items()}
        found |= self.variables
        return found | ({"ODIN_FAULT": fault} if fault else {})

    # the server

    def popen(self, *flags: str, fault: str | None = None, output: Any = None) -> subprocess.Popen[bytes]:
        """A server on these folders that may or may not come up."""
        command = [*self.under, BIN / "odin-serve", "--port", str(self.port), "--data", str(self.data), *flags]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env=self.environment(fault),
                stdin=subprocess.DEVNULL,
                stdout=output or log,
                stderr=subprocess.STDOUT if output else log,
            )

    def start(self, fault: str | None = None) -> Serving:
        """Start and wait until it is ready, or dead by its planned fault; on the same port when it ran before."""
        while True:
            first = self.port == 0
            self.port = self.port or a_port()
            self.process = self.popen(fault=fault)
            state = until(self._decided, told=self.said)
            if state == "ready" or (fault and self.process.returncode == -signal.SIGKILL):
                return self
            assert first and "in use" in self.said(), self.said()
            self.port = 0

    def _decided(self) -> str | None:
        assert self.process is not None
        if self.process.poll() is not None:
            return "ended"
        with contextlib.suppress(OSError, http.client.HTTPException):
            if Api(self.port).ask("GET", "/readyz").status == 200:
                return "ready"
        return None

    def kill(self) -> None:
        """As the kernel or an impatient operator does."""
        assert self.process is not None
        self.process.kill()
        self.gone()

    def gone(self) -> int:
        """The exit code once the server has ended, minus the signal if one ended it."""
        process = self.process
        assert process is not None
        until(lambda: process.poll() is not None, told=self.said)
        self.process = None
        return process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.gone()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        """The server's log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # the runner

    def start_runner(self, fault: str) -> None:
        """A runner with a planned fault waits for the server; one that follows it has none."""
        folder = self.data / "runner"
        folder.mkdir(parents=True, mode=0o700)
        self.data.chmod(0o700)
        env = {name: os.environ[name] for name in RUNNER_ENV if name in os.environ} | {"ODIN_FAULT": fault}
        with (folder / "messages.log").open("ab") as messages:
            command = runner_command(self.data)
            subprocess.run(command, env=env, stdout=messages, stderr=messages, start_new_session=True, check=True)
        self._runners.add(self.runner)

    @property
    def runner(self) -> int:
        """The pid that the runner's lock names; 0 before there is one."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.data / "runner" / "lock").read_text())
            self._runners.add(pid)
            return pid
        return 0

    def kill_runner(self) -> None:
        os.kill(self.runner, signal.SIGKILL)

    # people

    def api(self) -> Api:
        """As the first admin."""
        if self._token is None:
            self._token = sign_in(self.port, USER, PASSWORD)
        return Api(self.port, self._token)

    def person(self) -> Person:
        """Somebody who has never used Odin on this machine."""
        return Person(Path(tempfile.mkdtemp(prefix="home", dir=self.folder)), self.url, self.tools)

    def command(self, *words: str, code: int | None = 0, **options: Any) -> Done:
        """Run one of the commands, signed in as the admin; ``code`` is what it must end with, None for any."""
        return Person(self.home, self.url, self.tools, self.api().token).run(*words, code=code, **options)

    def operate(self, *words: str | Path, code: int | None = 0, fault: str | None = None) -> Done:
        """Run one of the server's own commands on these folders, as whoever runs the server does; ``code`` as above."""
        command = [str(BIN / words[0]), *map(str, words[1:]), "--data", str(self.data)]
        env = self.environment(fault)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def tool(self, name: str, script: str) -> Path:
        """Make a program of a shell script."""
        return make_tool(self.tools / name, script)

    # the end

    def leave(self) -> None:
        """End this server alone, of several on the folders."""
        if self.alive:
            self.terminate()
        assert "Traceback" not in self.said(), self.said()

    def close(self, *, quiet: bool = True) -> None:
        """End everything; nothing of a task may be left, and no traceback stand in the server's log."""
        try:
            if self.alive:
                self.terminate()
            left = dict(self.bodies())
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._end_runners()
            if quiet:
                assert left == {}, f"left behind: {left}"
                assert "Traceback" not in self.said(), self.said()
                assert "Traceback" not in self.runner_said(), self.runner_said()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def runner_said(self) -> str:
        path = self.data / "runner" / "messages.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _end_runners(self) -> None:
        self.runner  # noqa: B018 - notes the newest
        for pid in self._runners:
            if str(self.data) in command_line(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def bodies(self) -> Iterator[tuple[int, str]]:
        """Processes that carry an id of a task of this server: pid and task."""
        mine = f"ODIN_RUN_PATH={self.shared}/".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    variables = (entry / "environ").read_bytes().split(b"\0")
                    if any(each.startswith(mine) for each in variables) and _state(entry) != "Z":
                        task = next((each for each in variables if each.startswith(b"ODIN_TASK_ID=")), b"")
                        yield int(entry.name), task.decode()


@dataclass(frozen=True)
class Person:
    """Somebody at a shell of this machine, who types commands. With a ``token``, it is in the environment."""

    home: Path
    url: str
    tools: Path
    token: str | None = None

    def environment(self) -> dict[str, str]:
        token = {"ODIN_TOKEN": self.token} if self.token else {}
        return at_a_shell(self.home, self.tools) | {"ODIN_URL": self.url} | token

    def run(self, *words: str, code: int | None = 0, env: dict[str, str] | None = None, **options: Any) -> Done:
        """Run a command; ``code`` is what it must end with, None for any."""
        program = BIN / words[0] if (BIN / words[0]).exists() else words[0]
        done = subprocess.run(
            [str(program), *words[1:]],
            env=self.environment() | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            **options,
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def git(self, *words: str, code: int | None = 0, password: str = PASSWORD, **options: Any) -> Done:
        """git, for the admin, who types user name and password when it asks."""
        asked = make_tool(self.home / "askpass", f"case $1 in Username*) echo {USER};; *) echo '{password}';; esac")
        who = {
            f"GIT_{role}_{what}": "ada@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        env = {"GIT_ASKPASS": str(asked), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **who}
        return self.run("git", *words, code=code, env=env, **options)


def at_a_shell(home: Path, tools: Path) -> dict[str, str]:
    path = f"{tools}:{BIN}:{os.environ.get('PATH', os.defpath)}"
    return {"HOME": str(home), "USER": USER, "LOGNAME": USER, "LANG": "C.UTF-8", "TERM": "dumb", "PATH": path}


def make_tool(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The only line of the result."""
        (line,) = self.out.splitlines()
        return line


def sign_in(port: int, username: str, password: str) -> str:
    answer = Api(port).post("/v1/auth", {"username": username, "password": password})
    return str(answer["message"])


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0]


def a_port() -> int:
    """One that nobody listens on, and no other worker of these tests takes: it would be taken for this server."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    own = PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    while True:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port := random.choice(own)))
            return port
