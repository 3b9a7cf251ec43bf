"""R4: the power goes, again and again: what was acknowledged by then is there once the server has started.

One run of a real server, its runner and tasks is written down call by call. From that, what the disk may hold at some
moment is built again and a server started on it, in another boot of the machine as far as it can tell. Half of the
states are those right after a sync with nothing of what followed; in the others some or all of it has reached the disk.
Source: reliability.md, 2.3, F-02.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chaos.disk import Disk, put
from chaos.oracle import Oracle
from chaos.scoreboard import Asked, Row, unmeasured
from chaos.syscalls import Call, calls, command
from e2e.jobs import job, task
from e2e.serving import DEADLINE_S, ENDED, Api, Serving, command_line, until

WHAT = "states after a power loss, rebuilt and started: something acknowledged missing"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
STATES, MANY = 300, 5_000


class Fact(NamedTuple):
    """Something that somebody was told at a moment; ``holds`` raises AssertionError where it is no longer so."""

    at: float
    what: str
    holds: Callable[[Api], None]


def measure(asked: Asked) -> Iterator[Row]:
    wanted = MANY if asked.long else STATES
    target = f"0 of {wanted}"
    if (why := missing()) is not None:
        yield unmeasured("R4", WHAT, target, why)
        return
    yield measured(wanted, random.Random(f"{asked.seed} power"))


def measured(wanted: int, rng: random.Random) -> Row:
    odin = Serving()
    try:
        record = Record(odin)
        record.make()
        wrong = Rebuilding(record, rng).run(wanted)
    finally:
        odin.close(quiet=False)
    return Row("R4", WHAT, f"{len(wrong)} of {wanted}", f"0 of {wanted}", not wrong)


def missing() -> str | None:
    if shutil.which("strace") is None:
        return "it takes strace: apt-get install strace"
    if os.geteuid() != 0:
        return "it takes root, to give the machine another boot id"
    done = subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"], capture_output=True, text=True)
    return f"strace does not work here: {done.stderr.strip()}" if done.returncode else None


class Record:
    """One run, in which people do what they do; what they are told is noted."""

    def __init__(self, odin: Serving) -> None:
        self.odin = odin
        self.ledger = odin.folder / "ledger"
        self.facts: list[Fact] = []
        self.pipelines: list[str] = []
        self.calls: list[Call] = []
        self.lines: list[str] = []

    def make(self) -> None:
        written = Path(tempfile.mkdtemp(prefix="calls", dir=self.odin.folder))
        tracing = self._start(written)
        self._live()
        for pid in (self.odin.runner, *_children(tracing.pid)):
            assert str(self.odin.data) in command_line(pid)
            os.kill(pid, signal.SIGKILL)
        tracing.wait(DEADLINE_S)
        self.calls = calls(written, (self.odin.data, self.odin.shared))
        self.lines = self.ledger.read_text().splitlines()
        self._is_whole()
        print(f"  R4: {len(self.calls)} calls written down, {len(self.facts)} things acknowledged", flush=True)

    def _start(self, written: Path) -> subprocess.Popen[bytes]:
        """strace; the server is its child."""
        odin, boot = self.odin, self.odin.folder / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        script = f'mount --bind "$0" {BOOT_ID} && exec "$@"'
        odin.under = ("unshare", "--mount", "sh", "-c", script, str(boot), *command(written))
        tracing = odin.start().process
        assert tracing is not None
        odin.under, odin.process = (), None
        return tracing

    def _live(self) -> None:
        api = self.odin.api()
        chain = [self._task("fetch", 0.1), self._task("train", 0.2, "fetch"), self._task("report", 0, "train")]
        wide = [self._task(f"w{number}", 0.05) for number in range(6)]
        for name, tasks in (("chain", chain), ("wide", wide), ("slow", [self._task("slow", 1000)])):
            self._push(api, name, *tasks)
        first = [self._launch(api, name) for name in ("chain", "wide", "slow", "chain", "wide")]
        self._push(api, "chain", *chain, self._task("new", 0, "report"))
        api.executing(f"{first[2]}--slow")
        self._add_user(api)
        token = api.token
        self._note("a token is good", lambda api: _is(Api(api.port, token).ask("GET", "/v1/users").status, 200))
        self._follow(api, first[0], first[1])
        api.post(f"/v1/pipelines/{first[2]}/cancel")
        self._note(f"{first[2]} is cancelled", lambda api: _is(api.finished(first[2])["outcome"], "cancelled"))
        self._launch(api, "chain")
        self._remove(api, first[0])
        self._follow(api, *self.pipelines)
        for _ in range(2):
            self._launch(api, "wide")

    def _task(self, name: str, seconds: float, *depends: str) -> dict[str, Any]:
        note = f"echo $ODIN_TASK_ID $ODIN_ATTEMPT $(date +%s.%N) >> {self.ledger}"
        return task(name, f"{note}; sleep {seconds}; echo done", *depends, cpu="10m")

    # What people are told

    def _note(self, what: str, holds: Callable[[Api], None]) -> None:
        self.facts.append(Fact(time.time(), what, holds))

    def _push(self, api: Api, name: str, *tasks: dict[str, Any]) -> None:
        api.push(name, job(*tasks))
        version = api.get("/v1/app")["pipelines_version"]
        git = ["git", "-C", str(self.odin.data / "jobs.git"), "merge-base", "--is-ancestor", version, "main"]
        self._note(f"{name} is pushed", lambda _: _is(subprocess.run(git, capture_output=True).returncode, 0))

    def _launch(self, api: Api, name: str) -> str:
        pipeline = api.launch(name)
        self.pipelines.append(pipeline)
        self._note(f"{pipeline} is launched", lambda api: self._is_there(api, pipeline))
        return pipeline

    def _is_there(self, api: Api, pipeline: str) -> None:
        if pipeline in self.pipelines:
            api.pipeline(pipeline)

    def _add_user(self, api: Api) -> None:
        api.post("/v1/users", {"user": {"username": "bob", "password": "a cow in the rain", "role": "editor"}})
        self._note("bob may sign in", lambda api: _is(api.get("/v1/users/bob")["user"]["username"], "bob"))

    def _remove(self, api: Api, pipeline: str) -> None:
        """From now on it may be there or not, until that is answered."""
        self.pipelines.remove(pipeline)
        self.facts = [fact for fact in self.facts if not fact.what.startswith(pipeline)]
        api.delete(f"/v1/pipelines/{pipeline}?db=true&fs=true")
        self._note(f"{pipeline} is removed", lambda api: _is(api.ask("GET", f"/v1/pipelines/{pipeline}").status, 404))

    def _follow(self, api: Api, *pipelines: str) -> None:
        """Until they are over; each end of a task that is shown is one that stays."""
        told: set[str] = set()

        def look(pipeline: str) -> bool:
            found = api.pipeline(pipeline)
            for one in found["tasks"]:
                if one["status"] == "executed" and one["id"] not in told:
                    told.add(one["id"])
                    self._note(f"{one['id']} is executed", lambda api, id=one["id"]: _is_executed(api, id))
            return found["status"] in ENDED

        until(lambda: all([look(pipeline) for pipeline in pipelines]))

    def _is_whole(self) -> None:
        """Whether the calls say all: what they make is what is there."""
        disk = Disk()
        for call in self.calls:
            disk.follow(call)
        for path, (node, content) in disk.left(random.Random(0), 1).items():
            if node.kind == "file" and not path.endswith("-shm"):  # shared memory is not written but mapped
                assert Path(path).read_bytes() == content, path


def _is(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r}, not {wanted!r}"


def _is_executed(api: Api, identifier: str) -> None:
    one = api.task(identifier)
    _is((one["status"], one["exitCode"], one["attempt"]), ("executed", 0, 1))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Moment(NamedTuple):
    """After which call the power goes, and how much of what was not synced then has reached the disk."""

    after: int
    share: float


class Rebuilding:
    """Starts servers on what a recorded one may have left."""

    def __init__(self, record: Record, rng: random.Random) -> None:
        self._record, self._odin, self._rng = record, record.odin, rng

    def run(self, wanted: int) -> list[str]:
        """What was wrong, a sentence for each state."""
        wrong: list[str] = []
        disk, followed, said_at = Disk(), 0, time.monotonic()
        for number, moment in enumerate(sorted(self._moments(wanted))):
            for call in self._record.calls[followed : moment.after + 1]:
                disk.follow(call)
            followed = moment.after + 1
            try:
                self._try(disk, moment)
            except AssertionError as error:
                wrong.append(f"{moment}: {str(error)[:500]}")
                print(f"  R4: {wrong[-1]}", flush=True)
            if time.monotonic() > said_at + 10:
                said_at = time.monotonic()
                print(f"  R4: {number + 1} of {wanted} states, {len(wrong)} wrong", flush=True)
        return wrong

    def _moments(self, wanted: int) -> list[Moment]:
        every = self._record.calls
        syncs = [at for at, call in enumerate(every) if "sync" in call.name]
        chosen = self._rng.sample(syncs, min(len(syncs), wanted // 2))
        found = [Moment(at, 0.0) for at in chosen]
        while len(found) < wanted:
            found.append(Moment(self._rng.randrange(len(every)), self._rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])))
        return found

    def _try(self, disk: Disk, moment: Moment) -> None:
        record, odin = self._record, self._odin
        until_at = record.calls[moment.after + 1].at if moment.after + 1 < len(record.calls) else time.time()
        for folder in (odin.data, odin.shared):
            until(lambda folder=folder: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())
        odin.log.unlink(missing_ok=True)
        put(disk.left(self._rng, moment.share))
        before = [line for line in record.lines if float(line.split()[2]) < until_at]
        record.ledger.write_text("".join(f"{line}\n" for line in before))
        odin.start()
        try:
            self._judge([fact for fact in record.facts if fact.at < until_at])
        finally:
            odin.kill()
            self._end_all()

    def _judge(self, facts: list[Fact]) -> None:
        api = self._api()
        for fact in facts:
            try:
                fact.holds(api)
            except AssertionError as error:
                raise AssertionError(f"{fact.what}: {error}") from error
        there = [found["id"] for found in api.get("/v1/pipelines?limit=100")["pipelines"]]
        for pipeline in there:
            if any(one["name"] == "slow" for one in api.pipeline(pipeline)["tasks"]):
                api.ask("POST", f"/v1/pipelines/{pipeline}/cancel")
            api.finished(pipeline)
        starts = Counter(tuple(line.split()[:2]) for line in self._record.ledger.read_text().splitlines())
        assert max(starts.values(), default=1) == 1, f"started twice: {starts.most_common(1)}"
        assert "Traceback" not in self._odin.said(), self._odin.said()

    def _api(self) -> Api:
        """Where not even the secret was there, everybody signs in anew."""
        api = self._odin.api()
        if api.ask("GET", "/v1/users").status == 401:
            self._odin._token = None
            api = self._odin.api()
        return api

    def _end_all(self) -> None:
        """Whatever the server began, also a runner that has not said yet who it is."""
        odin = self._odin
        while left := [*_working_in(odin.data), *(pid for pid, _ in odin.bodies())]:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        Oracle(odin).stores_are_sound()


def _working_in(folder: Path) -> list[int]:
    """Processes that were given a path in a folder."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if str(folder) in command_line(pid)]
