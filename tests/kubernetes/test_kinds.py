"""Kinds on a real API server. Their operators cannot run here: a test plays them, the pods are real.

The definitions of the kinds belong to the whole cluster, so these tests run alone, those of a bare cluster first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clusters import CONTROL, Cluster, Place, leave, place, shell
from e2e.serving import until
from operators import KINDS, Operator, condition

pytestmark = pytest.mark.disruptive
SCRIPT = "echo this is $ODIN_TASK_NAME; echo rank $RANK of $WORLD_SIZE"


@pytest.fixture(scope="module")
def bare(control: Cluster) -> Iterator[Place]:
    """A server that began while the cluster served no kind but its own."""
    if "kubeflow" in control.kubectl("api-versions", code=None):
        pytest.skip("not run here: a cluster without operators, this one has some")
    one = place(control)
    try:
        one.serving.start()
        one.run([{"name": "a", "script": "true"}], job="first")  # from now on it knows what is served
        yield one
    finally:
        leave(one)


@dataclass(frozen=True)
class Definitions:
    """Of what a job can be, and of a queue's words; ``are_ours`` if the cluster had none before."""

    control: Cluster
    are_ours: bool

    def bring(self, *plurals: str) -> None:
        """The largest first, two at once."""
        folder = Path(os.environ[CONTROL]).parent / "crds"
        named = {path: path.name.partition("_")[2].split(".")[0] for path in folder.glob("*.yaml")}
        found = [path for path, plural in named.items() if plural in plurals and "v2beta1" not in path.name]
        with ThreadPoolExecutor(2) as pool:
            largest = sorted(map(str, found), key=os.path.getsize, reverse=True)
            list(pool.map(lambda path: self.control.control("crds", path), largest))
        until(self._are_served, pause_s=0.2)

    def _are_served(self) -> bool:
        """kubectl's own wait gives up where a definition has no conditions yet."""
        made = self.control.json("get", "crds")["items"]
        told = [each.get("status", {}).get("conditions") or () for each in made]
        return all(any((one["type"], one["status"]) == ("Established", "True") for one in each) for each in told)


@pytest.fixture(scope="module")
def definitions(control: Cluster) -> Iterator[Definitions]:
    found = Definitions(control, not control.kubectl("get", "crds", "-o", "name"))
    if found.are_ours:
        plurals = {kind.resource.partition(".")[0] for kind in KINDS.values()}
        found.bring(*plurals, "trainingruntimes", "workloads")
    yield found
    if found.are_ours:
        control.kubectl("delete", "crds", "--all", "--wait=false")


@pytest.fixture(scope="module")
def kinds(control: Cluster, definitions: Definitions) -> Iterator[Place]:
    """A server on a cluster that serves every kind, and has no operator for any."""
    one = place(control)
    try:
        one.serving.start()
        yield one
    finally:
        leave(one)


@pytest.fixture(scope="module")
def good(kinds: Place) -> dict[str, Operator]:
    """A task of every kind, and its pods."""
    return begun(kinds, "good", SCRIPT)


@pytest.fixture(scope="module")
def bad(kinds: Place) -> dict[str, Operator]:
    return begun(kinds, "bad", "echo this goes wrong; exit 3")


def begun(one: Place, job: str, script: str) -> dict[str, Operator]:
    """All at once, since most of it is waiting."""
    found = {kind: begin(one, kind, f"{job}-{kind.lower()}", script, num_workers=2) for kind in KINDS}
    for operator in found.values():
        operator.begin()
    return found


def first_pod(operator: Operator) -> str:
    """The phase of the pod that counts."""
    made = operator.seen()
    suffix = next(operator.kind.pods(made))[0]
    return str(operator.place.json("get", "pod", f"{operator.name}-{suffix}")["status"]["phase"])


def begin(one: Place, kind: str, job: str, script: str = SCRIPT, **fields: Any) -> Operator:
    pipeline = one.begin([{"name": "a", "script": script, "resource_type": kind, **fields}], job=job)
    return Operator(one, KINDS[kind], f"{pipeline}--a")


def refusal(one: Place, **fields: Any) -> str:
    one.api.push("refused", {"tasks": [shell({"name": "a", "script": "true", **fields})]})
    answer = one.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "refused"}})
    assert answer.status == 422, answer.body
    return str(answer.json["detail"])


# ---- a bare cluster


@pytest.mark.parametrize(
    ("kind", "missing", "remedy"),
    [
        ("PyTorchJob", "pytorchjobs of kubeflow.org/v1", "install Kubeflow's training operator"),
        ("TFJob", "tfjobs of kubeflow.org/v1", "install Kubeflow's training operator"),
        ("ElasticJob", "pytorchjobs of kubeflow.org/v1", "install Kubeflow's training operator"),
        ("MPIJob", "mpijobs of kubeflow.org/v2beta1", "install Kubeflow's MPI operator"),
        ("TrainJob", "trainjobs of trainer.kubeflow.org/v1alpha1", "install Kubeflow Trainer 2"),
        ("JobSet", "jobsets of jobset.x-k8s.io/v1alpha2", "install JobSet"),
        ("RayJob", "rayjobs of ray.io/v1", "install KubeRay"),
    ],
)
def test_f37_a_kind_that_is_not_served_is_refused_at_launch(bare: Place, kind: str, missing: str, remedy: str) -> None:
    said = refusal(bare, resource_type=kind, num_workers=2)
    assert f"this cluster does not serve resource_type {kind} ({missing}" in said
    assert remedy in said


def test_f37_what_a_kind_cannot_do_is_refused_at_launch(bare: Place) -> None:
    said = refusal(bare, resource_type="Job", num_workers=2)
    assert 'task "a"' in said
    assert "num_workers is 2; resource_type gang runs several" in said


def test_f37_a_pipeline_of_kinds_that_are_there_still_runs(bare: Place) -> None:
    done = bare.run([{"name": "a", "script": "echo as a Job", "resource_type": "Job"}], job="plain")
    task = done["tasks"]["a"]
    assert (done["outcome"], task["exitCode"]) == ("succeeded", 0)
    assert bare.json("get", "job", task["id"])["metadata"]["labels"]["odin/attempt"] == "1"
    assert bare.api.log(task["id"]) == b"as a Job\n"


def test_f37_a_job_whose_pod_fails_has_its_exit_code(bare: Place) -> None:
    done = bare.run([{"name": "a", "script": "echo no; exit 3", "resource_type": "Job"}], job="failing")
    assert (done["tasks"]["a"]["status"], done["tasks"]["a"]["exitCode"]) == ("failed", 3)


# ---- every kind, its operator played


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_runs_and_succeeds_by_what_its_operator_says(kinds: Place, good: dict[str, Operator], kind: str) -> None:
    operator = good[kind]
    until(lambda: first_pod(operator) == "Succeeded", pause_s=0.2)
    assert kinds.api.pipeline(operator.name.split("--")[0])["status"] == "RUNNING", "its operator has not said the end"
    operator.succeed()
    done = kinds.api.finished(operator.name.split("--")[0])
    assert (done["outcome"], done["tasks"]["a"]["exitCode"]) == ("succeeded", 0)
    assert b"this is a\n" in kinds.api.log(operator.name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_fails_has_the_exit_code_of_the_pod_that_did(
    kinds: Place, bad: dict[str, Operator], kind: str
) -> None:
    operator = bad[kind]
    until(lambda: first_pod(operator) == "Failed", pause_s=0.2)
    operator.fail()
    task = kinds.api.finished(operator.name.split("--")[0])["tasks"]["a"]
    assert (task["status"], task["exitCode"]) == ("failed", 3)
    assert b"this goes wrong" in kinds.api.log(operator.name)


@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind != "ElasticJob")])
def test_what_its_queue_suspends_is_queued_and_runs_when_it_is_let_in(kinds: Place, kind: str) -> None:
    operator = begin(kinds, kind, f"held-{kind.lower()}", num_workers=2, queue="team-a")
    assert operator.seen()["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    operator.hold()
    said = kinds.reason(operator.name, lambda said: said.startswith("suspended"))
    assert kinds.api.task(operator.name)["status"] == "queued", said
    operator.admit()
    operator.begin()
    operator.succeed()
    done = kinds.api.finished(operator.name.split("--")[0])
    assert (done["outcome"], done["tasks"]["a"]["attempt"]) == ("succeeded", 1)


def test_why_a_queue_holds_something_back_is_told_in_its_own_words(kinds: Place) -> None:
    operator = begin(kinds, "JobSet", "waiting", num_workers=2, queue="team-a")
    operator.hold()
    kinds.reason(operator.name, lambda said: said.startswith("suspended"))
    short = "couldn't assign flavors to pod set main: insufficient unused quota for cpu"
    operator.queue_says(condition("QuotaReserved", "False", reason="Pending", message=short))
    said = kinds.reason(operator.name, lambda said: "quota" in said)
    assert said == f"it waits in queue team-a: {short}"
    assert kinds.api.task(operator.name)["status"] == "queued"
    operator.queue_says(condition("QuotaReserved"), condition("Admitted"))
    operator.admit()
    operator.begin()
    operator.succeed()
    assert kinds.api.finished(operator.name.split("--")[0])["outcome"] == "succeeded"


def test_what_is_suspended_while_it_runs_is_queued_again_and_spends_no_retry(kinds: Place) -> None:
    operator = begin(kinds, "PyTorchJob", "preempted", "sleep 600", num_workers=1, queue="team-a", grace_period=1)
    operator.begin()
    kinds.api.executing(operator.name)
    operator.hold()
    until(lambda: kinds.api.task(operator.name)["status"] == "queued")
    operator.admit()
    until(lambda: not kinds.json("get", "pods", "-l", f"odin/task={operator.name}")["items"], pause_s=0.2)
    operator.begin()
    operator.succeed()
    done = kinds.api.finished(operator.name.split("--")[0])
    assert (done["outcome"], done["tasks"]["a"]["attempt"]) == ("succeeded", 1)


def test_a_cancelled_kind_leaves_no_pod_that_runs(kinds: Place) -> None:
    operator = begin(kinds, "JobSet", "stopped", "sleep 600", num_workers=2, grace_period=1)
    operator.begin()
    kinds.api.executing(operator.name)
    pipeline = operator.name.split("--")[0]
    kinds.command("odin-cancel", pipeline)
    done = kinds.api.finished(pipeline)
    assert (done["outcome"], done["tasks"]["a"]["status"]) == ("cancelled", "terminated")
    phases = {pod["status"]["phase"] for pod in kinds.objects("pods", pipeline)}
    assert phases <= {"Succeeded", "Failed"}


@pytest.mark.parametrize(
    ("cascade", "blocks"), [("background", True), ("foreground", False)], ids=["behind its back", "not held up"]
)
def test_f21_a_kind_that_somebody_deletes_leaves_no_pod_that_runs(kinds: Place, cascade: str, blocks: bool) -> None:
    """Its finalizer keeps it, so the garbage collector leaves its pods, which no operator removes any more."""
    began = begin(kinds, "JobSet", f"deleted-{cascade}", "sleep 600", num_workers=2, grace_period=1)
    operator = replace(began, blocks=blocks)
    operator.begin()
    kinds.api.executing(operator.name)
    pipeline = operator.name.split("--")[0]
    kinds.kubectl("delete", operator.kind.resource, operator.name, f"--cascade={cascade}", "--wait=false")
    done = kinds.api.finished(pipeline)
    assert done["outcome"] == "failed"
    assert "somebody deleted it" in done["tasks"]["a"]["reason"]
    phases = {pod["status"]["phase"] for pod in kinds.objects("pods", pipeline)}
    assert phases <= {"Succeeded", "Failed"}


@pytest.mark.parametrize("kind", ["TrainJob", "RayJob", "MPIJob"])
def test_a_cleanup_removes_every_object_of_a_kind(kinds: Place, kind: str) -> None:
    operator = begin(kinds, kind, f"gone-{kind.lower()}", num_workers=2)
    operator.begin()
    operator.succeed()
    pipeline = operator.name.split("--")[0]
    kinds.api.finished(pipeline)
    told = kinds.api.ask("DELETE", f"/v1/pipelines/{pipeline}").json["cleanups"]
    assert {each["taskId"]: each["cleanedFromK8s"] for each in told}[operator.name] == "Yes"
    left = kinds.objects(f"pods,services,trainingruntimes.trainer.kubeflow.org,{operator.kind.resource}", pipeline)
    assert left == []


def test_a_kind_is_translated_to_the_nearest_where_the_job_says_so(kinds: Place) -> None:
    operator = begin(kinds, "ElasticJob", "elastic", num_workers=3)
    made = operator.seen()
    assert made["kind"] == "PyTorchJob"
    assert made["spec"]["elasticPolicy"]["maxReplicas"] == 3
    operator.begin()
    operator.succeed()
    assert kinds.api.finished(operator.name.split("--")[0])["outcome"] == "succeeded"


# ---- logs of several pods


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("PyTorchJob", ["master-0", "worker-0", "worker-1"]),
        ("MPIJob", ["launcher", "worker-0", "worker-1"]),
        ("JobSet", ["node-0", "node-1"]),
        ("RayJob", ["submitter"]),
    ],
)
def test_the_log_has_each_pods_lines_once_behind_its_name(kinds: Place, kind: str, names: list[str]) -> None:
    script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; sleep 1; printf 'the end'"
    operator = begin(kinds, kind, f"log-{kind.lower()}", script, num_workers=2)
    pods = operator.begin()
    if kind == "MPIJob":  # its workers run what their image brings
        pods, names = pods[:1], names[:1]
    for pod in pods:
        until(lambda: kinds.json("get", "pod", pod)["status"]["phase"] == "Succeeded", pause_s=0.2)  # noqa: B023 - at once
    operator.succeed()
    kinds.api.finished(operator.name.split("--")[0])
    lines = kinds.api.log(operator.name).decode().splitlines()
    own = {name: [line.partition("] ")[2] for line in lines if line.startswith(f"[{name}] ")] for name in names}
    assert own == {name: [*(f"line {number}" for number in range(200)), "the end"] for name in names}
    alone = {name: kinds.command("odin-logs", operator.name, "--container", name, "--raw").out for name in names}
    kinds.kubectl("delete", operator.kind.resource, operator.name)
    kinds.kubectl("delete", "pods", "-l", f"odin/task={operator.name}")
    assert kinds.api.log(operator.name).decode().splitlines() == lines
    assert {name: kinds.command("odin-logs", operator.name, "--container", name).out for name in names} == {
        name: text if text.endswith("\n") else f"{text}\n" for name, text in alone.items()
    }
    said = kinds.command("odin-logs", operator.name, "--container", "worker-9", code=3).err
    assert f"it has {names[0]}" in said


def test_lines_of_several_pods_are_followed_as_they_come_and_those_removed_at_the_end_are_there(kinds: Place) -> None:
    script = "echo begun; trap 'echo stopped; exit 0' TERM; while :; do sleep 0.1; done"
    operator = begin(kinds, "PyTorchJob", "followed", script, num_workers=1)
    master, worker = operator.begin()
    until(lambda: b"[worker-0] begun\n" in read_now(kinds, operator.name))
    until(lambda: b"[master-0] begun\n" in read_now(kinds, operator.name))
    kinds.kubectl("delete", "pod", worker)
    operator.succeed()
    kinds.kubectl("delete", "pod", master)
    kinds.api.finished(operator.name.split("--")[0])
    log = kinds.api.log(operator.name)
    assert log.count(b"] begun\n") == 2
    assert b"[worker-0] stopped\n" in log


def read_now(one: Place, task: str) -> bytes:
    return str(one.api.get(f"/v1/resources/{task}/logs")["logs"]).encode()


# ---- a cluster that serves some; last, since it takes a kind away


@pytest.fixture(scope="module")
def partly(kinds: Place, definitions: Definitions) -> Iterator[Place]:
    """A server on a cluster without the training operator."""
    kinds.cluster.kubectl("delete", "crd", "pytorchjobs.kubeflow.org", "tfjobs.kubeflow.org")
    one = place(kinds.cluster)
    try:
        one.serving.start()
        one.run([{"name": "a", "script": "true"}], job="first")
        yield one
    finally:
        leave(one)
        if not definitions.are_ours:
            definitions.bring("pytorchjobs", "tfjobs")


def test_f37_a_kind_with_a_nearest_one_is_refused_with_how_to_get_that(partly: Place) -> None:
    said = refusal(partly, resource_type="PyTorchJob", num_workers=1)
    assert "write translate: true to run it as TrainJob" in said


def test_a_translated_kind_runs_as_the_nearest_that_is_served_and_says_so(partly: Place) -> None:
    fields = {"resource_type": "PyTorchJob", "translate": True, "num_workers": 1}
    partly.api.push("translated", {"tasks": [shell({"name": "a", "script": "echo $PET_NNODES", **fields})]})
    answer = partly.api.post("/v1/pipelines", {"pipeline": {"job": "translated"}})
    assert answer["warnings"] == ["this cluster does not serve PyTorchJob; it runs as TrainJob"]
    pipeline = answer["pipeline"]["id"]
    operator = Operator(partly, KINDS["TrainJob"], f"{pipeline}--a")
    assert operator.seen()["spec"]["trainer"]["numNodes"] == 2, "its master is one of them"
    operator.begin()
    operator.succeed()
    assert partly.api.finished(pipeline)["outcome"] == "succeeded"
