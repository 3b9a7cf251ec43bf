"""What chaos breaks: servers, their runner, PostgreSQL, connections, the disk and the clock, each mended again at once.

What the rights or the programs are missing for is left out and said. Source: reliability.md, 2.1.
"""

from __future__ import annotations

import errno
import http.client
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clocks import JumpingClock
from e2e.serving import Api, Serving, until
from pgproxy import MOMENTS, Proxy
from postgres import Postgres

DISK_MB = 256  # of the data folder: logs of ten thousand tasks fit
CLOCKS_S = (2, 90, 3600)  # how far a server's clock is off
UNFINISHED = "SELECT id, seq FROM pipelines WHERE outcome IS NULL"
Break = Callable[[], None]


@dataclass
class Parts:
    """What there is to break. ``database`` and ``people`` stand before PostgreSQL and before the server."""

    odin: Serving
    postgres: Postgres | None = None
    database: Proxy | None = None
    people: Proxy | None = None
    disk: Path | None = None
    clock: JumpingClock | None = None

    def missing(self) -> Iterator[str]:
        if self.postgres is None:
            yield "no PostgreSQL is broken: --database sqlite"
        if self.disk is None:
            yield "no disk is filled: that needs root, to mount a small one"
        if self.clock is None:
            yield "no clock is set: that needs a C compiler"


@dataclass
class Breaks:
    """Breaks one thing after another: each there is once, then as ``rng`` says. Times in seconds.

    ``killed`` are processes, ``broken`` all else.
    """

    parts: Parts
    rng: random.Random
    only_database: bool = False
    killed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    ready_s: list[float] = field(default_factory=list)
    database_s: list[float] = field(default_factory=list)
    _first: list[Break] | None = None

    @property
    def kills(self) -> int:
        return sum(self.killed.values())

    @property
    def restarts(self) -> int:
        """Of PostgreSQL."""
        return len(self.database_s)

    def one(self) -> str:
        """Break something and mend it; what it was."""
        choices = self.choices()
        if self._first is None:
            self._first = self.rng.sample(list(choices), len(choices))
        choice = self._first.pop() if self._first else self.rng.choices(list(choices), list(choices.values()))[0]
        choice()
        return choice.__name__

    def choices(self) -> dict[Break, int]:
        """With how often each is taken."""
        database: dict[Break, int] = {}
        if self.parts.postgres is not None:
            database = {self.restart_postgresql: 1, self.crash_postgresql: 1}
        if self.only_database:
            return database
        choices = database | {self.kill: 9, self.kill_at_start: 3, self.kill_runner: 1, self.kill_both: 1}
        if self.parts.people is not None:
            choices[self.cut_people] = 1
        if self.parts.database is not None:
            choices |= {self.cut_commit: 1, self.part_from_database: 1}
        if self.parts.disk is not None:
            choices[self.fill_disk] = 1
        if self.parts.clock is not None:
            choices[self.kill_and_set_clock] = 1
        return choices

    # processes

    def kill(self) -> None:
        self.parts.odin.kill()
        self.killed["server"] += 1
        self.start()

    def kill_at_start(self) -> None:
        odin = self.parts.odin
        odin.kill()
        process = odin.popen()
        time.sleep(self.rng.random() * 1.2)
        process.kill()
        process.wait()
        self.killed["server"] += 1
        self.killed["server, as it starts"] += 1
        self.start()

    def kill_runner(self) -> None:
        with suppress(ProcessLookupError):
            self.parts.odin.kill_runner()
            self.killed["runner"] += 1

    def kill_both(self) -> None:
        self.parts.odin.kill()
        self.killed["server"] += 1
        self.kill_runner()
        self.start()

    def start(self) -> None:
        began = time.monotonic()
        self.parts.odin.start()
        self.ready_s.append(time.monotonic() - began)

    # PostgreSQL

    def restart_postgresql(self) -> None:
        self._down(signal.SIGINT)
        self.broken["PostgreSQL, restarted"] += 1

    def crash_postgresql(self) -> None:
        self._down(signal.SIGQUIT)
        self.killed["PostgreSQL"] += 1

    def _down(self, how: signal.Signals) -> None:
        """Stopped for up to two seconds; how long after its return the server is ready and pipelines move again."""
        postgres, odin = self.parts.postgres, self.parts.odin
        assert postgres is not None
        postgres.stop(how)
        time.sleep(self.rng.random() * 2)
        postgres.start()
        began, unfinished = time.monotonic(), self._unfinished()
        until(lambda: is_ready(odin), told=odin.said)
        if unfinished:
            until(lambda: self._unfinished() != unfinished, told=odin.said, pause_s=0.02)
        self.database_s.append(time.monotonic() - began)

    def _unfinished(self) -> dict[object, object]:
        """Where each pipeline is that is not over, as an operator sees it: not what retention has left of the others."""
        postgres, url = self.parts.postgres, self.parts.odin.settings["DATABASE_URL"]
        assert postgres is not None
        return {identity: seq for identity, seq in postgres.execute(UNFINISHED, url.rpartition("/")[2])}

    # connections

    def cut_commit(self) -> None:
        """Before, in or after the next COMMIT that there is."""
        proxy = self.parts.database
        assert proxy is not None
        cuts = proxy.cuts
        proxy.cut_at(self.rng.choice(MOMENTS))
        until = time.monotonic() + 5
        while proxy.cuts == cuts and time.monotonic() < until:
            time.sleep(0.01)
        self.broken["connection to PostgreSQL, cut at a COMMIT"] += proxy.cuts - cuts

    def part_from_database(self) -> None:
        assert self.parts.database is not None
        self._part(self.parts.database)
        self.broken["all connections to PostgreSQL, for a while"] += 1

    def cut_people(self) -> None:
        assert self.parts.people is not None
        self._part(self.parts.people)
        self.broken["all connections of clients, for a while"] += 1

    def _part(self, proxy: Proxy) -> None:
        proxy.part()
        time.sleep(self.rng.random())
        proxy.join()

    # machines

    def fill_disk(self) -> None:
        """Of the data folder: logs, the runner's journal, the jobs' repository."""
        assert self.parts.disk is not None
        fill(self.parts.disk)
        time.sleep(self.rng.random())
        (self.parts.disk / FILLER).unlink()
        self.broken["full disk, for a while"] += 1

    def kill_and_set_clock(self) -> None:
        """This server and the next believe in another time: ahead of all that is stored, or behind it."""
        assert self.parts.clock is not None
        self.parts.clock.set(self.rng.choice(CLOCKS_S) * self.rng.choice((-1, 1)))
        self.kill()
        self.broken["clock set forwards or back"] += 1

    def mend(self) -> None:
        """All is as it should be."""
        if self.parts.clock is not None:
            self.parts.clock.set(0)


def is_ready(odin: Serving) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return Api(odin.port).ask("GET", "/readyz").status == 200
    return False


FILLER = "filler"


def fill(folder: Path) -> None:
    """Whatever is left. What others write meanwhile, they write."""
    descriptor = os.open(folder / FILLER, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        while left := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, left)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """``folder``, which is not there yet, on a disk of its own; None where nobody may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "tmpfs", str(folder)]
    folder.mkdir(mode=0o700)
    if not shutil.which("mount") or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
