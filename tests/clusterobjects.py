"""Builds objects as API servers, kubelets and operators write them, for tests of what is read from them."""

from __future__ import annotations

from typing import Any

from odin.executors.kubernetes.kind import Kind, Object, Order
from odin.executors.protocol import Origin, TaskLaunch
from odin.model.ids import AttemptId, JobPath, PipelineId, Sha
from odin.model.job import TaskSpec

NAME = "sst2-1a2b3c4d--train"
MADE = "2026-08-01T10:00:00Z"
START = "2026-08-01T10:00:05Z"
END = "2026-08-01T10:01:05Z"
MADE_AT, START_AT, END_AT = 1785578400.0, 1785578405.0, 1785578465.0
LABELS = {"odin/task": NAME, "odin/attempt": "1", "odin/store": "s"}


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", at: str = END) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def v1(kind: str, status: str = "True", reason: str = "", message: str = "", at: str = END) -> Object:
    """A condition of the kubeflow.org/v1 family, which has one field more."""
    return condition(kind, status, reason, message, at) | {"lastUpdateTime": at}


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(at: str = START) -> Object:
    return {"running": {"startedAt": at}}


def terminated(code: int, reason: str = "", at: str = END, **fields: Any) -> Object:
    told = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "startedAt": START}
    return {"terminated": {**told, "finishedAt": at, "containerID": "containerd://1", **fields}}


def container(name: str, state: Object, **fields: Any) -> Object:
    told = {"name": name, "state": state, "lastState": {}, "ready": "running" in state, "restartCount": 0}
    return told | {"image": "example/trainer:1", "imageID": "", **fields}


def pod(phase: str, state: Object | None = None, *, name: str = NAME, main: str = "task", **fields: Any) -> Object:
    """A scheduled pod; ``spec``, ``metadata`` and ``status`` add to what is there, ``others`` are more statuses."""
    statuses = [container(main, state)] if state is not None else []
    statuses += fields.pop("others", [])
    spec = {
        "containers": [{"name": main, "image": "example/trainer:1", "command": ["python"]}],
        "restartPolicy": "Never",
        "nodeName": "n1",
        **fields.pop("spec", {}),
    }
    ready = condition("Ready", str(phase == "Running"), "" if phase == "Running" else "ContainersNotReady")
    status = {"phase": phase, "startTime": MADE, "containerStatuses": statuses, "conditions": [ready]}
    status |= fields.pop("status", {})
    labels = {**LABELS, **fields.pop("labels", {})}
    metadata = {"name": name, "labels": labels, "creationTimestamp": MADE, **fields.pop("metadata", {})}
    assert not fields, fields
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def seen(kind: str, spec: Object | None = None, **status: Any) -> Object:
    """An object of any kind with this status."""
    metadata = {"name": NAME, "labels": dict(LABELS), "creationTimestamp": MADE}
    return {"kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def event(reason: str, message: str, at: str = START, **fields: Any) -> Object:
    return {"reason": reason, "message": message, "type": "Warning", "lastTimestamp": at, **fields}


def order(kind: Kind, api: int = 0, **fields: Any) -> Order:
    """What a kind builds from: a task of this kind, or as ``resource_type`` says."""
    workers = 1 if kind.name in ("Pod", "Job") else 2
    asked = {"resource_type": kind.name, "num_workers": workers, **fields}
    spec = TaskSpec("train", ("python", "-m"), args=("trainer", "$$HOME", "a b"), image="example/trainer:1", **asked)
    origin = Origin(PipelineId("sst2-1a2b3c4d"), "train", 1, JobPath("nlp/sst2"), Sha("a" * 40), "ada")
    launch = TaskLaunch(AttemptId(NAME), 1, spec.command + spec.args, {}, "/odin/root", (), None, 30.0, spec, origin)
    metadata = {
        "name": NAME,
        "labels": dict(LABELS),
        "annotations": {"odin/fence": "1"},
        "finalizers": ["odin/attempt"],
    }
    return Order(launch, metadata, _template(spec), kind.apis[api])


def _template(spec: TaskSpec) -> Object:
    limits = {"memory": "4Gi"} | ({"nvidia.com/gpu": str(spec.num_gpus)} if spec.num_gpus else {})
    task = {
        "name": "task",
        "image": spec.image,
        "command": list(spec.command),
        "args": list(spec.args),
        "workingDir": "/odin/root",
        "env": [{"name": "ODIN_TASK_ID", "value": NAME}],
        "resources": {"requests": {"cpu": "2"}, "limits": limits},
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
        "terminationMessagePath": "/odin/outputs.json",
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "containers": [task],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-rw-many"}}],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    if priority := spec.cluster.get("priority_class"):
        pod["priorityClassName"] = priority
    return {"metadata": {"labels": {**LABELS, "team": "nlp"}, "annotations": {"note": "x"}}, "spec": pod}
