"""JobSet, and TrainJob, which is carried out by one."""

from __future__ import annotations

from collections.abc import Mapping

from odin.executors.kubernetes.conditions import ended_at, made_at, part, started_at, true, words
from odin.executors.kubernetes.kind import Api, Kind, Object, Order
from odin.executors.kubernetes.kinds import parts
from odin.executors.kubernetes.kinds.job import is_suspended, suspended
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason
from odin.model.rules import longest_object

NODE = "node"  # what Trainer calls both the group of its workers and their container
JOBSET_API = Api("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
TRAINER = "trainer.kubeflow.org"
TRAINJOB_API = Api(TRAINER, "v1alpha1", "TrainJob", "trainjobs")
RUNTIME_API = Api(TRAINER, "v1alpha1", "TrainingRuntime", "trainingruntimes")
STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
GROUP_LABEL = "jobset.sigs.k8s.io/replicatedjob-name"  # of pods; the API group is jobset.x-k8s.io
REASONS: Mapping[str, Reason] = {"DeadlineExceeded": Reason.TIMEOUT}
FADING = "TrainingRuntimeNotSupported"  # a failure that Trainer takes back


# JobSet


def build_jobset(order: Order) -> list[Object]:
    name = str(order.metadata["name"])
    spec = order.launch.spec
    env = parts.rendezvous(spec, f"{name}-{NODE}-0-0.{name}", parts.index_field())
    job = parts.indexed(parts.template(order, env=env), parts.pods(spec))
    made = {
        "replicatedJobs": [{"name": NODE, "replicas": 1, "template": {"spec": job}}],
        "failurePolicy": {"maxRestarts": 0},
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
    }
    return [parts.top(order, made)]


def read_jobset(seen: Object) -> Sight:
    status = part(seen, "status")
    ends = {"Completed": true(seen, "Completed"), "Failed": true(seen, "Failed")}
    if ends["Completed"] or status.get("terminalState") == "Completed":
        return Over(0, Reason.EXIT, "", None, ended_at(seen, ends["Completed"] or {}))
    if ends["Failed"] or status.get("terminalState") == "Failed":
        return _failed(seen, ends["Failed"] or {})
    if is_suspended(seen, "spec", "suspend"):
        return suspended(seen)
    restarts = status.get("restarts") or 0
    why = f"started again {restarts} times by its failure policy" if restarts else ""
    return _alive(seen, status.get("replicatedJobsStatus") or (), why)


def _failed(seen: Object, found: Mapping[str, str]) -> Over:
    reason = REASONS.get(str(found.get("reason")), Reason.EXIT)
    return Over(None, reason, words(found), None, ended_at(seen, found))


def _alive(seen: Object, groups: tuple[Mapping[str, int], ...], why: str = "") -> Sight:
    """Running is told by counts of Jobs alone, not since when; its pods say that."""
    if any((group.get("ready") or 0) > 0 for group in groups):
        return Runs(started_at(seen) or made_at(seen), why)
    return Waits(why)


def _is_first(pod: Object) -> bool:
    return parts.rank_of(pod) == "0" and parts.label(pod, GROUP_LABEL) in ("", NODE)


# TrainJob


def build_trainjob(order: Order) -> list[Object]:
    """A runtime of its own, with the whole pod: where pod settings go in a TrainJob has moved twice."""
    spec = order.launch.spec
    group = {
        "name": NODE,
        "replicas": 1,
        "template": {
            "metadata": {"labels": {STEP: "trainer"}},
            "spec": {"backoffLimit": 0, "template": parts.template(order, NODE)},
        },
    }
    nodes = parts.pods(spec)
    runtime = {"mlPolicy": {"numNodes": nodes, "torch": {}}, "template": {"spec": {"replicatedJobs": [group]}}}
    reference = {"apiGroup": TRAINER, "kind": RUNTIME_API.kind, "name": order.metadata["name"]}
    trainer = {"numNodes": nodes, "numProcPerNode": max(1, spec.num_gpus)}
    return [
        parts.beside(order, RUNTIME_API.api_version, RUNTIME_API.kind, runtime),
        parts.top(order, {"runtimeRef": reference, "trainer": trainer}),
    ]


def read_trainjob(seen: Object) -> Sight:
    if found := true(seen, "Complete"):
        return Over(0, Reason.EXIT, "", None, ended_at(seen, found))
    if found := true(seen, "Failed"):
        return Waits(words(found), config=True) if found.get("reason") == FADING else _failed(seen, found)
    if is_suspended(seen, "spec", "suspend"):
        return suspended(seen)
    groups = part(seen, "status").get("jobsStatus") or ()
    return _alive(seen, tuple(group for group in groups if group.get("name") == NODE))


JOBSET = Kind(
    "JobSet",
    (JOBSET_API,),
    longest_object("JobSet"),
    build_jobset,
    read_jobset,
    main=_is_first,
    lacks=parts.anything,
    remedy="install JobSet",
)

TRAINJOB = Kind(
    "TrainJob",
    (TRAINJOB_API,),
    longest_object("TrainJob"),
    build_trainjob,
    read_trainjob,
    main=_is_first,
    lacks=parts.anything,
    container=NODE,
    needs=(RUNTIME_API, JOBSET_API),
    remedy="install Kubeflow Trainer 2",
)
