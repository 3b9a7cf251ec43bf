"""All kinds, and which of them a task becomes in a cluster. Source: kubernetes.md, "Detection order"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odin.executors.kubernetes.conditions import part
from odin.executors.kubernetes.kind import Api, Kind, Object
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.jobset import JOBSET, TRAINJOB
from odin.executors.kubernetes.kinds.kubeflow import ELASTIC, MPI, PYTORCH, TF
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.kinds.ray import RAY
from odin.model.errors import NotSupported, Unavailable

# By the name that job files use.
KINDS: Mapping[str, Kind] = {
    "Pod": POD,
    "Job": JOB,
    "PyTorchJob": PYTORCH,
    "TFJob": TF,
    "MPIJob": MPI,
    "ElasticJob": ELASTIC,
    "TrainJob": TRAINJOB,
    "JobSet": JOBSET,
    "RayJob": RAY,
    "gang": GANG,
}
ROWS: tuple[Kind, ...] = tuple(KINDS.values())

# What comes nearest where a kind is not served, nearest first; an ElasticJob is never anything else than PyTorchJob.
NEAREST: Mapping[str, tuple[str, ...]] = {
    "PyTorchJob": ("TrainJob", "JobSet", "gang"),
    "TFJob": ("gang",),
}


@dataclass(frozen=True, slots=True)
class Served:
    """What an API server serves: (group, version, plural) of its resources, and its own (major, minor).

    ``silent`` are groups that do not tell now what they have, with why.
    """

    resources: frozenset[tuple[str, str, str]]
    version: tuple[int, int]
    silent: Mapping[str, str] = field(default_factory=dict)

    def has(self, api: Api) -> bool:
        return (api.group, api.version, api.plural) in self.resources


@dataclass(frozen=True, slots=True)
class Chosen:
    """``said`` is one sentence where the object is of another kind than the file says, else empty."""

    kind: Kind
    api: Api
    said: str = ""


def choose(resource_type: str, served: Served, *, translate: bool = False) -> Chosen:
    """What a task of this kind becomes.

    Raises NotSupported naming what is missing and what brings it, Unavailable while that is not known.
    """
    found = _served(resource_type, served)
    if found is not None:
        said = f"ElasticJob runs as an elastic {found.api.kind}" if resource_type == "ElasticJob" else ""
        return Chosen(found.kind, found.api, said)
    if why := next((served.silent[api.group] for api in _wanted(resource_type) if api.group in served.silent), ""):
        raise Unavailable(f"whether this cluster serves resource_type {resource_type} is not known now: {why}")
    nearest = NEAREST.get(resource_type, ())
    near = next((near for name in nearest if (near := _served(name, served))), None)
    if near is not None and translate:
        said = f"this cluster does not serve {resource_type}; it runs as {near.kind.name}"
        return Chosen(near.kind, near.api, said)
    raise NotSupported(_refusal(resource_type, near))


def candidates(resource_type: str) -> tuple[Api, ...]:
    """Each resource that the object of a task of this kind may be, translated or not."""
    rows = (KINDS[name] for name in (resource_type, *NEAREST.get(resource_type, ())))
    return tuple(dict.fromkeys(api for row in rows for api in row.apis))


def known(seen: Object) -> Kind | None:
    """The row of an object that Odin made, from the object alone; None for what is no top object."""
    kind, spec = seen.get("kind"), part(seen, "spec")
    if kind == "Job":
        return GANG if spec.get("completionMode") == "Indexed" else JOB
    if kind == "PyTorchJob":
        return ELASTIC if spec.get("elasticPolicy") else PYTORCH
    return next((row for row in ROWS if row.apis[0].kind == kind), None)


def _served(name: str, served: Served) -> Chosen | None:
    row = KINDS[name]
    if served.version < row.since or not all(served.has(api) for api in row.needs):
        return None
    return next((Chosen(row, api) for api in row.apis if served.has(api)), None)


def _wanted(name: str) -> tuple[Api, ...]:
    return (*KINDS[name].apis, *KINDS[name].needs)


def _refusal(name: str, near: Chosen | None) -> str:
    row = KINDS[name]
    missing = ", ".join(f"{api.plural} of {api.api_version}" for api in (row.apis[0], *row.needs))
    remedy = f"; {row.remedy}" if row.remedy else ""
    instead = f", or write translate: true to run it as {near.kind.name}" if near else ""
    return f"this cluster does not serve resource_type {name} ({missing}){remedy}{instead}"
