"""RayJob: a Ray cluster of a head and workers for one task, whose command is submitted to it.

The pod that submits prints the driver's log, so it is the task's own.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from odin.executors.kubernetes.conditions import made_at, moment, part
from odin.executors.kubernetes.kind import Api, Kind, Object, Order
from odin.executors.kubernetes.kinds import parts
from odin.executors.kubernetes.kinds.job import is_suspended
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason
from odin.model.rules import longest_object

API = Api("ray.io", "v1", "RayJob", "rayjobs")
SUBMITTER = "ray-job-submitter"
FINAL = frozenset({"DeadlineExceeded", "JobStatusCheckTimeoutExceeded"})  # no retry follows these
REASONS: Mapping[str, Reason] = {
    "DeadlineExceeded": Reason.TIMEOUT,
    "PreRunningDeadlineExceeded": Reason.NOT_STARTED,
    "SubmissionFailed": Reason.NOT_STARTED,
    "JobStatusCheckTimeoutExceeded": Reason.LOST,
    "JobDeploymentStatusTransitionGracePeriodExceeded": Reason.LOST,
    "ValidationFailed": Reason.REFUSED,
}
HELD = ("Suspending", "Suspended")
# Of a pod that only submits: no volumes, no GPU, a node where its image can be pulled.
_KEPT = ("serviceAccountName", "automountServiceAccountToken", "imagePullSecrets", "securityContext", "nodeSelector",
         "tolerations", "priorityClassName")  # fmt: skip


# Building


def build(order: Order) -> list[Object]:
    head = parts.only(parts.template(order, "ray-head"), command=False, gpus=False)
    worker = parts.only(parts.template(order, "ray-worker"), command=False)
    count = order.launch.spec.num_workers
    group = {
        "groupName": "workers",
        **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), count),
        "rayStartParams": {},
        "template": worker,
    }
    made = {
        "entrypoint": _entrypoint(order),
        "shutdownAfterJobFinishes": True,
        "backoffLimit": 0,
        "submissionMode": "K8sJobMode",
        "submitterConfig": {"backoffLimit": 0},
        "submitterPodTemplate": _submitter(order),
        "rayClusterSpec": {
            "headGroupSpec": {"rayStartParams": {"dashboard-host": "0.0.0.0"}, "template": head},  # noqa: S104
            "workerGroupSpecs": [group],
        },
    }
    return [parts.top(order, made)]


def _entrypoint(order: Order) -> str:
    """The command as one shell line. Dollars are doubled in pods only, where Kubernetes halves them."""
    first = order.pod["spec"]["containers"][0]
    words = [*first.get("command", ()), *first.get("args", ())]
    return shlex.join(word.replace("$$", "$") for word in words)


def _submitter(order: Order) -> Object:
    """Under the same policies as the task's pods; the operator adds its command."""
    pod = parts.template(order, SUBMITTER)
    first = pod["spec"]["containers"][0]
    kept = ("image", "imagePullPolicy", "securityContext")
    container = {"name": SUBMITTER} | {key: first[key] for key in kept if key in first}
    container["resources"] = {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"memory": "1Gi"}}
    spec = {key: pod["spec"][key] for key in _KEPT if key in pod["spec"]}
    return {
        "metadata": pod.get("metadata", {}),
        "spec": {**spec, "restartPolicy": "Never", "containers": [container]},
    }


# Reading


def read(seen: Object) -> Sight:
    status = part(seen, "status")
    state = str(status.get("jobDeploymentStatus") or "")
    if state == "Complete":
        return _complete(seen)
    if state == "ValidationFailed" or (state == "Failed" and _is_final(seen)):
        return _over(seen, REASONS.get(str(status.get("reason") or state), Reason.EXIT))
    if state in HELD or (state in ("", "Initializing") and is_suspended(seen, "spec", "suspend")):
        return Waits(f"suspended: {_said(seen) or 'it waits to be let in'}", suspended=True)
    if state == "Running":
        return Runs(_started_at(seen) or made_at(seen))
    return Waits("its operator starts it again" if state in ("Failed", "Retrying") else "")


def _complete(seen: Object) -> Over:
    told = part(seen, "status").get("jobStatus")
    if told == "SUCCEEDED":
        return _over(seen, Reason.EXIT, code=0)
    if told == "STOPPED":
        return _over(seen, Reason.DELETED, "somebody stopped it in Ray")
    return _over(seen, Reason.EXIT)


def _is_final(seen: Object) -> bool:
    """With retries of its own, a RayJob leaves Failed again until they are used up."""
    status = part(seen, "status")
    limit = part(seen, "spec").get("backoffLimit") or 0
    return limit == 0 or (status.get("failed") or 0) > limit or status.get("reason") in FINAL


def _over(seen: Object, reason: Reason, message: str = "", *, code: int | None = None) -> Over:
    said = "" if code == 0 else (message or _said(seen))
    return Over(code, reason, said, _started_at(seen), moment(part(seen, "status").get("endTime")))


def _said(seen: Object) -> str:
    status = part(seen, "status")
    return str(status.get("message") or status.get("reason") or "").strip().rstrip(".")


def _started_at(seen: Object) -> float | None:
    """That of the driver, or of the cluster that it runs in."""
    status = part(seen, "status")
    return moment(part(status, "rayJobInfo").get("startTime")) or moment(status.get("startTime"))


def _is_submitter(pod: Object) -> bool:
    return bool(parts.label(pod, "batch.kubernetes.io/job-name", "job-name"))


RAY = Kind(
    "RayJob",
    (API,),
    longest_object("RayJob"),
    build,
    read,
    main=_is_submitter,
    lacks=parts.anything,
    container=SUBMITTER,
    replaces=lambda _: True,
    remedy="install KubeRay",
)
