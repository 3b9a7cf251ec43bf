"""A job as its ``main.yml`` says it, checked: plain frozen values that the rest of Odin works with.

``odin.model.jobfile`` makes them from text. Source: job-files.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class Retries:
    """Attempts after the first, by cause of the failure."""

    user: int = 0
    node: int = 3
    preempt: int = 10
    oom: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in the task; without ``claim`` an ephemeral volume of that name."""

    name: str
    path: str
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task. Durations in seconds, CPUs in thousandths of a core, memory in bytes.

    ``depends`` holds names of this job's tasks, without the leading ``^``, each once, in the file's order.
    ``cpu_m`` and ``memory_bytes`` are what the task requests; None where the file says nothing.
    ``cluster`` holds, in snake_case, the fields that only a cluster knows (``node_selector``, ``tolerations``,
    ``secrets``, ``config_maps``, ``labels``, ``queue``, limits of ``cpu`` and ``memory`` …).
    """

    name: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    cpu_m: int | None = None
    memory_bytes: int | None = None
    num_gpus: int = 0
    num_workers: int = 1
    resource_type: str = "Pod"
    inputs: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    retries: Retries = Retries()
    retry_delay_s: float = 10.0
    timeout_s: float | None = None
    pending_timeout_s: float | None = None
    grace_s: float = 30.0
    image_timeout_s: float = 600.0
    lost_after_s: float | None = None
    cluster: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A checked job. ``path`` is its folder (``nlp/sst2``), ``name`` the prefix of its pipelines' ids.

    ``unsupported`` names, with its place, each thing the file says that Odin cannot do yet: pushing such a job
    is fine, launching it is refused. ``warnings`` are sentences for the one who pushes or launches.
    """

    path: str
    name: str
    tasks: tuple[TaskSpec, ...]
    on_failure: Literal["stop", "continue"] = "stop"
    timeout_s: float | None = None
    unsupported: tuple[Any, ...] = ()  # of odin.model.errors.Problem
    warnings: tuple[str, ...] = ()


_SPEC = TypeAdapter(TaskSpec)
LONGEST_KEPT = 4096


def dump_task(task: TaskSpec) -> str:
    """The task as one JSON text, as the store keeps it."""
    return _SPEC.dump_json(task, exclude_defaults=True).decode()


def load_task(text: str) -> TaskSpec:
    """The task that ``dump_task`` wrote. Pipelines of one job have the same texts, so the newest are kept."""
    return _kept(text) if len(text) <= LONGEST_KEPT else _SPEC.validate_json(text)


@lru_cache(maxsize=2048)
def _kept(text: str) -> TaskSpec:
    return _SPEC.validate_json(text)
