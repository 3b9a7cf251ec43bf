"""What tasks did by their own account, held against what Odin says: the invariants of reliability.md, section 2.4.

Every task runs ``BODY``, which appends ``start <task> <attempt> <pid> <uptime>`` and ``end ...`` to a ledger that Odin
does not know, each by one ``O_APPEND`` write, so that the order of its lines is the order of what happened.
"""

from __future__ import annotations

import http.client
import random
import re
import signal
import sqlite3
import subprocess
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from e2e.serving import PASSWORD, USER, Answer, Api, Serving, as_yaml

# body.sh LEDGER SECONDS CODE...: the n-th attempt ends with the n-th code, or the last. Only builtins but for sleep.
BODY = """\
#!/bin/sh
ledger=$1 seconds=$2
shift 2
number=$ODIN_ATTEMPT
while [ $# -gt 1 ] && [ "$number" -gt 1 ]; do shift; number=$((number - 1)); done
for line in 1 2 3 4 5; do echo "$ODIN_TASK_ID attempt $ODIN_ATTEMPT line $line"; done
read -r up rest </proc/uptime
printf 'start %s %s %s %s\\n' "$ODIN_TASK_ID" "$ODIN_ATTEMPT" "$$" "$up" >>"$ledger"
[ "$seconds" = 0 ] || sleep "$seconds"
read -r up rest </proc/uptime
printf 'end %s %s %s %s\\n' "$ODIN_TASK_ID" "$ODIN_ATTEMPT" "$$" "$up" >>"$ledger"
exit "$1"
"""
COMPLAINT = re.compile(r"\S+: \d+: (echo|printf): .*I/O error\n?")  # the shell's, of a full disk


class Line(NamedTuple):
    word: str
    task: str
    attempt: int
    pid: int
    at: float


@dataclass(frozen=True)
class Fate:
    """What must become of a task: status, exit code, attempts."""

    status: str
    code: int | None = 0
    attempts: int = 1


@dataclass
class Plan:
    """A job and what must become of its tasks, by name."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    on_failure: str = "continue"

    def add(self, name: str, *depends: str, codes: tuple[int, ...] = (0,), seconds: float = 0, **fields: Any) -> None:
        """A task whose attempts end with ``codes``; each but the last is followed by another attempt."""
        retries = {"retries": len(codes) - 1, "retry_delay": 0.05} if len(codes) > 1 else {}
        args = ["${WORK_PATH}/body.sh", "LEDGER", f"{seconds:g}", *map(str, codes)]
        self.tasks.append({"name": name, "command": "sh", "args": args, "depends": list(depends), **retries, **fields})
        alive = all(self.fates[parent].status == "executed" for parent in depends)
        done = Fate("executed" if codes[-1] == 0 else "failed", codes[-1], len(codes))
        self.fates[name] = done if alive else Fate("skipped", None, 0)

    @property
    def outcome(self) -> str:
        return "succeeded" if all(fate.status == "executed" for fate in self.fates.values()) else "failed"

    @property
    def starts(self) -> int:
        return sum(fate.attempts for fate in self.fates.values())

    def files(self, oracle: Oracle) -> dict[str, bytes]:
        """The job's files."""
        place = str(oracle.path)
        tasks = [{**one, "args": [place if arg == "LEDGER" else arg for arg in one["args"]]} for one in self.tasks]
        return {"main.yml": as_yaml({"on_failure": self.on_failure, "tasks": tasks}), "body.sh": BODY.encode()}


QUICK = (0, 0, 0.02, 0.05)


def storm(rng: random.Random, count: int, *, failing: bool = False, seconds: tuple[float, ...] = QUICK) -> Plan:
    """``count`` tasks in layers, each after one to three of the layer before; some fail or need another attempt."""
    plan, before, layer = Plan(), [], []
    for number in range(count):
        name = f"t{number}"
        depends = rng.sample(before, min(len(before), rng.randint(1, 3)))
        codes: tuple[int, ...] = (0,)
        if failing and rng.random() < 0.2:
            codes = rng.choice([(rng.randint(1, 125),), (rng.randint(1, 125), 0)])
        plan.add(name, *depends, codes=codes, seconds=rng.choice(seconds))
        layer.append(name)
        if len(layer) >= rng.randint(10, 30):
            before, layer = layer, []
    return plan


class Survivor(Api):
    """A client that does not give up: when the server was killed, it is started again and asked again.

    What is not repeatable by itself carries an ``Idempotency-Key``, as the commands send it.
    """

    def __init__(self, odin: Serving) -> None:
        super().__init__(odin.port)
        self._odin = odin
        self.deaths = 0
        self.token = self.post("/v1/auth", {"username": USER, "password": PASSWORD})["message"]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if method == "POST":
            headers.setdefault("Idempotency_Key", uuid.uuid4().hex)
        while True:
            try:
                answer = super().ask(method, path, body, **headers)
            except (OSError, http.client.HTTPException):
                self._revive()
                continue
            if answer.status != 503:
                return answer

    def _revive(self) -> None:
        odin = self._odin
        if odin.process is not None:
            assert odin.gone() == -signal.SIGKILL, odin.said()
        self.deaths += 1
        odin.start()


@dataclass
class Oracle:
    """The ledger of one server's tasks."""

    odin: Serving
    api: Api | None = None
    disk_was_full: bool = False  # what a task could not write is in no log: it was told so itself

    @property
    def asking(self) -> Api:
        return self.api or self.odin.api()

    @property
    def path(self) -> Any:
        return self.odin.folder / "ledger"

    def lines(self) -> list[Line]:
        if not self.path.exists():
            return []
        whole = self.path.read_text().split("\n")[:-1]
        return [Line(word, task, int(n), int(pid), float(at)) for word, task, n, pid, at in map(str.split, whole)]

    def count(self) -> int:
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    def of(self, pipeline: str) -> list[Line]:
        return [line for line in self.lines() if line.task.startswith(f"{pipeline}--")]

    def has(self, word: str, task: str, attempt: int = 1) -> bool:
        return any((line.word, line.task, line.attempt) == (word, task, attempt) for line in self.lines())

    # what must hold

    def judge(self, pipeline: str, fates: Mapping[str, Fate]) -> None:
        """The pipeline is final and every task met its fate, by Odin's account and by the ledger."""
        told = self.asking.finished(pipeline)
        seen = {name: Fate(one["status"], one["exitCode"], one["attempt"]) for name, one in told["tasks"].items()}
        assert seen == dict(fates), {
            name: (seen[name], told["tasks"][name]["reason"]) for name in seen if seen[name] != fates.get(name)
        }
        expected = Counter(
            (f"{pipeline}--{name}", number) for name, fate in fates.items() for number in range(1, fate.attempts + 1)
        )
        lines = self.of(pipeline)
        for word in ("start", "end"):
            did = Counter((line.task, line.attempt) for line in lines if line.word == word)
            assert did == expected, (word, did - expected, expected - did)
        self.hold_together(told)

    def hold_together(self, told: Mapping[str, Any]) -> None:
        """What is true of every final pipeline, whatever happened to it: I1 and I3 to I7. ``tasks`` are by name."""
        lines = self.of(told["id"])
        self._pinned(told["version"])
        for one in told["tasks"].values():
            self._accounted(one, [line for line in lines if line.task == one["id"]])
            self._ordered(one, told, lines)
        self._history(told["id"])

    def _accounted(self, one: Mapping[str, Any], lines: list[Line]) -> None:
        starts = Counter(line.attempt for line in lines if line.word == "start")
        ends = Counter(line.attempt for line in lines if line.word == "end")
        assert not starts or max(starts.values()) == 1, (one, lines)
        assert not starts or max(starts) <= one["attempt"], (one, lines)
        assert one["status"] in ("executed", "failed", "skipped", "terminated"), one
        if one["status"] == "executed":
            assert (one["exitCode"], ends[one["attempt"]]) == (0, 1), (one, lines)
            assert lines[-1].word == "end", (one, lines)
        for attempt in ends:
            self._logged(one["id"], attempt)

    def _logged(self, task: str, attempt: int) -> None:
        written = "".join(f"{task} attempt {attempt} line {number}\n" for number in range(1, 6))
        found = self.asking.log(task, attempt=attempt).decode()
        if self.disk_was_full:
            rest = iter(written)
            assert all(letter in rest for letter in COMPLAINT.sub("", found)), found
        else:
            assert found == written

    def _ordered(self, one: Mapping[str, Any], told: Mapping[str, Any], lines: list[Line]) -> None:
        first = next((at for at, line in enumerate(lines) if line.task == one["id"]), None)
        for parent in one["depends"] if first is not None else ():
            last = max(at for at, line in enumerate(lines) if line.task == told["tasks"][parent]["id"])
            assert lines[last].word == "end", (parent, lines[last])
            assert last < first, f"{one['name']} began before {parent} was done"

    def _pinned(self, version: str) -> None:
        shown = self._git("show-ref", "--verify", f"refs/odin/pins/{version}")
        assert shown.returncode == 0, shown.stderr

    def _history(self, pipeline: str) -> None:
        events = self.asking.get(f"/v1/resources/{pipeline}/events")["events"]
        numbers = [int(one["id"].rpartition(".")[2]) for one in events]
        assert numbers == list(range(1, len(numbers) + 1)), numbers

    def stores_are_sound(self) -> None:
        """I10, and no lock or leaving of git is there. The server is stopped."""
        fsck = self._git("fsck", "--full", "--strict")
        assert fsck.returncode == 0, fsck.stdout + fsck.stderr
        repository = self.odin.data / "jobs.git"
        left = [
            path
            for pattern in ("**/*.lock", "objects/**/tmp_*", "objects/incoming-*")
            for path in repository.glob(pattern)
        ]
        assert [path for path in left if path.name != "odin.lock"] == []
        connection = sqlite3.connect(self.odin.data / "odin.db")
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        finally:
            connection.close()

    def _git(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(self.odin.data / "jobs.git"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)
