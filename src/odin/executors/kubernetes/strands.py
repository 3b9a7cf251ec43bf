"""Whose words the log of an attempt is made of: the runs of its containers, each with a short name. Pure.

The name of a pod says its part in the whole (``master-0``, ``launcher``, ``worker-3``) and stays the same when the pod
is replaced. Source: kubernetes.md, "Kinds".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from odin.executors.kubernetes.conditions import Part, moment, part
from odin.executors.kubernetes.kind import Kind, Object
from odin.executors.kubernetes.kinds import parts
from odin.executors.kubernetes.podstatus import NEVER_RAN

ALONE = ("Pod", "Job")  # kinds of one pod: their log is that pod's, byte for byte
_ROLES = ("training.kubeflow.org/replica-type", "replica-type")
_RANKS = ("training.kubeflow.org/replica-index", "replica-index")
_GROUP = "jobset.sigs.k8s.io/replicatedjob-name"
_RAY_ROLE = "ray.io/node-type"
_SUBMITTER = "submitter"
_LISTS = (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses"))


@dataclass(frozen=True, slots=True)
class Strand:
    """What one run of one container writes; ``run`` counts the restarts before it.

    ``is_main`` tells that it is part of the attempt's own log; the others are read by their names alone.
    """

    name: str
    pod: str
    uid: str
    container: str
    run: int
    is_main: bool
    is_over: bool
    is_previous: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        return self.uid, self.container, self.run


def is_alone(kind: Kind) -> bool:
    return kind.name in ALONE


def strands(attempt: str, kind: Kind, pods: Iterable[Object]) -> list[Strand]:
    """All that has begun to write, the oldest pods first."""
    ordered = sorted(pods, key=lambda pod: (str(part(pod, "metadata").get("creationTimestamp")), _name(pod)))
    return [strand for pod in ordered for strand in _of_pod(attempt, kind, pod)]


def names(attempt: str, kind: Kind, pods: Iterable[Object]) -> list[str]:
    """What there is to choose from, also what has not begun: the attempt's own first."""
    found = [
        (container != _counting(kind, pod), _strand_name(attempt, kind, pod, container))
        for pod in pods
        for container, _ in _containers(pod)
    ]
    return list(dict.fromkeys(name for _, name in sorted(found)))


def pod_name(attempt: str, pod: Object) -> str:
    """A pod's part in the whole."""
    if parts.label(pod, _RAY_ROLE) == "head":
        return "head"
    role, rank = parts.label(pod, *_ROLES).lower(), parts.label(pod, *_RANKS)
    if role == "launcher":
        return role
    if role and rank:
        return f"{role}-{rank}"
    if rank := parts.rank_of(pod):
        return f"{parts.label(pod, _GROUP) or 'worker'}-{rank}"
    return _rest(attempt, pod)


def _rest(attempt: str, pod: Object) -> str:
    """Of a name that an operator made up, what distinguishes it."""
    name = _name(pod)
    if parts.label(pod, _RAY_ROLE) == "worker":
        return f"worker-{name.rpartition('-')[2]}"
    if parts.label(pod, "batch.kubernetes.io/job-name", "job-name") == attempt:
        return _SUBMITTER
    return name.removeprefix(f"{attempt}-") or name


def _of_pod(attempt: str, kind: Kind, pod: Object) -> Iterator[Strand]:
    counting, uid = _counting(kind, pod), str(part(pod, "metadata").get("uid"))
    is_final = part(pod, "status").get("phase") in ("Succeeded", "Failed")
    for container, status in _containers(pod):
        name = _strand_name(attempt, kind, pod, container)
        run, state = int(status.get("restartCount") or 0), part(status, "state")
        common = _name(pod), uid, container
        if run:
            yield Strand(name, *common, run - 1, container == counting, is_over=True, is_previous=True)
        if _has_begun(status):
            is_over = is_final or "terminated" in state
            yield Strand(name, *common, run, container == counting, is_over=is_over)


def _has_begun(status: Part) -> bool:
    """Whether it may have written. A container that never began ends too, when its pod does."""
    ended = part(status, "state", "terminated")
    if not ended or ended.get("reason") in NEVER_RAN:
        return "running" in part(status, "state")
    ran = ended.get("containerID") or status.get("containerID") or part(status, "lastState", "terminated")
    return bool(ran or moment(ended.get("startedAt")))


def _containers(pod: Object) -> Iterator[tuple[str, Part]]:
    """Each container with its status, an empty one before it has any; the ordinary ones first."""
    for spec, status in _LISTS:
        told = {each.get("name"): each for each in part(pod, "status").get(status) or ()}
        for each in part(pod, "spec").get(spec) or ():
            yield each["name"], told.get(each["name"], {})


def _counting(kind: Kind, pod: Object) -> str:
    """The container whose log is the pod's: the kind's, else the first."""
    found: Sequence[str] = [each["name"] for each in part(pod, "spec").get("containers") or ()]
    return kind.container if kind.container in found or not found else found[0]


def _strand_name(attempt: str, kind: Kind, pod: Object, container: str) -> str:
    if is_alone(kind):
        return container
    pod_ = pod_name(attempt, pod)
    return pod_ if container == _counting(kind, pod) else f"{pod_}/{container}"


def _name(pod: Object) -> str:
    return str(part(pod, "metadata").get("name") or "")
