"""The objects that a task becomes, of each kind; and that the published schemas take them."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from clusterobjects import LABELS, NAME, order
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.jobset import JOBSET, TRAINJOB
from odin.executors.kubernetes.kinds.kubeflow import ELASTIC, MPI, MPI_V1_API, PYTORCH, TF
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.kinds.ray import RAY
from odin.executors.kubernetes.kinds.table import ROWS
from odin.model.fields import KINDS as NAMES
from odin.model.rules import longest_object

CRDS = Path(__file__).parents[5] / "shared/kube/crds"
QUEUED = {"queue": "team-a", "priority_class": "high"}
Object = dict[str, Any]
every_row = pytest.mark.parametrize("kind", ROWS, ids=lambda kind: f"{kind.name}-{kind.apis[0].plural}")


def built(kind, api: int = 0, **fields: Any) -> list[Object]:
    return kind.build(order(kind, api, **fields))


def top(kind, api: int = 0, **fields: Any) -> Object:
    return built(kind, api, **fields)[-1]


def templates(node: Any, above: str = "") -> list[Object]:
    """Every pod template (or pod) in an object, however deep."""
    if isinstance(node, list):
        return [found for each in node for found in templates(each)]
    if not isinstance(node, dict):
        return []
    if "containers" in node.get("spec", {}):
        return [node]
    return [found for value in node.values() for found in templates(value)]


def first(template: Object) -> Object:
    return template["spec"]["containers"][0]


def env(template: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in first(template)["env"]}


# --- of every kind


@every_row
def test_the_top_object_is_last_and_named_as_the_attempt(kind):
    made = top(kind)
    assert (made["apiVersion"], made["kind"]) == (kind.apis[0].api_version, kind.apis[0].kind)
    assert made["metadata"]["name"] == NAME
    assert made["metadata"]["finalizers"] == ["odin/attempt"]
    assert made["metadata"]["annotations"].items() >= {"odin/fence": "1"}.items()


@every_row
def test_the_top_object_alone_is_held_by_a_finalizer(kind):
    assert ["finalizers" in each["metadata"] for each in built(kind)].count(True) == 1


@every_row
def test_every_object_and_every_pod_has_the_labels_of_its_attempt(kind):
    for each in built(kind):
        assert each["metadata"]["labels"].items() >= LABELS.items()
        assert all(pod["metadata"]["labels"].items() >= LABELS.items() for pod in templates(each))


@every_row
def test_no_two_objects_of_one_resource_have_the_same_name(kind):
    names = [(each["kind"], each["metadata"]["name"]) for each in built(kind)]
    assert len(set(names)) == len(names)


@every_row
def test_nothing_but_odin_starts_a_task_again(kind):
    """Operators read ``restartPolicy`` beside the template, Kubernetes in it. Elastic workers come and go."""
    for each in built(kind):
        policies = {pod["spec"].get("restartPolicy") for pod in templates(each)}
        assert policies <= ({None} if kind is ELASTIC else {"Never"})
    limits = json.dumps(top(kind)).count('"backoffLimit": 0')
    assert limits == {POD: 0, ELASTIC: 0, RAY: 2, TRAINJOB: 0}.get(kind, 1)


@every_row
def test_building_leaves_what_it_builds_from_as_it_was(kind):
    given = order(kind, num_gpus=2, cluster=QUEUED)
    pod, metadata = deepcopy(given.pod), deepcopy(given.metadata)
    assert kind.build(given) == kind.build(given)
    assert (given.pod, given.metadata) == (pod, metadata)


@every_row
def test_a_queue_is_a_label_of_the_top_object_alone(kind):
    *others, last = built(kind, cluster=QUEUED)
    assert last["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    inner = [*others, *(pod for pod in templates(last) if pod is not last)]
    assert not any(key.startswith("kueue") for each in inner for key in each["metadata"]["labels"])


@every_row
@pytest.mark.parametrize("asked", [{"priority_class": "high"}, QUEUED], ids=["alone", "in a queue"])
def test_a_priority_class_is_that_of_the_pods(kind, asked):
    *others, last = built(kind, cluster=asked)
    assert "priority-class" not in json.dumps(last)
    assert {pod["spec"]["priorityClassName"] for each in (*others, last) for pod in templates(each)} == {"high"}


@every_row
def test_a_task_that_names_no_queue_has_no_label_of_one(kind):
    assert "kueue" not in json.dumps(built(kind))


@every_row
def test_every_container_keeps_what_makes_it_harmless(kind):
    for each in built(kind):
        for pod in templates(each):
            assert pod["spec"]["securityContext"]["runAsNonRoot"]
            assert pod["spec"]["automountServiceAccountToken"] is False
            assert first(pod)["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@every_row
def test_the_container_that_counts_is_in_the_main_pod(kind):
    names = {first(pod)["name"] for each in built(kind) for pod in templates(each)}
    assert kind.container in names


@every_row
def test_names_are_as_long_as_the_model_checks(kind):
    assert kind.longest == longest_object(kind.name)


def test_every_kind_of_the_job_file_has_a_row():
    assert {row.name for row in ROWS} == set(NAMES)


@every_row
def test_only_kinds_of_one_worker_lack_several(kind):
    several = order(kind, num_workers=3).launch.spec
    assert (kind.lacks(several) is not None) == (kind in (POD, JOB))
    assert kind.lacks(order(kind, num_workers=1).launch.spec) is None


def test_what_a_pod_lacks_is_said_with_the_remedy():
    said = POD.lacks(order(POD, num_workers=3).launch.spec)
    assert said == "a Pod is one worker and num_workers is 3; resource_type gang runs several that know one another"


# --- one by one


def test_a_pod_has_the_labels_and_annotations_of_its_template():
    made = top(POD)
    assert made["metadata"]["labels"] == {**LABELS, "team": "nlp"}
    assert made["metadata"]["annotations"] == {"note": "x", "odin/fence": "1"}
    assert first(made)["name"] == "task"


def test_a_job_never_has_two_pods_at_once():
    assert top(JOB)["spec"]["podReplacementPolicy"] == "Failed"


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_of_a_pytorch_job_are_beside_its_master(workers):
    spec = top(PYTORCH, num_workers=workers)["spec"]
    replicas = spec["pytorchReplicaSpecs"]
    assert {role: each["replicas"] for role, each in replicas.items()} == {"Master": 1, "Worker": workers}
    assert {each["restartPolicy"] for each in replicas.values()} == {"Never"}
    assert {first(pod)["name"] for pod in templates(spec)} == {"pytorch"}
    assert spec["runPolicy"] == {"cleanPodPolicy": "Running", "backoffLimit": 0}


@pytest.mark.parametrize(("gpus", "processes"), [(0, "1"), (1, "1"), (4, "auto")])
def test_processes_of_a_pod_follow_its_gpus(gpus, processes):
    assert top(PYTORCH, num_gpus=gpus)["spec"]["nprocPerNode"] == processes


def test_an_elastic_job_is_a_pytorch_job_of_workers_that_may_come_and_go():
    made = top(ELASTIC, num_workers=4)
    assert made["kind"] == "PyTorchJob"
    assert list(made["spec"]["pytorchReplicaSpecs"]) == ["Worker"]
    elastic = made["spec"]["elasticPolicy"]
    assert (elastic["minReplicas"], elastic["maxReplicas"], elastic["rdzvBackend"]) == (1, 4, "c10d")
    assert elastic["rdzvHost"] == f"{NAME}-worker-0"
    assert "nProcPerNode" not in elastic  # deprecated there
    assert made["spec"]["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] == "ExitCode"


def test_a_tf_job_has_workers_of_which_the_first_is_the_chief():
    spec = top(TF, num_workers=3)["spec"]
    assert {role: each["replicas"] for role, each in spec["tfReplicaSpecs"].items()} == {"Worker": 3}
    assert {first(pod)["name"] for pod in templates(spec)} == {"tensorflow"}
    assert "successPolicy" not in spec


@pytest.mark.parametrize("api", [0, 1])
def test_the_launcher_of_an_mpi_job_runs_the_command_and_the_workers_have_the_gpus(api):
    made = top(MPI, api, num_gpus=2)
    launcher, worker = (made["spec"]["mpiReplicaSpecs"][role]["template"] for role in ("Launcher", "Worker"))
    assert first(launcher)["command"] == ["python", "-m"]
    assert "command" not in first(worker)
    assert "args" not in first(worker)
    assert "nvidia.com/gpu" not in first(launcher)["resources"]["limits"]
    assert first(worker)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert made["spec"]["slotsPerWorker"] == 2
    assert made["spec"]["runPolicy"]["cleanPodPolicy"] == "Running"


def test_an_mpi_job_of_the_new_operator_waits_for_its_workers():
    spec = top(MPI)["spec"]
    assert (spec["launcherCreationPolicy"], spec["mpiImplementation"]) == ("WaitForWorkersReady", "OpenMPI")
    assert (spec["sshAuthMountPath"], spec["runLauncherAsWorker"]) == ("/root/.ssh", False)
    user = {"security_context": {"run_as_user": 1000}}
    assert top(MPI, cluster=user)["spec"]["sshAuthMountPath"] == "/home/mpiuser/.ssh"
    assert MPI.apis[1] == MPI_V1_API
    assert "launcherCreationPolicy" not in top(MPI, 1)["spec"]


def test_a_train_job_has_a_runtime_of_its_own_with_the_whole_pod():
    runtime, made = built(TRAINJOB, num_workers=3, num_gpus=2)
    assert (runtime["kind"], runtime["metadata"]["name"]) == ("TrainingRuntime", NAME)
    (group,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert (group["name"], group["replicas"]) == ("node", 1)
    assert group["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert first(group["template"]["spec"]["template"])["name"] == "node"
    assert runtime["spec"]["mlPolicy"] == {"numNodes": 3, "torch": {}}
    assert made["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": NAME,
    }
    assert made["spec"]["trainer"] == {"numNodes": 3, "numProcPerNode": 2}


def test_a_job_set_is_one_group_of_indexed_pods_that_know_the_first():
    spec = top(JOBSET, num_workers=3)["spec"]
    (group,) = spec["replicatedJobs"]
    job = group["template"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    assert env(job["template"])["MASTER_ADDR"] == f"{NAME}-node-0-0.{NAME}"
    assert spec["failurePolicy"] == {"maxRestarts": 0}
    assert spec["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}


def test_a_ray_job_is_a_cluster_that_ends_with_its_command():
    spec = top(RAY, num_workers=3, num_gpus=1)["spec"]
    cluster = spec["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (3, 3, 3)
    assert "nvidia.com/gpu" not in first(head)["resources"]["limits"]
    assert first(workers["template"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "command" not in first(head)
    assert spec["shutdownAfterJobFinishes"]
    assert "clusterSelector" not in spec


def test_the_command_of_a_ray_job_is_one_shell_line_with_single_dollars():
    assert top(RAY)["spec"]["entrypoint"] == "python -m trainer '$HOME' 'a b'"


def test_the_pod_that_submits_a_ray_job_mounts_nothing():
    submitter = top(RAY, num_gpus=1)["spec"]["submitterPodTemplate"]
    assert first(submitter)["name"] == "ray-job-submitter"
    assert "volumes" not in submitter["spec"]
    assert "volumeMounts" not in first(submitter)
    assert "nvidia.com/gpu" not in json.dumps(first(submitter))


def test_a_gang_is_an_indexed_job_and_a_service_without_an_address():
    service, job = built(GANG, num_workers=3)
    assert service["spec"] == {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": LABELS}
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 3, 3)
    pod = job["spec"]["template"]
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    told = env(pod)
    assert (told["RANK"], told["PET_NODE_RANK"]) == (index, index)
    assert (told["WORLD_SIZE"], told["PET_NNODES"], told["MASTER_PORT"]) == ("3", "3", "29500")
    assert told["MASTER_ADDR"] == told["PET_MASTER_ADDR"] == f"{NAME}-0.{NAME}"


def test_what_the_task_sets_itself_is_left_as_it_is():
    given = order(GANG)
    given.pod["spec"]["containers"][0]["env"].append({"name": "WORLD_SIZE", "value": "mine"})
    job = GANG.build(given)[-1]
    sizes = [each["value"] for each in first(job["spec"]["template"])["env"] if each["name"] == "WORLD_SIZE"]
    assert sizes == ["mine"]


# --- translated


@pytest.mark.parametrize("kind", [GANG, JOBSET, TRAINJOB], ids=lambda kind: kind.name)
def test_a_translated_pytorch_job_still_has_a_master_beside_its_workers(kind):
    told = json.dumps(built(kind, resource_type="PyTorchJob", num_workers=3))
    assert '"numNodes": 4' in told if kind is TRAINJOB else '"value": "4"' in told


def test_a_translated_tf_job_gets_the_configuration_that_its_operator_would_give():
    (pod,) = templates(top(GANG, resource_type="TFJob", num_workers=2))
    names = [each["name"] for each in first(pod)["env"]]
    assert names.index("PET_NODE_RANK") < names.index("TF_CONFIG")  # only then is it replaced
    told = json.loads(env(pod)["TF_CONFIG"].replace("$(PET_NODE_RANK)", "1"))
    assert told["cluster"] == {"worker": [f"{NAME}-0.{NAME}:2222", f"{NAME}-1.{NAME}:2222"]}
    assert told["task"] == {"type": "worker", "index": 1}
    (alone,) = templates(top(GANG, resource_type="TFJob", num_workers=1))
    assert "TF_CONFIG" not in env(alone)


# --- main pods

OPERATOR = "training.kubeflow.org"
INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.mark.parametrize(
    ("kind", "main", "other"),
    [
        (PYTORCH, {f"{OPERATOR}/replica-type": "master", f"{OPERATOR}/job-role": "master"}, {f"{OPERATOR}/replica-type": "worker"}),
        (ELASTIC, {f"{OPERATOR}/replica-type": "worker", f"{OPERATOR}/replica-index": "0"}, {f"{OPERATOR}/replica-type": "worker", f"{OPERATOR}/replica-index": "1"}),
        (TF, {f"{OPERATOR}/replica-type": "worker", f"{OPERATOR}/replica-index": "0", f"{OPERATOR}/job-role": "master"}, {f"{OPERATOR}/replica-type": "worker", f"{OPERATOR}/replica-index": "1"}),
        (MPI, {f"{OPERATOR}/job-role": "launcher"}, {f"{OPERATOR}/job-role": "worker"}),
        (MPI, {f"{OPERATOR}/replica-type": "launcher"}, {f"{OPERATOR}/replica-type": "worker", f"{OPERATOR}/replica-index": "0"}),
        (TRAINJOB, {"jobset.sigs.k8s.io/replicatedjob-name": "node", INDEX: "0"}, {"jobset.sigs.k8s.io/replicatedjob-name": "node", INDEX: "1"}),
        (TRAINJOB, {"jobset.sigs.k8s.io/replicatedjob-name": "node", INDEX: "0"}, {"jobset.sigs.k8s.io/replicatedjob-name": "dataset-initializer", INDEX: "0"}),
        (JOBSET, {INDEX: "0"}, {INDEX: "1"}),
        (GANG, {INDEX: "0"}, {INDEX: "10"}),
        (RAY, {"batch.kubernetes.io/job-name": NAME}, {"ray.io/node-type": "head"}),
        (RAY, {"job-name": NAME}, {"ray.io/node-type": "worker"}),
    ],
)  # fmt: skip
def test_which_pod_is_the_tasks_own(kind, main, other):
    assert kind.main({"metadata": {"labels": main}})
    assert not kind.main({"metadata": {"labels": other}})


@pytest.mark.parametrize("kind", [GANG, JOBSET, TRAINJOB], ids=lambda kind: kind.name)
def test_before_1_28_the_rank_of_a_pod_is_an_annotation_alone(kind):
    assert kind.main({"metadata": {"annotations": {INDEX: "0"}}})
    assert not kind.main({"metadata": {"annotations": {INDEX: "1"}}})


# --- the published schemas


@cache
def crd(kind: str, version: str) -> Draft202012Validator | None:
    for path in sorted(CRDS.glob("*.yaml")):
        document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        if document["spec"]["names"]["kind"] != kind:
            continue
        for each in document["spec"]["versions"]:
            if each["name"] == version:
                return Draft202012Validator(strict(each["schema"]["openAPIV3Schema"]))
    return None


def strict(schema: Any) -> Any:
    """As JSON Schema, refusing fields that an API server would silently drop."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        kept = {"apiVersion": {}, "kind": {}, "metadata": {}} if "spec" in schema["properties"] else {}
        made["properties"] = {**made["properties"], **kept}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


PUBLISHED = [
    (kind, api)
    for kind in (PYTORCH, ELASTIC, TF, MPI, TRAINJOB, JOBSET, RAY)
    for api in range(len(kind.apis))
]  # fmt: skip


@pytest.mark.parametrize(("kind", "api"), PUBLISHED, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("fields", [{}, {"num_workers": 5, "num_gpus": 4, "cluster": QUEUED}], ids=["small", "large"])
def test_the_published_schema_takes_what_is_built(kind, api, fields):
    if not CRDS.is_dir():
        print(f"not run here: {CRDS.name} of the operators, to check {kind.name} against")
        pytest.skip("not run here: no CustomResourceDefinitions beside the repository")
    for made in built(kind, api, **fields):
        schema = crd(made["kind"], made["apiVersion"].rpartition("/")[2])
        assert schema is not None, made["kind"]
        assert [error.message for error in schema.iter_errors(made)] == []


def test_the_schemas_refuse_what_an_api_server_would_drop():
    schema = crd("PyTorchJob", "v1")
    if schema is None:
        pytest.skip("not run here: no CustomResourceDefinitions beside the repository")
    made = top(PYTORCH)
    made["spec"]["nprocPerNode"] = 1
    made["spec"]["runPolicy"]["backofLimit"] = 0
    assert len(list(schema.iter_errors(made))) == 2
