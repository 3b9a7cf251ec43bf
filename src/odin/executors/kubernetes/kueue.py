"""Kueue: the labels that put an object into a queue, and what its Workload says of the waiting. Pure.

Source: kubernetes.md, "Kueue".
"""

from __future__ import annotations

from collections.abc import Mapping

from odin.executors.kubernetes.conditions import Part, false, part, true, words
from odin.executors.kubernetes.kind import Api, Object
from odin.model.job import TaskSpec

QUEUE = "kueue.x-k8s.io/queue-name"
JOB_UID = "kueue.x-k8s.io/job-uid"  # of the Workload: whose it is
APIS = (
    Api("kueue.x-k8s.io", "v1beta2", "Workload", "workloads"),
    Api("kueue.x-k8s.io", "v1beta1", "Workload", "workloads"),
)

# Only with the gate UnadmittedWorkloadsObservability is the reason this precise.
NEVER = frozenset({"ExceedsMaxQuota", "NoMatchingFlavor"})
LOST_BY: Mapping[str, str] = {
    "Preempted": "something more important took its place",
    "PodsReadyTimeout": "its pods were not ready in time",
    "AdmissionCheck": "an admission check failed",
    "ClusterQueueStopped": "its cluster queue was stopped",
    "LocalQueueStopped": "its queue was stopped",
    "NodeFailures": "a node failed",
    "Deactivated": "it was deactivated",
}


def labels(spec: TaskSpec) -> dict[str, str]:
    """Of the top object, never of the pod template. Kueue takes the priority from the pods' own class."""
    queue = spec.cluster.get("queue")
    return {QUEUE: queue} if queue else {}


def owner(workload: Object) -> str:
    """The uid of the object that it was made for."""
    return str(part(workload, "metadata", "labels").get(JOB_UID) or "")


def read(workload: Object) -> str:
    """One sentence on why it does not run yet; empty once it may."""
    if true(workload, "Finished"):
        return ""
    if part(workload, "spec").get("active") is False:
        return _with("its workload is deactivated", true(workload, "Evicted"))
    if found := _newest_loss(workload):
        said = LOST_BY.get(_reason(found), _reason(found))
        return _with(f"its queue took its place away, {said}", found)
    if true(workload, "Admitted"):
        return ""
    if found := true(workload, "QuotaReserved"):
        return f"it has its quota and waits for {_checks(workload)}"
    return _unreserved(workload)


def _reason(condition: Part) -> str:
    return str(condition.get("reason") or "")


def _newest_loss(workload: Object) -> Part | None:
    """Evicted, and not queued again since: that wait has its own message."""
    lost, waits = true(workload, "Evicted"), false(workload, "QuotaReserved")
    if lost is None or true(workload, "Admitted", "QuotaReserved"):
        return None
    newer = waits is not None and str(waits.get("lastTransitionTime")) > str(lost.get("lastTransitionTime"))
    return None if newer else lost


def _unreserved(workload: Object) -> str:
    found = false(workload, "QuotaReserved")
    queue = part(workload, "spec").get("queueName", "")
    if found is None:
        return f"it waits in queue {queue}"
    can = "can never run as it is in" if _reason(found) in NEVER else "waits in"
    return _with(f"it {can} queue {queue}", found)


def _checks(workload: Object) -> str:
    """The admission checks that are not passed yet, each with what it says."""
    listed = part(workload, "status").get("admissionChecks") or ()
    open_ = sorted((str(one.get("name")), words(one)) for one in listed if one.get("state") != "Ready")
    return ", ".join(f"{name} ({said})" if said else name for name, said in open_) or "its admission"


def _with(sentence: str, condition: Part | None) -> str:
    said = words(condition) if condition else ""
    return f"{sentence}: {said}" if said else sentence
