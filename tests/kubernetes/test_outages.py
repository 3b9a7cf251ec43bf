"""The control plane itself stops, forgets and comes back, and the server is killed, while pods run.

``ODIN_FAULTS=100`` is how many pods run meanwhile, ``ODIN_KILLS=20`` how often the server is killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiproxy import ApiProxy, Call, Fault, Say
from clusters import Cluster, Place
from e2e.serving import a_port, until
from kubernetes.ledgers import Ledger, reachable

PODS = int(os.environ.get("ODIN_FAULTS", "30"))
KILLS = int(os.environ.get("ODIN_KILLS", "4"))
STORM_S = float(os.environ.get("ODIN_FAULT_S", "5"))
OVER = ("DONE", "TERMINATED")
NODE = "node-lost"


def compact(cluster: Cluster) -> None:
    """Forget every version but the newest: etcd is beside the API server, one port up."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    url = f"http://127.0.0.1:{int(server.rpartition(':')[2]) + 1}/v3/kv"
    header = _post(f"{url}/range", {"key": "AA=="})["header"]
    _post(f"{url}/compaction", {"revision": header["revision"], "physical": True})


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def ready(cluster: Cluster) -> None:
    until(lambda: cluster.kubectl("get", "--raw", "/readyz", code=None) == "ok", pause_s=0.2)


def through(proxy: ApiProxy, odin: Place) -> None:
    kubeconfig = Path(odin.serving.variables["KUBECONFIG"])
    odin.serving.variables["KUBECONFIG"] = str(proxy.through(kubeconfig))


def start_node(control: Cluster) -> None:
    """On a port that is free now: the one that the program draws may be some connection's."""
    resources = ("--cpu", "4", "--memory", "8Gi", "--pods", "20", "--gpus", "0")
    control.control("node", NODE, "--port", str(a_port()), *resources)


@dataclass(frozen=True)
class Lost:
    """A node that died while two tasks ran on it."""

    odin: Place
    ledger: Ledger
    pipeline: str


@pytest.fixture(scope="module")
def lost(control: Cluster, lasting: Callable[..., Place], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    """The cluster takes 40 s to see it, in which other tests run."""
    odin, folder = lasting(), tmp_path_factory.mktemp("lost")
    ledger = reachable(folder)
    odin.serving.start()
    start_node(control)
    until(lambda: "True" in control.kubectl("get", "node", NODE, "-o", "jsonpath={.status.conditions}", code=None))
    control.kubectl("cordon", "node-1")
    try:
        tasks = [
            ledger.task("patient", seconds=60, later=0),
            ledger.task("hasty", seconds=60, later=0, lost_after=1),
        ]
        pipeline = odin.begin(tasks)
        until(lambda: len(ledger.starts()) == len(tasks))
        control.kubectl("uncordon", "node-1")
        control.control("kill-node", NODE)
        yield Lost(odin, ledger, pipeline)
    finally:
        control.kubectl("uncordon", "node-1", code=None)
        control.control("stop", NODE)
        control.kubectl("delete", "node", NODE, code=None)


@pytest.mark.disruptive
def test_f38_a_node_that_is_silent_for_a_while_loses_nothing(lost: Lost, control: Cluster) -> None:
    """Its agent hangs in the middle of the stream, and the pod ends meanwhile."""
    odin = lost.odin
    script = "i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); sleep 0.005; done"
    pipeline = odin.begin([{"name": "a", "script": script}], job="silent")
    task = f"{pipeline}--a"
    odin.api.executing(task)
    until(lambda: odin.api.get(f"/v1/resources/{task}/logs")["logs"])
    agents = kubelets(control)
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(20)
    finally:
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
    odin.api.finished(pipeline)
    assert odin.api.log(task).decode() == "".join(f"line {number}\n" for number in range(1500))


def kubelets(control: Cluster) -> list[int]:
    """The agents of this cluster's nodes."""
    mine = str(control.kubeconfig.parent)
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_bytes().decode(errors="replace") if entry.exists() else ""
        if "process_kubelet" in words and mine in words:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.disruptive
def test_f25_a_node_that_is_lost_is_waited_for_then_given_up(lost: Lost, control: Cluster) -> None:
    odin, pipeline = lost.odin, lost.pipeline
    said = odin.reason(f"{pipeline}--patient", lambda reason: "does not answer" in reason)
    assert NODE in said
    until(lambda: odin.api.task(f"{pipeline}--hasty")["attempt"] == 2)
    assert odin.api.task(f"{pipeline}--patient")["attempt"] == 1
    # What comes back has nothing to say about the attempt that was given up.
    start_node(control)
    done = odin.api.finished(pipeline)["tasks"]
    assert (done["hasty"]["status"], done["hasty"]["attempt"]) == ("executed", 2)
    assert done["patient"]["attempt"] == (1 if done["patient"]["status"] == "failed" else 2)
    assert set(lost.ledger.starts().values()) == {1}
    print({name: (task["status"], task["attempt"], task["reason"]) for name, task in done.items()})


@pytest.mark.disruptive
def test_f33_an_api_server_that_is_killed_and_restarted_costs_no_task(
    control: Cluster, fresh: Callable[..., Place], ledger: Ledger
) -> None:
    """With ten cut watches, a compaction, and 429 and 503 for a while."""
    odin = fresh()
    rng = random.Random(33)
    with ApiProxy(control.kubeconfig) as proxy:
        through(proxy, odin)
        odin.serving.start()
        pipeline = odin.begin(ledger.tasks(PODS, seconds=6))
        until(lambda: len(ledger.starts()) >= PODS / 4)
        control.control("kill-node", "kube-apiserver")
        try:
            until(lambda: "cannot be reached" in (odin.api.get("/readyz")["placeAway"] or ""))
            later = odin.api.launch("job")  # taken all the same
        finally:
            control.control("start", "kube-apiserver")
        over = time.monotonic() + STORM_S
        proxy.fault = _busy(rng, over)
        cuts = 0
        while cuts < 10 or time.monotonic() < over:
            cuts += proxy.cut(rng.choice(("rst", "fin"))) > 0
            time.sleep(0.2)
        ready(control)
        compact(control)
        proxy.cut()
        odin.api.finished(pipeline)
        odin.api.finished(later)
        ids = [f"{each}--t{number}" for each in (pipeline, later) for number in range(PODS)]
        assert ledger.starts() == {(task, "1"): 1 for task in ids}
        assert {odin.api.pipeline(each)["outcome"] for each in (pipeline, later)} == {"succeeded"}
        print(f"{2 * PODS} tasks, {cuts} cuts, {proxy.faults} answers of 429 and 503: none lost, none run twice")
        assert odin.serving.terminate() == 0
    ready(control)


def _busy(rng: random.Random, over: float) -> Callable[[Call], Fault | None]:
    said = (Say(429, "TooManyRequests", retry_after=1), Say(503, "ServiceUnavailable"))
    return lambda _: rng.choice(said) if time.monotonic() < over and rng.random() < 0.7 else None


@pytest.mark.disruptive
def test_f34_etcd_that_was_away_costs_no_task(control: Cluster, fresh: Callable[..., Place], ledger: Ledger) -> None:
    odin = fresh()
    odin.serving.start()
    tasks = ledger.tasks(10, seconds=4)
    pipeline = odin.begin(tasks)
    until(lambda: ledger.starts())
    control.control("stop", "etcd", "KILL")
    time.sleep(STORM_S)
    control.control("start", "etcd")
    ready(control)
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])


def test_f01_as_many_objects_as_attempts_however_often_the_server_is_killed(
    fresh: Callable[..., Place], ledger: Ledger
) -> None:
    odin = fresh()
    rng = random.Random(1)
    odin.serving.start()
    tasks = ledger.tasks(PODS, seconds=1.5)
    pipeline = odin.begin(tasks)
    for _ in range(KILLS):
        time.sleep(rng.random())
        odin.serving.kill()
        if rng.random() < 0.3:  # as it starts
            process = odin.serving.popen()
            time.sleep(rng.random() * 1.5)
            process.kill()
            process.wait()
        odin.serving.start()
    done = odin.api.finished(pipeline)
    attempts = sum(task["attempt"] for task in done["tasks"].values())
    objects = odin.objects("pods", pipeline)
    print(f"{KILLS} kills: {len(objects)} objects, {attempts} attempts, {len(ledger.starts())} began")
    assert len(objects) == attempts == PODS
    ledger.judge(odin, pipeline, [task["name"] for task in tasks])
