"""W6 and W7: a thousand pipelines at once, and reading while they run on a database that is full of old ones."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import processes
import shapes
from client import Client
from database import LONGEST_RUN_S, Committed
from floors import Build
from server import SLOTS, Server
from table import Row, Target

from odin.model.ids import SUFFIX_ALPHABET, SUFFIX_LENGTH
from odin.store import schema
from odin.store.database import Database

PIPELINES = 1_000
OLD = 100_000
JOB = "training"
ROUNDS = 3
PAUSE_S = 0.005  # between two questions of the reader
OWN = {
    schema.pipelines: ("id", "number"),
    schema.tasks: ("pipeline",),
    schema.attempts: ("pipeline",),
    schema.events: ("pipeline",),
}  # what a copy does not share with its original, its name first


def storm(folder: Path) -> Iterator[Row]:
    """W6: 1,000 pipelines of 5 tasks submitted at once."""
    build = Build.write(folder / "make", shapes.training(PIPELINES))
    odin, make, submitted = [], [], []
    with Server(folder / "storm") as server:
        client, committed = ready(server)
        for _ in range(ROUNDS):
            make.append(build.make(SLOTS).wall_s)
            began = time.perf_counter()
            with processes.child(launches(server, client)):
                pass
            submitted.append(PIPELINES / (time.perf_counter() - began))
            committed.wait_until_idle()
            odin.append(time.perf_counter() - began)
        committed.close()
    yield Row("W6", "1,000 pipelines of 5 tasks ÷ make -j16", "s", odin, make, Target(3, 1.6))
    yield Row("W6", "launches taken", "/s", submitted)


def reads(folder: Path) -> Iterator[Row]:
    """W7: reading during W6, one question at a time, on a database of 100,000 finished pipelines."""
    with Server(folder / "full") as server:
        client, committed = ready(server)
        example = client.request("GET", "/v1/pipelines", limit=1)["pipelines"][0]["id"]
        client.close()
        server.stop()
        old = seed(server.data / "odin.db", example, OLD)
        server.start()
        ready_s, memory_mb = server.ready_s, processes.memory_mb(server.pid)
        reader = Reader(server.client(), old)
        with processes.child(launches(server, reader.client)) as launcher:
            reader.read_while(lambda: launcher.poll() is None or not committed.idle)
        committed.close()
    limits = Target(100, 20)
    for kind, target in (("status", limits), ("list", limits), ("data", None), ("next page", None)):
        yield Row("W7", f"p99 of {kind}", "ms", reader.seen[kind], target=target, percentile=99)
    yield Row("W9", "start to ready, 100,000 pipelines", "s", [ready_s], target=Target(2, 0.7))
    yield Row("W9", "memory then", "MB", [memory_mb], target=Target(120, 60))


@dataclass(slots=True)
class Reader:
    """Asks four things in turn and takes down how long each answer took, in milliseconds."""

    client: Client
    old: list[str]
    seen: dict[str, list[float]] = field(default_factory=dict)
    cursor: str = ""
    choice: random.Random = field(default_factory=lambda: random.Random(7))

    def read_while(self, going_on: Callable[[], bool]) -> None:
        until = time.monotonic() + LONGEST_RUN_S
        while going_on():
            if time.monotonic() > until:
                raise RuntimeError("the pipelines did not end")
            some = self.choice.choice(self.old)
            self._ask("status", f"/v1/pipelines/{some}")
            self.cursor = self._ask("list", "/v1/pipelines")["nextCursor"]
            self._ask("data", f"/v1/resources/{some}/data")
            self._ask("next page", "/v1/pipelines", cursor=self.cursor)
        self.client.close()

    def _ask(self, kind: str, path: str, **query: object) -> dict[str, str]:
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        answer = self.client.request("GET", path, **query)
        self.seen.setdefault(kind, []).append((time.perf_counter() - began) * 1e3)
        return answer


def ready(server: Server) -> tuple[Client, Committed]:
    """Ways to talk to it, after the job was pushed and run once."""
    client, committed = server.client(), server.committed()
    client.push(JOB, {"main.yml": shapes.main_yml(shapes.training(1))})
    committed.wait(client.launch(JOB))
    return client, committed


def launches(server: Server, client: Client) -> list[str]:
    program = Path(__file__).with_name("launches.py")
    return [sys.executable, str(program), str(server.port), client.token, JOB, str(PIPELINES)]


def seed(path: Path, example: str, count: int) -> list[str]:
    """Copies of a finished pipeline with all its rows; their ids."""
    ids = [f"old-{_suffix(index)}" for index in range(count)]
    database = Database(f"sqlite:///{path}")
    with database.writer() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE copies (copy TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.exec_driver_sql("INSERT INTO copies VALUES (?)", [(each,) for each in ids])
        for table, (name, *others) in OWN.items():
            shared = ", ".join(column.name for column in table.columns if column.name not in (name, *others))
            select = f"SELECT copy, {shared} FROM copies, {table.name} WHERE {name} = ?"
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({name}, {shared}) {select}", (example,))
    database.close()
    return ids


def _suffix(index: int) -> str:
    letters = []
    for _ in range(SUFFIX_LENGTH):
        index, digit = divmod(index, len(SUFFIX_ALPHABET))
        letters.append(SUFFIX_ALPHABET[digit])
    return "".join(reversed(letters))
