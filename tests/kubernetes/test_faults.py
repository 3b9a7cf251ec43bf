"""An API server that loses, delays, refuses and cuts, by a proxy in front of it: nothing is lost or done twice.

``ODIN_FAULTS=100`` is how many pods each test runs, ``ODIN_FAULT_S`` how many seconds a storm of faults lasts.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from apiproxy import ApiProxy, Break, Call, Expire, Fault, Hold, Lose, Say
from clusters import Cluster, Place
from e2e.serving import until
from kubernetes.ledgers import Ledger

PODS = int(os.environ.get("ODIN_FAULTS", "20"))
STORM_S = float(os.environ.get("ODIN_FAULT_S", "6"))
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


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return Ledger(tmp_path)


@pytest.fixture
def behind(cluster: Cluster, fresh: Callable[..., Place]) -> Iterator[Start]:
    """Starts a server behind a proxy."""
    with ExitStack() as stack:

        def start(**settings: str) -> tuple[Place, ApiProxy]:
            proxy = stack.enter_context(ApiProxy(cluster.kubeconfig))
            odin = fresh(**settings)
            kubeconfig = Path(odin.serving.variables["KUBECONFIG"])
            odin.serving.variables["KUBECONFIG"] = str(proxy.through(kubeconfig))
            odin.serving.start()
            return odin, proxy

        yield start


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
    until(lambda: proxy.calls["watch", "pods"])
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
