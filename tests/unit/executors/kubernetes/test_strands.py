"""What the pods of an attempt are called in its log."""

from __future__ import annotations

import pytest

from clusterobjects import NAME
from odin.cli.overwriting import last_state
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.jobset import JOBSET, TRAINJOB
from odin.executors.kubernetes.kinds.kubeflow import MPI, PYTORCH, TF
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.kinds.ray import RAY
from odin.executors.kubernetes.merging import Merged, apart, one
from odin.executors.kubernetes.strands import names, strands
from podlogs import pod

KUBEFLOW = "training.kubeflow.org"
RANK = "batch.kubernetes.io/job-completion-index"


def master(rank, role="worker"):
    return {f"{KUBEFLOW}/replica-type": role, f"{KUBEFLOW}/replica-index": str(rank)}


@pytest.mark.parametrize(
    ("kind", "name", "container", "labels", "called"),
    [
        (POD, NAME, "task", {}, "task"),
        (JOB, f"{NAME}-x2b4c", "task", {}, "task"),
        (PYTORCH, f"{NAME}-master-0", "pytorch", master(0, "master"), "master-0"),
        (PYTORCH, f"{NAME}-worker-3", "pytorch", master(3), "worker-3"),
        (TF, f"{NAME}-worker-0", "tensorflow", master(0, "Worker"), "worker-0"),
        (MPI, f"{NAME}-launcher-x2b4c", "mpi", {f"{KUBEFLOW}/replica-type": "launcher"}, "launcher"),
        (MPI, f"{NAME}-worker-1", "mpi", {}, "worker-1"),
        (GANG, f"{NAME}-2-x2b4c", "task", {RANK: "2"}, "worker-2"),
        (JOBSET, f"{NAME}-node-0-1-x2b4c", "task", {RANK: "1", "jobset.sigs.k8s.io/replicatedjob-name": "node"}, "node-1"),
        (TRAINJOB, f"{NAME}-node-0-0-x2b4c", "node", {RANK: "0", "jobset.sigs.k8s.io/replicatedjob-name": "node"}, "node-0"),
        (RAY, f"{NAME}-9x8y7-head-abcde", "ray-head", {"ray.io/node-type": "head"}, "head"),
        (RAY, f"{NAME}-9x8y7-workers-worker-abcde", "ray-worker", {"ray.io/node-type": "worker"}, "worker-abcde"),
        (RAY, f"{NAME}-x2b4c", "ray-job-submitter", {"job-name": NAME}, "submitter"),
        (PYTORCH, f"{NAME}-odd", "pytorch", {}, "odd"),
    ],
)  # fmt: skip
def test_each_kind_has_short_names_for_its_pods(kind, name, container, labels, called):
    (found,) = strands(NAME, kind, [pod(name, container, labels=labels)])
    assert (found.name, found.container, found.is_main, found.is_over) == (called, container, True, False)


def test_the_container_that_counts_stands_for_its_pod_and_others_have_names_of_their_own():
    pods = [pod(f"{NAME}-worker-0", "proxy", "pytorch", labels=master(0))]
    assert [(each.name, each.is_main) for each in strands(NAME, PYTORCH, pods)] == [
        ("worker-0/proxy", False),
        ("worker-0", True),
    ]
    assert names(NAME, PYTORCH, pods) == ["worker-0", "worker-0/proxy"]
    assert names(NAME, POD, [pod(NAME, "proxy", "task")]) == ["task", "proxy"]


def test_what_has_not_begun_writes_nothing_yet():
    waits = pod()
    waits["status"] = {"phase": "Pending"}
    assert strands(NAME, POD, [waits]) == []
    assert names(NAME, POD, [waits]) == ["task"]


def test_a_container_that_was_restarted_has_a_run_before():
    found = strands(NAME, POD, [pod(restarts=2)])
    assert [(each.run, each.is_previous, each.is_over) for each in found] == [(1, True, True), (2, False, False)]


def test_a_merged_log_can_be_taken_apart_whatever_is_in_it():
    bars = b"1\r2\r\r[a] 3\r[a] [a] \r\n"
    said = {"a": bars + b"x\n[b] y\n\n[a!] z\r", "b": b"", "c": b"[c] [c+] \n" + b"l\r" * 100_000 + b"\nend"}
    merged = Merged()
    written = b"".join(
        merged.lines(name, data[at : at + 7]) for name, data in said.items() for at in range(0, len(data), 7)
    )
    written += merged.remark("b", "nothing") + merged.rests()
    lines = written.split(b"\n")[:-1]
    assert b"".join(one(lines, "a")) == said["a"] + b"\n"
    assert b"".join(one(lines, "c")) == said["c"] + b"\n"
    assert [(name, words) for name, words, is_remark in apart(lines) if is_remark] == [("b", b"nothing")]


def test_the_last_state_of_a_bar_has_the_name_of_its_pod():
    written = Merged().lines("worker-0", b"10 %\r20 %\r100 %\r\n")
    assert last_state(written.decode().removesuffix("\n")) == "[worker-0] 100 %"


@pytest.mark.parametrize(
    ("ended", "has_begun"),
    [
        ({"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}, False),
        ({"exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z", "containerID": "x://1"}, False),
        ({"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "containerID": "x://1"}, True),
        ({"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z"}, True),
    ],
)
def test_a_container_that_never_began_writes_nothing(ended, has_begun):
    seen = pod()
    (status,) = seen["status"]["containerStatuses"]
    status.pop("containerID", None)
    status["state"] = {"terminated": ended}
    assert bool(strands(NAME, POD, [seen])) is has_begun
