"""The kinds of kubeflow.org: PyTorchJob, ElasticJob (an elastic PyTorchJob), TFJob, MPIJob of both versions.

Their conditions are Created, Running, Restarting, Suspended, Succeeded and Failed. A True Succeeded wins: an evicted
MPI worker sets Failed, and a launcher that succeeds all the same takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping

from odin.executors.kubernetes.conditions import Part, ended_at, made_at, part, started_at, true, words
from odin.executors.kubernetes.kind import Api, Kind, Object, Order
from odin.executors.kubernetes.kinds import parts
from odin.executors.kubernetes.kinds.job import is_suspended, suspended
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason
from odin.model.rules import longest_object

GROUP = "kubeflow.org"
SUSPEND = ("spec", "runPolicy", "suspend")
PYTORCH_API = Api(GROUP, "v1", "PyTorchJob", "pytorchjobs")
TF_API = Api(GROUP, "v1", "TFJob", "tfjobs")
MPI_API = Api(GROUP, "v2beta1", "MPIJob", "mpijobs")
MPI_V1_API = Api(GROUP, "v1", "MPIJob", "mpijobs")
OPERATOR = "install Kubeflow's training operator 1.9"

ROLE = "training.kubeflow.org/job-role"
TYPE = "training.kubeflow.org/replica-type"
INDEX = "training.kubeflow.org/replica-index"
REASONS: Mapping[str, Reason] = {"DeadlineExceeded": Reason.TIMEOUT, "MPIJobEvicted": Reason.EVICTED}
RENDEZVOUS_PORT = 29400
RESTARTS = 10
MPI_HOMES = {True: "/root/.ssh", False: "/home/mpiuser/.ssh"}  # by whether it runs as root


# Building


def build_pytorch(order: Order) -> list[Object]:
    spec = order.launch.spec
    replicas = {"Master": _replicas(order, "pytorch", 1), "Worker": _replicas(order, "pytorch", spec.num_workers)}
    made = {
        "nprocPerNode": parts.per_pod(spec),
        "runPolicy": _policy(),
        "pytorchReplicaSpecs": replicas,
    }
    return [parts.top(order, made)]


def build_elastic(order: Order) -> list[Object]:
    """Workers alone, of which some may come and go: one that was killed (128 and up) is started again."""
    spec = order.launch.spec
    worker = _replicas(order, "pytorch", spec.num_workers) | {"restartPolicy": "ExitCode"}
    del worker["template"]["spec"]["restartPolicy"]  # the operator sets its own
    elastic = {
        "minReplicas": 1,
        "maxReplicas": spec.num_workers,
        "rdzvBackend": "c10d",
        "rdzvHost": f"{order.metadata['name']}-worker-0",
        "rdzvPort": RENDEZVOUS_PORT,
        "rdzvId": order.metadata["name"],
        "maxRestarts": RESTARTS,
    }
    made = {
        "nprocPerNode": parts.per_pod(spec),
        "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": RESTARTS},
        "elasticPolicy": elastic,
        "pytorchReplicaSpecs": {"Worker": worker},
    }
    return [parts.top(order, made)]


def build_tf(order: Order) -> list[Object]:
    """Worker 0 is the chief, by whose end the job is judged."""
    replicas = {"Worker": _replicas(order, "tensorflow", order.launch.spec.num_workers)}
    return [parts.top(order, {"runPolicy": _policy(), "tfReplicaSpecs": replicas})]


def build_mpi(order: Order) -> list[Object]:
    """The launcher runs the task's command and holds no GPU; the workers run what the operator or the image brings."""
    spec = order.launch.spec
    launcher, worker = _replicas(order, "mpi", 1), _replicas(order, "mpi", spec.num_workers)
    parts.only(launcher["template"], gpus=False)
    parts.only(worker["template"], command=False)
    made = {
        "slotsPerWorker": max(1, spec.num_gpus),
        "runPolicy": _policy(),
        "mpiReplicaSpecs": {"Launcher": launcher, "Worker": worker},
    }
    if order.api == MPI_API:
        made |= {
            "sshAuthMountPath": MPI_HOMES[not part(spec.cluster, "security_context").get("run_as_user")],
            "mpiImplementation": "OpenMPI",
            "launcherCreationPolicy": "WaitForWorkersReady",
            "runLauncherAsWorker": False,
        }
    return [parts.top(order, made)]


def _replicas(order: Order, container: str, count: int) -> Object:
    return {"replicas": count, "restartPolicy": "Never", "template": parts.template(order, container)}


def _policy() -> Object:
    """Odin retries, so the operator must not; what still runs when it is over is removed."""
    return {"cleanPodPolicy": "Running", "backoffLimit": 0}


# Reading


def read(seen: Object) -> Sight:
    if found := true(seen, "Succeeded"):
        return Over(0, Reason.EXIT, "", started_at(seen), ended_at(seen, found))
    if (found := true(seen, "Failed")) and not _goes_on(seen, found):
        return _failed(seen, found)
    if is_suspended(seen, *SUSPEND):
        return suspended(seen)
    if found or (found := true(seen, "Restarting")):
        return Runs(started_at(seen) or made_at(seen), words(found))
    if true(seen, "Running"):
        return Runs(started_at(seen) or made_at(seen))
    return Waits()


def _goes_on(seen: Object, failed: Part) -> bool:
    """An MPI worker was evicted and the launcher still runs: it may succeed without that worker."""
    status = part(seen, "status")
    active = part(status, "replicaStatuses", "Launcher").get("active") or 0
    return failed.get("reason") == "MPIJobEvicted" and active > 0 and not status.get("completionTime")


def _failed(seen: Object, failed: Part) -> Over:
    reason = REASONS.get(str(failed.get("reason")), Reason.EXIT)
    return Over(None, reason, words(failed), started_at(seen), ended_at(seen, failed))


def _is_master(pod: Object) -> bool:
    """The operator marks it; it has the Master, or the first worker where there is none."""
    return parts.label(pod, ROLE) == "master" or parts.label(pod, TYPE).lower() in ("master", "chief")


def _is_first_worker(pod: Object) -> bool:
    return _is_master(pod) or parts.label(pod, INDEX, "replica-index") == "0"


def _is_launcher(pod: Object) -> bool:
    return parts.label(pod, ROLE) == "launcher" or parts.label(pod, TYPE).lower() == "launcher"


PYTORCH = Kind(
    "PyTorchJob",
    (PYTORCH_API,),
    longest_object("PyTorchJob"),
    build_pytorch,
    read,
    main=_is_master,
    lacks=parts.anything,
    container="pytorch",
    suspend=SUSPEND,
    remedy=OPERATOR,
)

ELASTIC = Kind(
    "ElasticJob",
    (PYTORCH_API,),
    longest_object("ElasticJob"),
    build_elastic,
    read,
    main=_is_first_worker,
    lacks=parts.anything,
    container="pytorch",
    replaces=lambda _: True,
    suspend=SUSPEND,
    remedy=f"it runs as an elastic PyTorchJob: {OPERATOR}",
)

TF = Kind(
    "TFJob",
    (TF_API,),
    longest_object("TFJob"),
    build_tf,
    read,
    main=_is_first_worker,
    lacks=parts.anything,
    container="tensorflow",
    suspend=SUSPEND,
    remedy=OPERATOR,
)

MPI = Kind(
    "MPIJob",
    (MPI_API, MPI_V1_API),
    longest_object("MPIJob"),
    build_mpi,
    read,
    main=_is_launcher,
    lacks=parts.anything,
    container="mpi",
    replaces=lambda pod: not _is_launcher(pod),
    suspend=SUSPEND,
    remedy="install Kubeflow's MPI operator 0.6 or newer (or the training operator 1.9)",
)
