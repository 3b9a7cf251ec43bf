"""The fields of a job file, as one table for reading, for editors and for the API.

Field names match in snake_case and camelCase, some in singular and plural. Null is the same as leaving a field
out. Source: job-files.md, "Fields of a task".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from odin.model.job import Retries
from odin.model.nodes import Scalar
from odin.model.scalars import (
    Count,
    Cpu,
    Depend,
    Duration,
    EnvName,
    Filled,
    Flag,
    Limit,
    Listed,
    Memory,
    Mode,
    Name,
    Named,
    Positive,
    Priority,
    Several,
    Text,
    Tolerations,
    VolumePath,
    one_of,
    what,
    wrong,
)

KINDS: Final = ("Pod", "Job", "PyTorchJob", "TFJob", "MPIJob", "ElasticJob", "TrainJob", "JobSet", "RayJob", "gang")
OPAQUE: Final = frozenset({"env", "labels", "annotations", "node_selector", "outputs"})  # their keys are the author's
SINGULAR: Final = {
    "mount": "mounts",
    "secret": "secrets",
    "config_map": "config_maps",
    "ephem_volume": "ephem_volumes",
}
MOST_ATTEMPTS: Final = 99  # the highest number that an attempt's name has room for
AGAIN: Final = "\0"  # marks a key that says again what another spelling said; no document contains it
_DEFAULT_RETRIES: Final = Retries()


def camel(name: str) -> str:
    """``num_gpus`` as ``numGpus``."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def snake(name: str) -> str:
    """``numGpus`` as ``num_gpus``."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0].lower()}", name)


class Shape(BaseModel):
    """A mapping whose keys are known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    like: ClassVar[str] = "{…}"

    @classmethod
    @cache
    def spellings(cls) -> dict[str, str]:
        """Every way to write a field's name, and the field's name."""
        names = {name: SINGULAR.get(name, name) for name in cls.names()}
        return names | {camel(name): field for name, field in names.items()}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The fields in snake_case, in the singular too."""
        return (*cls.model_fields, *(one for one, many in SINGULAR.items() if many in cls.model_fields))

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, node: Any) -> Any:
        """The mapping under its fields' names; a field said twice under a name that is refused."""
        if not isinstance(node, dict):
            raise wrong(f"this must be a mapping like {cls.like}, not {what(node)}")
        known = cls.spellings()
        fields: dict[str, Any] = {}
        for key, value in node.items():
            name = known[key] if key in known else key  # noqa: SIM401
            if name in known and isinstance(value, Scalar) and value.value is None:
                continue
            fields[AGAIN + key if name in fields else name] = value
        return fields


class MountFields(Shape):
    like = "{name: data, path: /data, claim: data}"
    name: Filled
    path: VolumePath
    claim: Filled | None = None


class SecretFields(Shape):
    like = "{name: keys, path: /keys}"
    name: Filled
    path: VolumePath
    sub_path: Filled | None = None
    mode: Mode | None = None


class ConfigMapFields(Shape):
    like = "{name: settings, path: /settings}"
    name: Filled
    path: VolumePath
    sub_path: Filled | None = None


class EphemVolumeFields(Shape):
    like = "{name: scratch, type: emptyDir}"
    name: Filled
    type: Annotated[str, one_of("emptyDir")] = "emptyDir"
    medium: Annotated[str, one_of("Memory")] | None = None
    size_limit: Memory | None = None


class CpuFields(Shape):
    like = "{requests: 2, limits: 4}"
    requests: Cpu | None = None
    limits: Cpu | None = None


class MemoryFields(Shape):
    like = "{requests: 2Gi, limits: 4Gi}"
    requests: Memory | None = None
    limits: Memory | None = None


class SecurityFields(Shape):
    like = "{run_as_user: 1000}"
    fs_group: Count | None = None
    run_as_group: Count | None = None
    run_as_user: Count | None = None


class RetriesFields(Shape):
    like = "{user: 0, node: 3, preempt: 10, oom: 0}"
    user: Count = _DEFAULT_RETRIES.user
    node: Count = _DEFAULT_RETRIES.node
    preempt: Count = _DEFAULT_RETRIES.preempt
    oom: Count = _DEFAULT_RETRIES.oom

    @model_validator(mode="after")
    def _few(self) -> RetriesFields:
        total = self.user + self.node + self.preempt + self.oom
        if total >= MOST_ATTEMPTS:
            raise wrong(f"the budgets allow {total + 1} attempts together; at most {MOST_ATTEMPTS} are possible")
        return self


def _under(field: str) -> BeforeValidator:
    """One value as the mapping that has only ``field``."""

    def read(node: Any) -> Any:
        return {field: node} if isinstance(node, Scalar) else node

    return BeforeValidator(read)


def _program(command: list[str]) -> list[str]:
    if not command or not command[0]:
        raise wrong("this names no program; write one, or a list that begins with one")
    return command


class TaskFields(Shape):
    """One task of a job."""

    like = "{name: train, command: python, args: [train.py]}"
    name: Name = Field(description="Unique in the job: a-z, 0-9 and -, a letter first.")
    image: Filled | None = Field(None, description="Container image; ignored on one machine.")
    command: Annotated[list[Text], Several, AfterValidator(_program)] = Field(
        description="One program (never a shell line), or a list."
    )
    args: Annotated[list[Text], Several] = Field([], description="Arguments of the program.")
    depends: Annotated[list[Depend], Several] = Field([], description="Tasks that must have succeeded before.")
    mounts: Annotated[list[MountFields], Listed] = Field([], description="Volumes; without claim an ephemeral one.")
    secrets: Annotated[list[SecretFields], Listed] = Field([], description="Secrets as files.")
    config_maps: Annotated[list[ConfigMapFields], Listed] = Field([], description="Config maps as files.")
    ephem_volumes: Annotated[list[EphemVolumeFields], Listed] = Field([], description="Volumes that end with the task.")
    cpu: Annotated[CpuFields, _under("requests")] | None = Field(None, description="Cores: 2, 1.5, 500m.")
    memory: Annotated[MemoryFields, _under("requests")] | None = Field(None, description="Memory: 2Gi, 512M.")
    num_gpus: Count = Field(0, description="GPUs of one worker.")
    num_workers: Positive = Field(1, description="Workers of a distributed kind.")
    node_selector: Annotated[dict[str, Text], Named] = Field({}, description="Labels that a node must have.")
    tolerations: Tolerations = Field([], description="As in Kubernetes.")
    pull_policy: Annotated[str, one_of("Always", "IfNotPresent", "Never")] | None = Field(
        None, description="When the image is pulled."
    )
    security_context: SecurityFields | None = Field(None, description="User and groups in the container.")
    service_account: Filled | None = Field(None, description="Kubernetes service account.")
    priority: Priority | None = Field(None, description="Kubernetes priority.")
    labels: Annotated[dict[str, Text], Named] = Field({}, description="Labels of the pod.")
    annotations: Annotated[dict[str, Text], Named] = Field({}, description="Annotations of the pod.")
    resource_type: Annotated[str, one_of(*KINDS)] = Field(
        "Pod", description="What the task is in a cluster.", json_schema_extra={"enum": list(KINDS)}
    )
    translate: Flag = Field(False, description="Make the nearest kind that the cluster serves.")
    env: Annotated[dict[EnvName, Text], Named] = Field({}, description="Environment variables; ODIN_ is Odin's own.")
    inputs: Annotated[list[Filled], Several] = Field([], description="Paths or references that the task reads.")
    outputs: Annotated[dict[str, Filled], Named] = Field({}, description="Names of what the task produces, to paths.")
    retries: Annotated[RetriesFields, _under("user")] = Field(
        RetriesFields(), description="Attempts after the first, or a budget for each cause."
    )
    retry_delay: Duration = Field(10.0, description="Before the first retry; doubles each time, to 10 minutes.")
    timeout: Limit | None = Field(None, description="Limit of one attempt, from its start.")
    pending_timeout: Limit | None = Field(None, description="Limit of waiting, from submission.")
    grace_period: Duration = Field(30.0, description="Between asking a task to stop and killing it.")
    image_timeout: Limit = Field(600.0, description="For an image that cannot be pulled.")
    lost_after: Limit | None = Field(None, description="When an attempt on an unreachable node is given up.")
    queue: Filled | None = Field(None, description="Kueue's local queue.")
    priority_class: Filled | None = Field(None, description="Kubernetes priority class.")


# The shape of each field that holds one; its own fields are what an unknown key in it is compared with.
SHAPES: Final[Mapping[str | int, type[Shape]]] = {
    "mounts": MountFields,
    "secrets": SecretFields,
    "config_maps": ConfigMapFields,
    "ephem_volumes": EphemVolumeFields,
    "cpu": CpuFields,
    "memory": MemoryFields,
    "security_context": SecurityFields,
    "retries": RetriesFields,
}


class HeadFields(Shape):
    """What stands beside the tasks."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    like = "{name: sst2, tasks: [{name: train, command: python}]}"
    name: Name | None = Field(None, description="Prefix of pipeline ids; default: the folder's name.")
    on_failure: Annotated[str, one_of("stop", "continue")] = Field(
        "stop", description="What becomes of other tasks.", json_schema_extra={"enum": ["stop", "continue"]}
    )
    timeout: Limit | None = Field(None, description="Limit of the whole pipeline.")


class JobFields(HeadFields):
    """A job: a name and its tasks. Other keys are allowed, for YAML anchors."""

    model_config = ConfigDict(extra="allow", frozen=True, title="Odin job file")
    tasks: list[TaskFields] | None = Field(description="In any order; dependencies decide what runs when.")


def spellings() -> dict[str, str]:
    """Every way to write any field of any shape, and the field's name."""
    known: dict[str, str] = {}
    shapes: tuple[type[Shape], ...] = (JobFields, TaskFields, *SHAPES.values())
    for shape in shapes:
        known |= shape.spellings()
    return known
