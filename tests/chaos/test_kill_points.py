"""Server and runner are killed at each named point of their work, and what follows is as if nothing had happened.

The points are those that the sources name, so a new one is tested as soon as it is there.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

import odin as package
from chaos.oracle import Fate, Oracle, Plan, Survivor
from e2e.serving import until

SOURCES = Path(package.__file__).parent
POINTS = sorted(
    {point for path in SOURCES.rglob("*.py") for point in re.findall(r'reach\("([a-z:-]+)"\)', path.read_text())}
)
OF_RUNNER = [point for point in POINTS if point.startswith("runner:")]
# Not on the course below: e2e/test_backup.py and e2e/test_resuming.py kill what passes them.
ELSEWHERE = ("backup:", "restore:", "resume:")
OF_SERVER = [point for point in POINTS if point not in OF_RUNNER and not point.startswith(ELSEWHERE)]
TURNS = max(1, int(os.environ.get("ODIN_CHAOS", "5")) // 10)
# How often the course below passes a point, at least; 1 where nothing is said.
PASSES = {
    "engine": 12,
    "git": 2,
    "submit": 2,
    "build": 2,
    "checkout": 2,
    "place:launched": 4,
    "runner": 8,
    "runner:term-sent": 1,
}


def fault(point, turn):
    passes = PASSES.get(point, PASSES.get(point.partition(":")[0], 1))
    number = random.Random(f"{point} {turn}").randint(1, passes)
    return f"{point}:{number}:kill"


def diamond():
    """Eight tasks; one needs two attempts, one fails and takes one with it."""
    plan = Plan()
    plan.add("fetch")
    plan.add("left", "fetch", seconds=0.05)
    plan.add("flaky", "fetch", codes=(3, 0))
    plan.add("bad", "fetch", codes=(4,))
    plan.add("after", "bad")
    plan.add("join", "left", "flaky")
    plan.add("extra", "left")
    plan.add("last", "join", "extra")
    return plan


def cancelled():
    plan = Plan()
    plan.add("fetch")
    plan.add("slow", "fetch", seconds=1000)
    plan.add("child", "slow")
    return plan


class Unnamed:
    """An oracle whose place is filled in later."""

    path = "{{ ledger }}"


class Course:
    """A new user; two pipelines, one of them cancelled; then the other is removed. Through everything that may happen.

    The diamond's files are templates, filled in with where the ledger is.
    """

    def __init__(self, odin, oracle):
        self.odin = odin
        self.api = Survivor(odin)
        self.oracle = Oracle(odin, self.api)
        self.plan, self.other = diamond(), cancelled()

    def run(self):
        self.add_user()
        templates = {f"{name}.jinja2": text for name, text in self.plan.files(Unnamed).items()}
        self.diamond = self.launched("diamond", templates, {"ledger": str(self.oracle.path)})
        self.slow = self.launched("slow", self.other.files(self.oracle))
        until(self.slow_is_on, told=lambda: (self.api.pipeline(self.slow), self.oracle.lines()))
        assert self.api.ask("POST", f"/v1/pipelines/{self.slow}/cancel").status in (200, 409)
        return self.api.finished(self.diamond), self.api.finished(self.slow)

    def slow_is_on(self):
        """Also where it was lost before it could tell: then it is over, and so is the pipeline."""
        return self.oracle.has("start", f"{self.slow}--slow") or self.api.pipeline(self.slow)["outcome"]

    def add_user(self):
        new = {"username": "bob", "password": "a cow in the snow", "role": "viewer"}
        answer = self.api.ask("POST", "/v1/users", {"user": new})
        assert answer.status in (200, 409), answer.body  # 409: the answer was lost, not the user
        assert [one["username"] for one in self.api.get("/v1/users?q=bob")["users"]] == ["bob"]

    def launched(self, name, files, context=None):
        answer = self.api.write(name, files)
        assert answer.status == 200, answer.body
        asked = {"pipeline": {"job": name}, "context": context or {}}
        return self.api.post("/v1/pipelines", asked)["pipeline"]["id"]

    def check_rendered(self):
        """The rows hold what the tasks found in the work folder."""
        rendered = self.plan.files(self.oracle)
        work = self.odin.shared / "runs" / self.diamond / ".odin" / "work"
        for name, content in rendered.items():
            shown = self.api.ask("GET", f"/v1/pipelines/{self.diamond}/files/{name}").body
            assert shown == work.joinpath(name).read_bytes() == content
        assert sorted(os.listdir(work)) == sorted(rendered)
        assert "work.new" not in os.listdir(work.parent)

    def clean_up(self):
        """Nothing is left of the diamond, and everything of the other one."""
        version = self.api.pipeline(self.diamond)["version"]
        answer = self.api.ask("DELETE", f"/v1/pipelines/{self.diamond}?fs=true&db=true")
        assert answer.status in (200, 404), answer.body
        places = (
            self.odin.shared / "runs" / self.diamond,
            self.odin.data / "logs" / self.diamond,
            self.odin.shared / "checkouts" / version,
        )
        until(lambda: not any(map(os.path.lexists, places)), told=lambda: places)
        assert [one["id"] for one in self.api.get("/v1/pipelines")["pipelines"]] == [self.slow]
        assert (self.odin.shared / "runs" / self.slow).is_dir()
        assert not list((self.odin.shared / ".trash").iterdir())


@pytest.mark.parametrize("turn", range(TURNS))
@pytest.mark.parametrize("point", OF_SERVER)
def test_f01_a_server_killed_at_a_point_goes_on_after_its_start(odin, oracle, point, turn):
    odin.start(fault=fault(point, turn))
    course = Course(odin, oracle)
    _, slow = course.run()
    course.oracle.judge(course.diamond, course.plan.fates)
    check_cancelled(course, slow)
    course.check_rendered()
    assert len(course.api.get("/v1/pipelines")["pipelines"]) == 2
    course.clean_up()
    assert course.api.deaths == 1, f"{point} was not reached"


def check_cancelled(course, slow):
    told = {name: Fate(one["status"], one["exitCode"], one["attempt"]) for name, one in slow["tasks"].items()}
    stopped = {"slow": Fate("terminated", 143), "child": Fate("terminated", None, 0)}
    assert told == {"fetch": Fate("executed")} | stopped
    assert slow["outcome"] == "cancelled"
    course.oracle.hold_together(slow)


@pytest.mark.parametrize("turn", range(TURNS))
@pytest.mark.parametrize("point", OF_RUNNER)
def test_f08_a_runner_killed_at_a_point_costs_at_most_an_exit_code(odin, oracle, point, turn):
    odin.start_runner(fault(point, turn))
    victim = odin.runner
    odin.start()
    course = Course(odin, oracle)
    done, slow = course.run()
    until(lambda: not Path(f"/proc/{victim}").exists(), told=lambda: f"{point} was not reached")
    for pipeline in (done, slow):
        course.oracle.hold_together(pipeline)
    assert_only_the_lost_differ(course, done)
    assert course.oracle.has("end", f"{course.diamond}--fetch") or is_lost(done["tasks"]["fetch"])
    course.clean_up()
    assert course.api.deaths == 0


def is_lost(one):
    """It ran, or was about to, when the runner died, and its exit code cannot be known."""
    return one["exitCode"] is None and one["status"] in ("failed", "terminated") and one["attempt"] > 0


def assert_only_the_lost_differ(course, done):
    """What was not lost itself, and has no parent that did not succeed, met its fate."""
    tasks = done["tasks"]
    for name, one in tasks.items():
        fate = course.plan.fates[name]
        if all(tasks[parent]["status"] == "executed" for parent in one["depends"]):
            assert is_lost(one) or (one["status"], one["exitCode"]) == (fate.status, fate.code), one
        else:
            assert one["status"] == "skipped", one
