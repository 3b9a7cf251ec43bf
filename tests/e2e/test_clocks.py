"""Wall clocks that jump: nothing that waits is thrown off, and what is told stays in order."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from clocks import JumpingClock
from e2e.jobs import job, task
from e2e.serving import PASSWORD, USER, Api, Serving, sign_in, until

HOUR, DAY = 3600, 86400
TO_1970, TO_2038 = int(HOUR - time.time()), int(2**31 - time.time())
JUMPS = (2 * HOUR, -2 * HOUR, DAY, -DAY, TO_2038, TO_1970)  # from what the machine says
FLAKY = task("flaky", "echo began; test $ODIN_ATTEMPT -gt 1", retries=1, retry_delay="1s")
PATIENT = task("patient", "touch began; while [ ! -e {go} ]; do sleep 0.05; done", timeout="1h")


@pytest.fixture
def clock(fresh: Serving) -> JumpingClock:
    if not JumpingClock.is_possible():
        pytest.skip("needs a C compiler, for a clock that jumps")
    made = JumpingClock(fresh.folder)
    fresh.under = made.under
    return made


def now(odin: Serving) -> Api:
    """As the admin, whose tokens from other times are not good now."""
    return Api(odin.port, sign_in(odin.port, USER, PASSWORD))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def check_order(api: Api, done: dict[str, Any]) -> None:
    events = api.get("/v1/resources/" + done["id"] + "/events")["events"]
    moments = [moment(each["timestamp"]) for each in events]
    assert moments == sorted(moments) and moments
    for one in done["tasks"].values():
        told = [done["submitTime"], one["submitTime"], one["startTime"], one["completionTime"], done["completionTime"]]
        assert told == sorted(told, key=moment), one


def test_f12_a_clock_that_jumps_ends_nothing_early_and_nothing_late(fresh: Serving, clock: JumpingClock) -> None:
    go = fresh.folder / "go"
    patient = {**PATIENT, "args": [PATIENT["args"][0].replace("{go}", str(go))]}
    api = fresh.start().api()
    api.push("flaky", job(FLAKY, timeout="1h"))
    api.push("patient", job(patient, timeout="1h"))
    running = api.launch("patient")
    api.executing(f"{running}--patient")
    for jump in JUMPS:
        waiting = api.launch("flaky")
        until(lambda: api.task(f"{waiting}--flaky")["attempt"] == 1)  # noqa: B023 - called at once
        clock.set(jump)
        api = now(fresh)
        for pipeline in (waiting, api.launch("flaky")):
            done = api.finished(pipeline)
            assert (done["outcome"], done["tasks"]["flaky"]["attempt"]) == ("succeeded", 2)
            check_order(api, done)
    assert api.pipeline(running)["status"] == "RUNNING"
    go.touch()
    done = api.finished(running)
    assert done["outcome"] == "succeeded"
    check_order(api, done)


def test_f12_what_waits_does_so_no_longer_after_a_restart_with_an_older_clock(
    fresh: Serving, clock: JumpingClock
) -> None:
    clock.set(DAY)
    api = fresh.start().api()
    api.push("flaky", job(FLAKY))
    waiting = api.launch("flaky")
    until(lambda: api.task(f"{waiting}--flaky")["attempt"] == 1)
    fresh.kill()
    clock.set(0)
    fresh.start()
    done = now(fresh).finished(waiting)
    assert (done["outcome"], done["tasks"]["flaky"]["attempt"]) == ("succeeded", 2)
    check_order(now(fresh), done)
