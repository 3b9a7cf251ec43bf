"""An API server that loses, delays, refuses and cuts, by a proxy in front of it: nothing is lost or done twice.

``ODIN_FAULTS=100`` is how many pods each test runs, ``ODIN_FAULT_S`` how many seconds a storm of faults lasts,
``ODIN_SILENCES`` how often watches fall silent.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from apiproxy import ApiProxy, Break, Call, Expire, Fault, Hold, Lose, Say
from clusters import Cluster, Place, shell
from e2e.serving import until
from kubernetes.ledgers import Ledger

PODS = int(os.environ.get("ODIN_FAULTS", "20"))
STORM_S = float(os.environ.get("ODIN_FAULT_S", "6"))
SILENCES = int(os.environ.get("ODIN_SILENCES", "1"))
OUTAGES = (
    Say(500, message="etcdserver: leader changed"),
    Say(502),
    Say(503, "ServiceUnavailable"),
    Say(504, "Timeout", "etcdserver: request timed out"),
    Say(429, "TooManyRequests"),
    Break(),
    Lose(),
)
Start = Callable[..., tuple[Place, ApiProxy]]


@pytest.fixture(scope="module")
def shared(cluster: Cluster, lasting: Callable[..., Place]) -> Iterator[Start]:
    """Gives servers behind proxies: the same one to all that ask for the same settings."""
    with ExitStack() as stack:
        there: dict[tuple[tuple[str, str], ...], tuple[Place, ApiProxy]] = {}

        def start(**settings: str) -> tuple[Place, ApiProxy]:
            key = tuple(settings.items())
            if key not in there:
                proxy = stack.enter_context(ApiProxy(cluster.kubeconfig))
                there[key] = lasting(**settings), proxy
                variables = there[key][0].serving.variables
                variables["KUBECONFIG"] = str(proxy.through(Path(variables["KUBECONFIG"])))
            return there[key]

        yield start


@pytest.fixture
def behind(shared: Start) -> Start:
    """Gives a running server, and the proxy before it as if it were new."""

    def start(**settings: str) -> tuple[Place, ApiProxy]:
        odin, proxy = shared(**settings)
        proxy.reset()
        if not odin.serving.alive:
            odin.serving.start()
        until(lambda: odin.api.get("/readyz")["placeAway"] is None)
        proxy.reset()
        return odin, proxy

    return start


def all_run_once(odin: Place, ledger: Ledger, tasks: list[dict[str, Any]]) -> None:
    ledger.judge(odin, odin.begin(tasks), [task["name"] for task in tasks])


def test_f05_a_create_whose_answer_is_lost_makes_one_pod_of_one_name(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    rng = random.Random(5)
    lost: set[str] = set()

    def lose_the_first(call: Call) -> Fault | None:
        if call.verb != "create" or call.resource != "pods" or len(lost) >= PODS:
            return None
        lost.add(str(len(lost)))
        return Lose(rng.choice((0, 0.1, 1, 4)))

    proxy.fault = lose_the_first
    all_run_once(odin, ledger, ledger.tasks(PODS))
    assert len(lost) == PODS


def alone(odin: Place) -> None:
    """Start the server and do not wait until it is ready."""
    odin.serving.process = odin.serving.popen()


def answers(odin: Place) -> bool:
    with suppress(OSError, HTTPException):
        return odin.api.ask("GET", "/healthz").status == 200
    return False


def test_f33_a_server_that_has_not_reached_the_cluster_is_not_ready_and_takes_no_launch(behind: Start) -> None:
    odin, proxy = behind()
    odin.api.push("job", {"tasks": [shell({"name": "a", "script": "true", "resource_type": "RayJob"})]})
    odin.serving.terminate()
    proxy.fault = lambda _: Break()
    alone(odin)
    until(lambda: answers(odin))
    said = until(
        lambda: (told := odin.api.ask("GET", "/readyz").json["detail"]) and "cannot be reached" in told and told
    )
    assert "no job can be launched yet: the cluster has not told yet what it serves" in said
    launch = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "job"}})
    assert (launch.status, launch.headers["retry-after"]) == (503, "5")
    proxy.fault = lambda _: None
    until(lambda: odin.api.ask("GET", "/readyz").status == 200)
    launch = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "job"}})
    assert (launch.status, "resource_type RayJob" in launch.json["detail"]) == (422, True), "it is judged at once"


def test_p10_a_cleanup_that_a_crash_cut_short_is_finished_once_the_cluster_is_back(behind: Start) -> None:
    odin, proxy = behind()
    pipeline = odin.run([{"name": "a", "script": "true"}])["id"]
    odin.serving.terminate()
    odin.serving.start(fault="cleanup:marked:kill")
    with suppress(OSError, HTTPException):
        odin.api.ask("DELETE", f"/v1/pipelines/{pipeline}?db=true&fs=true")
    odin.serving.gone()
    proxy.fault = lambda _: Break()
    alone(odin)
    until(lambda: answers(odin))
    until(lambda: "the cleanup of" in odin.serving.said())
    assert odin.api.ask("GET", f"/v1/pipelines/{pipeline}").status == 200
    proxy.fault = lambda _: None
    until(lambda: odin.api.ask("GET", f"/v1/pipelines/{pipeline}").status == 404)
    assert odin.objects("pods,configmaps", pipeline) == []
    assert not (odin.serving.shared / "runs" / pipeline).exists()


def test_f37_a_group_of_kinds_that_does_not_answer_keeps_nobody_from_the_others(behind: Start) -> None:
    odin, proxy = behind()
    jobs = {"tasks": [shell({"name": "a", "script": "true", "resource_type": "Job"})]}
    odin.api.push("jobs", jobs)
    odin.serving.terminate()
    proxy.fault = lambda call: Say(503, "ServiceUnavailable", "no endpoints") if call.path == "/apis/batch/v1" else None
    odin.serving.start()
    assert odin.run([{"name": "a", "script": "true"}], job="pods")["outcome"] == "succeeded"
    launch = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "jobs"}})
    assert (launch.status, "no endpoints" in launch.json["detail"]) == (503, True)
    proxy.fault = lambda _: None
    pipeline = until(lambda: odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "jobs"}}).json.get("pipeline"))
    assert odin.api.finished(pipeline["id"])["outcome"] == "succeeded"


def test_f35_what_cannot_be_seen_after_a_restart_is_not_taken_for_lost(behind: Start) -> None:
    """The rights to a kind are taken away, then its group does not answer; its pod runs all the time."""
    odin, proxy = behind()
    task = {"name": "a", "script": "sleep 600", "resource_type": "Job", "grace_period": 1}
    pipeline = odin.begin([task, {"name": "b", "script": "echo b"}])
    odin.api.executing(f"{pipeline}--a")
    words = 'jobs.batch is forbidden: User "odin" cannot list resource "jobs" in API group "batch"'
    for fault, said in (
        (Say(403, "Forbidden", words), "cannot list"),
        (Say(503, message="no endpoints"), "no endpoints"),
    ):
        odin.serving.kill()
        proxy.fault = lambda call, fault=fault: fault if call.path.startswith("/apis/batch/") else None  # type: ignore[misc]
        odin.serving.start()
        until(lambda: odin.api.task(f"{pipeline}--b")["status"] == "executed")
        assert said in odin.reason(f"{pipeline}--a", lambda reason: said in reason)  # noqa: B023 - at once
        assert odin.api.task(f"{pipeline}--a")["status"] == "executing"
        proxy.fault = lambda _: None
        until(lambda: odin.api.task(f"{pipeline}--a")["reason"] is None)
    odin.command("odin-cancel", pipeline)
    assert odin.api.finished(pipeline)["tasks"]["a"]["status"] == "terminated"
    assert odin.api.task(f"{pipeline}--a")["attempt"] == 1


def test_f06_an_object_of_somebody_else_with_the_name_fails_the_task_and_is_left_alone(behind: Start) -> None:
    odin, proxy = behind()
    proxy.fault = lambda call: Say(503) if call.verb == "create" and call.resource == "pods" else None
    pipeline = odin.begin([{"name": "a", "script": "true"}])
    until(lambda: proxy.faults)
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{pipeline}--a"}}
    foreign["spec"] = {"containers": [{"name": "other", "image": "other/one:1", "command": ["sleep", "60"]}]}
    odin.kubectl("create", "-f", "-", given=json.dumps(foreign))
    proxy.fault = lambda _: None
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert task["status"] == "failed"
    assert "is not Odin's" in task["reason"]
    assert "remove or rename it" in task["reason"]
    pod = odin.json("get", "pod", f"{pipeline}--a")
    assert (pod["spec"]["containers"][0]["image"], pod["metadata"].get("deletionTimestamp")) == ("other/one:1", None)
    odin.kubectl("delete", "pod", f"{pipeline}--a", "--grace-period=0", "--force")


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_f27_outages_of_any_kind_change_no_state(behind: Start, ledger: Ledger, share: float) -> None:
    odin, proxy = behind()
    rng = random.Random(f"{share}")
    tasks = ledger.tasks(PODS, seconds=0.5)
    over = time.monotonic() + STORM_S

    def storm(call: Call) -> Fault | None:
        is_hit = time.monotonic() < over and rng.random() < share
        return rng.choice(OUTAGES) if is_hit else None

    proxy.fault = storm
    all_run_once(odin, ledger, tasks)


def test_f28_an_api_server_that_wants_to_be_left_alone_is(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    told: list[float] = []

    def busy(call: Call) -> Fault | None:
        if call.verb == "create" and call.resource == "pods" and len(told) < 3:
            if not told or call.at > told[-1] + 2:
                told.append(call.at)
            return Say(429, "TooManyRequests", retry_after=2)
        return None

    proxy.fault = busy
    all_run_once(odin, ledger, ledger.tasks(10))
    # What was sent before the answer was read cannot be called back.
    early = [call for call, _ in proxy.log if any(at + 0.2 < call.at < at + 2 for at in told)]
    assert early == []


def test_f28_pipelines_take_turns(behind: Start) -> None:
    odin, proxy = behind(KUBERNETES_CALLS="20")
    big = odin.begin([{"name": f"t{n}", "script": "true"} for n in range(120)], job="big")
    until(lambda: proxy.calls["create", "pods"])
    small = odin.run([{"name": "a", "script": "true"}], job="small")
    left = [task for task in odin.api.pipeline(big)["tasks"] if task["status"] == "queued"]
    assert small["outcome"] == "succeeded"
    assert left, "the small one waited until the big one was through"
    odin.command("odin-cancel", big)
    odin.api.finished(big)


def test_f29_a_hanging_api_server_is_asked_no_more_than_so_often_at_once(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    rng = random.Random(29)
    over = time.monotonic() + STORM_S
    proxy.fault = lambda call: Hold(rng.choice((2, 5))) if time.monotonic() < over and call.verb != "watch" else None
    pipeline = odin.begin(ledger.tasks(2 * PODS))
    slow = []
    while time.monotonic() < over:
        began = time.monotonic()
        assert odin.api.ask("GET", "/healthz").status == 200
        slow.append(time.monotonic() - began)
    ledger.judge(odin, pipeline, [f"t{n}" for n in range(2 * PODS)])
    # A call that was given up is still held by the proxy for a while.
    assert proxy.most_at_once <= 32 * 3
    print(f"slowest answer while calls hung: {max(slow):.3f} s")


def test_f30_versions_that_are_too_old_are_listed_anew(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    rng = random.Random(30)
    over = time.monotonic() + STORM_S
    forms = Counter[str]()

    def forge(call: Call) -> Fault | None:
        if time.monotonic() > over or rng.random() < 0.3:
            return None
        if call.verb == "watch":
            forms["start" if (start := rng.random() < 0.5) else "event"] += 1
            return Say(410, "Expired") if start else Expire()
        if call.verb == "list" and call.is_page:
            forms["page"] += 1
            return Say(410, "Expired")
        return None

    proxy.fault = forge
    tasks = ledger.tasks(PODS, seconds=0.3)
    pipeline = odin.begin(tasks)
    while time.monotonic() < over:
        proxy.cut(rng.choice(("rst", "fin")))
        time.sleep(0.2)
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])
    assert forms["start"]
    assert forms["event"]
    print(dict(forms))


def test_f31_a_watch_that_is_cut_stands_again_at_once(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    rng = random.Random(31)
    tasks = ledger.tasks(PODS, seconds=1)
    pipeline = odin.begin(tasks)
    cuts = 0
    while odin.api.pipeline(pipeline)["status"] not in ("DONE", "TERMINATED") or cuts < 10:
        cuts += proxy.cut(rng.choice(("rst", "fin"))) > 0
        time.sleep(0.1)
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])
    watches = proxy.calls["watch", "pods"]
    assert watches < 40 * cuts, f"{watches} watches for {cuts} cuts"


@pytest.mark.parametrize("again", range(SILENCES))
def test_f31_what_happened_while_a_watch_was_silent_is_seen_once_it_is_taken_for_dead(
    behind: Start, ledger: Ledger, again: int
) -> None:
    """After 70 s without a word, not even a bookmark. How many are silent at once is up to what Odin watches."""
    odin, proxy = behind()
    tasks = ledger.tasks(3, seconds=5)
    pipeline = odin.begin(tasks)
    for task in tasks:
        odin.api.executing(f"{pipeline}--{task['name']}")
    watches = proxy.calls["watch", "pods"]
    silent = proxy.cut("swallow")
    assert silent
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])
    assert proxy.calls["watch", "pods"] > watches
    proxy.ever["silent"] += silent


def test_f35_credentials_that_expired_cost_nothing_once_they_are_renewed(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    over = time.monotonic() + STORM_S
    proxy.fault = lambda _: Say(401, "Unauthorized", "Unauthorized") if time.monotonic() < over else None
    tasks = ledger.tasks(PODS)
    pipeline = odin.begin(tasks)
    proxy.cut()
    while time.monotonic() < over:
        time.sleep(0.1)
    calls = sum(proxy.calls.values())
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])
    assert calls < 60 * STORM_S, "a hot loop"
    assert "Unauthorized" in odin.serving.said()


def test_f35_rights_that_are_taken_away_are_named_and_waited_for(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    words = 'pods is forbidden: User "odin" cannot create resource "pods" in API group "" in the namespace "n"'
    proxy.fault = lambda call: Say(403, "Forbidden", words) if call.verb == "create" else None
    pipeline = odin.begin(ledger.tasks(3))
    said = odin.reason(f"{pipeline}--t0", lambda reason: "cannot create" in reason)
    assert 'cannot create resource "pods"' in said
    assert odin.api.task(f"{pipeline}--t0")["status"] == "queued"
    odin.serving.kill()
    odin.serving.start()  # what was never made is not lost
    odin.reason(f"{pipeline}--t0", lambda reason: "cannot create" in reason)
    proxy.fault = lambda _: None
    ledger.judge(odin, pipeline, ["t0", "t1", "t2"])


def test_a_stop_of_what_was_never_made_is_carried_out_though_nothing_is_taken(behind: Start, ledger: Ledger) -> None:
    odin, proxy = behind()
    proxy.fault = lambda call: Lose() if call.verb == "create" and call.resource == "pods" else None
    pipeline = odin.begin(ledger.tasks(3, seconds=30))
    until(lambda: proxy.faults > 2)
    odin.command("odin-cancel", pipeline)
    proxy.fault = lambda _: None
    done = odin.api.finished(pipeline)
    assert {task["status"] for task in done["tasks"].values()} == {"terminated"}
    assert [word for word, _, _ in ledger.lines() if word == "end"] == []


def test_a_server_stops_within_its_grace_though_the_cluster_cannot_be_reached(behind: Start) -> None:
    odin, proxy = behind()
    odin.begin([{"name": "a", "script": "sleep 1"}])
    proxy.fault = lambda _: Hold(60)
    proxy.cut("swallow")
    odin.begin([{"name": "a", "script": "sleep 1"}], job="other")
    assert odin.serving.terminate() == 0
    assert "Traceback" not in odin.serving.said()
    proxy.fault = lambda _: None
    odin.serving.start()
