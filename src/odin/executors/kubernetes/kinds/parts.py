"""What the objects of several kinds are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from odin.executors.kubernetes import kueue
from odin.executors.kubernetes.conditions import part
from odin.executors.kubernetes.kind import Object, Order
from odin.model.job import TaskSpec

PORT = 29500
INDEX = "batch.kubernetes.io/job-completion-index"
INDEXED_SINCE = (1, 22)  # on by default; 1.21 has it behind a gate
Env = dict[str, Any]


def top(order: Order, spec: Object) -> Object:
    """The top object, in its queue if the task names one."""
    metadata = deepcopy(dict(order.metadata))
    metadata["labels"] = {**metadata.get("labels", {}), **kueue.labels(order.launch.spec)}
    return {"apiVersion": order.api.api_version, "kind": order.api.kind, "metadata": metadata, "spec": spec}


def beside(order: Order, api_version: str, kind: str, spec: Object, *, name: str = "") -> Object:
    """An object that belongs to the attempt as the top object does: same labels, no finalizer, no queue."""
    metadata = {
        "name": name or order.metadata["name"],
        **{key: deepcopy(order.metadata[key]) for key in ("labels", "annotations") if key in order.metadata},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def template(order: Order, container: str = "task", env: Iterable[Env] = ()) -> Object:
    """A copy of the pod template whose first container has the name that an operator wants.

    ``env`` comes first, so that later values can refer to it; what the task sets itself is left as it is.
    """
    made: Object = deepcopy(dict(order.pod))
    made["spec"]["restartPolicy"] = "Never"
    first = made["spec"]["containers"][0]
    first["name"] = container
    own = list(first.get("env") or ())
    names = {one["name"] for one in own}
    if added := [one for one in env if one["name"] not in names]:
        first["env"] = [*added, *own]
    return made


def only(made: Object, *, command: bool = True, gpus: bool = True) -> Object:
    """The template without its command (an operator or the image brings one) or without its GPUs."""
    first = made["spec"]["containers"][0]
    if not command:
        for key in ("command", "args"):
            first.pop(key, None)
    if not gpus:
        for amounts in part(first, "resources").values():
            for name in [name for name in amounts if "/" in name]:  # extended resources alone have a slash
                del amounts[name]
    return made


def pods(spec: TaskSpec) -> int:
    """How many pods do the work: a PyTorchJob has a master beside its workers, whatever it is translated to."""
    return spec.num_workers + (spec.resource_type == "PyTorchJob")


def per_pod(spec: TaskSpec) -> str:
    """Processes for each pod, as torchrun takes them."""
    return "auto" if spec.num_gpus > 1 else "1"


def rendezvous(spec: TaskSpec, master: str, rank: Env) -> list[Env]:
    """What the PyTorch operator would set, for pods that no operator cares for; ``rank`` is the value of a variable."""
    named: Mapping[str, Env] = {
        "RANK": rank,
        "WORLD_SIZE": {"value": str(pods(spec))},
        "MASTER_ADDR": {"value": master},
        "MASTER_PORT": {"value": str(PORT)},
        "PET_NODE_RANK": rank,
        "PET_NNODES": {"value": str(pods(spec))},
        "PET_NPROC_PER_NODE": {"value": per_pod(spec)},
        "PET_MASTER_ADDR": {"value": master},
        "PET_MASTER_PORT": {"value": str(PORT)},
    }
    return [{"name": name, **value} for name, value in named.items()]


def index_field() -> Env:
    """The rank of a pod of an Indexed Job, which it has as an annotation in every version."""
    return {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}


def rank_of(pod: Object) -> str:
    """The index of a pod of an Indexed Job: a label since 1.28, an annotation always."""
    metadata = part(pod, "metadata")
    told = part(metadata, "labels").get(INDEX) or part(metadata, "annotations").get(INDEX)
    return str(told if told is not None else "")


def indexed(template: Object, count: int) -> Object:
    """The spec of an Indexed Job that one failed pod ends."""
    return {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",  # as in a Job of one pod
        "template": template,
    }


def label(pod: Object, *names: str) -> str:
    """The value of the first of these labels that the pod has."""
    labels = part(pod, "metadata", "labels")
    return next((str(labels[name]) for name in names if name in labels), "")


def anything(_spec: TaskSpec) -> str | None:
    """A kind that lacks nothing."""
    return None
