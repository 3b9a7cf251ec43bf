"""Operators of kinds that cannot run here, played: their pods and their status, as ``kubernetes.md`` says they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters import Place
from e2e.serving import until

Object = dict[str, Any]
Pods = Callable[[Object], Iterator[tuple[str, Mapping[str, str], Object]]]
V1 = "training.kubeflow.org"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Object:
    at = now()
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message or kind,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }


@dataclass(frozen=True)
class Kind:
    """How one operator speaks. ``pods`` gives suffix, labels and template of each pod of an object, the main one first.

    ``begins``, ``succeeds`` and ``fails`` are what it adds to the status; ``suspend`` is where the object is held back.
    """

    name: str
    resource: str
    path: str
    pods: Pods
    begins: Callable[[], Object]
    succeeds: Callable[[], Object]
    fails: Callable[[], Object]
    suspend: tuple[str, ...] = ("spec", "suspend")
    suspends: Callable[[], Object] = field(default=lambda: {"conditions": [condition("Suspended", reason="Suspended")]})


def _kubeflow(kind: str, plural: str, field_: str) -> Kind:
    def pods(seen: Object) -> Iterator[tuple[str, Mapping[str, str], Object]]:
        for role, replica in seen["spec"][field_].items():
            for idx in range(replica["replicas"]):
                labels = {
                    f"{V1}/job-name": seen["metadata"]["name"],
                    f"{V1}/operator-name": f"{kind.lower()}-controller",
                    f"{V1}/replica-type": role.lower(),
                    f"{V1}/replica-index": str(idx),
                }
                first = role in ("Master", "Chief") or (role == "Launcher")
                labels |= {f"{V1}/job-role": "master"} if first and role != "Launcher" else {}
                suffix = "launcher" if role == "Launcher" else f"{role.lower()}-{idx}"
                yield (
                    suffix,
                    labels,
                    _serving(replica["template"]) if _is_mpi_worker(kind, role) else replica["template"],
                )

    def told(*conditions: Object, **more: Any) -> Object:
        return {"conditions": [condition("Created", reason=f"{kind}Created"), *conditions], "startTime": now(), **more}

    return Kind(
        kind,
        f"{plural}.kubeflow.org",
        f"/apis/kubeflow.org/v1/namespaces/{{}}/{plural}/{{}}",
        pods,
        begins=lambda: told(condition("Running", reason=f"{kind}Running")),
        succeeds=lambda: told(
            condition("Running", "False", reason=f"{kind}Succeeded"),
            condition("Succeeded", reason=f"{kind}Succeeded", message=f"{kind} is successfully completed."),
            completionTime=now(),
        ),
        fails=lambda: told(
            condition("Running", "False", reason=f"{kind}Failed"),
            condition("Failed", reason=f"{kind}Failed", message=f"{kind} has failed because 1 replica(s) failed."),
            completionTime=now(),
        ),
        suspend=("spec", "runPolicy", "suspend"),
        suspends=lambda: told(condition("Suspended", reason=f"{kind}Suspended", message=f"{kind} is suspended.")),
    )


def _is_mpi_worker(kind: str, role: str) -> bool:
    return (kind, role) == ("MPIJob", "Worker")


def _serving(template: Object) -> Object:
    """A worker of an MPIJob, which the operator has run ``sshd`` until it removes it; here what waits as that does."""
    made: Object = json.loads(json.dumps(template))
    for container in made["spec"]["containers"]:
        container.setdefault("command", ["sleep", "infinity"])
    return made


def _indexed(job: Object, labels: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str], Object]]:
    index = "batch.kubernetes.io/job-completion-index"
    for idx in range(job.get("completions", 1)):
        template = json.loads(json.dumps(job["template"]))
        template["metadata"].setdefault("annotations", {})[index] = str(idx)
        yield f"node-0-{idx}", {**labels, index: str(idx)}, template


def _jobset_pods(seen: Object) -> Iterator[tuple[str, Mapping[str, str], Object]]:
    (group,) = seen["spec"]["replicatedJobs"]
    marks = {"jobset-name": seen["metadata"]["name"], "replicatedjob-name": group["name"]}
    yield from _indexed(group["template"]["spec"], {f"jobset.sigs.k8s.io/{key}": value for key, value in marks.items()})


def _ray_pods(seen: Object) -> Iterator[tuple[str, Mapping[str, str], Object]]:
    """The submitter, whose command is KubeRay's: it runs the entrypoint on the head, here by itself as there."""
    template = json.loads(json.dumps(seen["spec"]["submitterPodTemplate"]))
    (head,) = seen["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    command = ["sh", "-c", seen["spec"]["entrypoint"].replace("$", "$$")]
    template["spec"]["containers"][0] |= {"command": command, "env": head["env"]}
    yield "submit", {"batch.kubernetes.io/job-name": seen["metadata"]["name"]}, template


def _jobs(name: str, ready: int) -> Object:
    return {name: [{"name": "node", "ready": ready, "active": ready, "succeeded": 0, "failed": 0, "suspended": 0}]}


JOBSET = Kind(
    "JobSet",
    "jobsets.jobset.x-k8s.io",
    "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets/{}",
    _jobset_pods,
    begins=lambda: _jobs("replicatedJobsStatus", 1),
    succeeds=lambda: {
        "conditions": [condition("Completed", reason="AllJobsCompleted", message="jobset completed successfully")],
        "terminalState": "Completed",
    },
    fails=lambda: {
        "conditions": [
            condition("Failed", reason="FailedJobs", message="jobset failed due to one or more job failures")
        ],
        "terminalState": "Failed",
    },
)


def _trainjob_pods(seen: Object) -> Iterator[tuple[str, Mapping[str, str], Object]]:
    """Those of the runtime that it names, which ``Operator`` puts into it as ``runtime``."""
    (group,) = seen["runtime"]["spec"]["template"]["spec"]["replicatedJobs"]
    marks = {"jobset-name": seen["metadata"]["name"], "replicatedjob-name": group["name"]}
    labels = {f"jobset.sigs.k8s.io/{key}": value for key, value in marks.items()}
    count = seen["spec"]["trainer"]["numNodes"]
    yield from _indexed({**group["template"]["spec"], "completions": count}, labels)


TRAINJOB = Kind(
    "TrainJob",
    "trainjobs.trainer.kubeflow.org",
    "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{}/trainjobs/{}",
    _trainjob_pods,
    begins=lambda: _jobs("jobsStatus", 1),
    succeeds=lambda: {"conditions": [condition("Complete", reason="AllJobsCompleted")]},
    fails=lambda: {"conditions": [condition("Failed", reason="FailedJobs", message="jobset failed")]},
)

RAYJOB = Kind(
    "RayJob",
    "rayjobs.ray.io",
    "/apis/ray.io/v1/namespaces/{}/rayjobs/{}",
    _ray_pods,
    begins=lambda: {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "startTime": now()},
    succeeds=lambda: {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": now()},
    fails=lambda: {
        "jobDeploymentStatus": "Failed",
        "jobStatus": "FAILED",
        "reason": "AppFailed",
        "message": "Job entrypoint command failed with exit code 3",
        "endTime": now(),
    },
    suspends=lambda: {"jobDeploymentStatus": "Suspended"},
)

PYTORCHJOB = _kubeflow("PyTorchJob", "pytorchjobs", "pytorchReplicaSpecs")
KINDS = {
    each.name: each
    for each in (
        PYTORCHJOB,
        _kubeflow("TFJob", "tfjobs", "tfReplicaSpecs"),
        _kubeflow("MPIJob", "mpijobs", "mpiReplicaSpecs"),
        JOBSET,
        TRAINJOB,
        RAYJOB,
    )
}
KINDS["ElasticJob"] = PYTORCHJOB


@dataclass(frozen=True)
class Operator:
    """Plays the operator of a kind for one object, which is called as its task.

    ``blocks``: its pods hold up a deletion of the whole in the foreground, as those of all known operators do.
    """

    place: Place
    kind: Kind
    name: str
    blocks: bool = True

    def seen(self) -> Object:
        """The object, once Odin has made it."""
        path = self.kind.path.format(self.place.namespace, self.name)
        found = until(lambda: self.place.kubectl("get", "--raw", path, code=None), pause_s=0.1)
        made: Object = json.loads(found)
        if self.kind is TRAINJOB:
            name = made["spec"]["runtimeRef"]["name"]
            made["runtime"] = self.place.json("get", "trainingruntimes.trainer.kubeflow.org", name)
        return made

    def make_pods(self) -> list[str]:
        """Their names, the main one first."""
        made = self.seen()
        api_version, uid = made["apiVersion"], made["metadata"]["uid"]
        owner = {"apiVersion": api_version, "kind": made["kind"], "name": self.name, "uid": uid}
        owner |= {"controller": True, "blockOwnerDeletion": self.blocks}
        names = []
        for suffix, labels, template in self.kind.pods(made):
            metadata = {**template["metadata"], "name": f"{self.name}-{suffix}", "ownerReferences": [owner]}
            metadata["labels"] = {**template["metadata"].get("labels", {}), **labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(template["spec"])}
            pod["spec"].setdefault("restartPolicy", "Never")
            # Raw: kubectl would read the schemas of all kinds first, for each pod.
            path = f"/api/v1/namespaces/{self.place.namespace}/pods"
            self.place.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(pod))
            names.append(metadata["name"])
        return names

    def begin(self) -> list[str]:
        names = self.make_pods()
        self.say(self.kind.begins())
        return names

    def succeed(self) -> None:
        self._end(self.kind.succeeds())

    def fail(self) -> None:
        self._end(self.kind.fails())

    def _end(self, status: Object) -> None:
        """What still runs goes, as ``cleanPodPolicy: Running`` asks."""
        self.say(status)
        if self.kind.name == "MPIJob":
            wanted = (f"-lodin/task={self.name},{V1}/replica-type=worker", "--wait=false", "--ignore-not-found")
            self.place.kubectl("delete", "pods", *wanted)

    def hold(self) -> None:
        """As Kueue's webhook does on the way in and when it takes the place away: pods go, and it says so."""
        self._suspend(True)
        self.place.kubectl("delete", "pods", "-l", f"odin/task={self.name}", "--wait=false")
        self.say(self.kind.suspends())

    def admit(self) -> None:
        self._suspend(False)
        self.say({"conditions": [condition("Suspended", "False", reason="Resumed")]})

    def queue_says(self, *conditions: Object) -> None:
        """Make the Workload of the object, as Kueue does, and have it say this."""
        uid, api_version = self.seen()["metadata"]["uid"], "kueue.x-k8s.io/v1beta2"
        name = f"{self.kind.name.lower()}-{self.name}"
        pod_set = {"name": "main", "count": 1, "template": {"spec": {"containers": [{"name": "x", "image": "x"}]}}}
        metadata = {"name": name, "labels": {"kueue.x-k8s.io/job-uid": uid}}
        spec = {"queueName": "team-a", "active": True, "podSets": [pod_set]}
        made = {"apiVersion": api_version, "kind": "Workload", "metadata": metadata, "spec": spec}
        self.place.kubectl("apply", "-f", "-", given=json.dumps(made))
        self._write(
            f"/apis/{api_version}/namespaces/{self.place.namespace}/workloads/{name}", {"conditions": conditions}
        )

    def say(self, status: Object) -> None:
        """Write the status by its subresource; other operators' conditions of the same type go."""
        self._write(self.kind.path.format(self.place.namespace, self.name), status)

    def _write(self, path: str, status: Object) -> None:
        def wrote() -> bool:
            seen = json.loads(self.place.kubectl("get", "--raw", path))
            before = seen.get("status") or {}
            fresh = {each["type"] for each in status.get("conditions", ())}
            kept = [each for each in before.get("conditions", ()) if each["type"] not in fresh]
            seen["status"] = {**before, **status}
            if "conditions" in seen["status"]:
                seen["status"]["conditions"] = [*kept, *status.get("conditions", ())]
            done = self.place.kubectl(
                "replace", "--raw", f"{path}/status", "-f", "-", given=json.dumps(seen), code=None
            )
            return bool(done)

        until(wrote, pause_s=0.2, told=lambda: status)

    def _suspend(self, value: bool) -> None:
        self.seen()
        patch: Any = value
        for step in reversed(self.kind.suspend):
            patch = {step: patch}
        self.place.kubectl("patch", self.kind.resource, self.name, "--type=merge", "-p", json.dumps(patch))
