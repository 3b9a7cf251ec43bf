"""A task's fields as the plain values that the rest of Odin works with, and what Odin cannot do yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odin.model.fields import TaskFields
from odin.model.job import Mount, Retries, TaskSpec
from odin.model.nodes import Step

_CLUSTER_VALUES = (
    "node_selector",
    "tolerations",
    "pull_policy",
    "service_account",
    "priority",
    "labels",
    "annotations",
    "translate",
    "queue",
    "priority_class",
)


def spec(task: TaskFields, depends: tuple[str, ...]) -> TaskSpec:
    """The task; ``depends`` as checked, each name once."""
    return TaskSpec(
        name=task.name,
        command=tuple(task.command),
        args=tuple(task.args),
        depends=depends,
        image=task.image,
        env=task.env,
        mounts=tuple(Mount(mount.name, mount.path, mount.claim) for mount in task.mounts),
        cpu_m=_requested(task.cpu),
        memory_bytes=_requested(task.memory),
        num_gpus=task.num_gpus,
        num_workers=task.num_workers,
        resource_type=task.resource_type,
        inputs=tuple(task.inputs),
        outputs=task.outputs,
        retries=Retries(**task.retries.model_dump()),
        retry_delay_s=task.retry_delay,
        timeout_s=task.timeout,
        pending_timeout_s=task.pending_timeout,
        grace_s=task.grace_period,
        image_timeout_s=task.image_timeout,
        lost_after_s=task.lost_after,
        cluster=_cluster(task),
    )


def _requested(amounts: Any) -> int | None:
    """What is asked for; a limit alone asks for as much, as in Kubernetes."""
    if amounts is None:
        return None
    asked: int | None = amounts.limits if amounts.requests is None else amounts.requests
    return asked


def _cluster(task: TaskFields) -> dict[str, Any]:
    """The fields that only a cluster knows, as far as the file gives them."""
    given = {name: getattr(task, name) for name in _CLUSTER_VALUES if name in task.model_fields_set}
    for name in ("secrets", "config_maps", "ephem_volumes"):
        if shapes := getattr(task, name):
            given[name] = [shape.model_dump(exclude_none=True) for shape in shapes]
    if task.security_context:
        given["security_context"] = task.security_context.model_dump(exclude_none=True)
    if task.cpu and task.cpu.limits is not None:
        given["cpu_limit_m"] = task.cpu.limits
    if task.memory and task.memory.limits is not None:
        given["memory_limit_bytes"] = task.memory.limits
    return given


def texts(task: TaskFields) -> Iterator[tuple[tuple[Step, ...], str]]:
    """Every text in which variables and references stand, with its place in the task."""
    for field, listed in (("command", task.command), ("args", task.args), ("inputs", task.inputs)):
        for k, text in enumerate(listed):
            yield (field, k), text
    for field, named in (("env", task.env), ("outputs", task.outputs)):
        for name, text in named.items():
            yield (field, name), text
    for k, mount in enumerate(task.mounts):
        yield ("mounts", k, "path"), mount.path


def unsupported(task: TaskFields) -> Iterator[tuple[str, str]]:
    """Fields that Odin reads and cannot carry out yet, each with the feature's name."""
    if task.outputs:
        yield "outputs", "outputs"
