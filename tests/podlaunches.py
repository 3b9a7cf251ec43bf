"""Attempts as an executor in a cluster is given them, and the objects that every kind makes of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from odin.executors.kubernetes import labels
from odin.executors.kubernetes.delivery import config_maps
from odin.executors.kubernetes.kind import Object, Order
from odin.executors.kubernetes.kinds.table import ROWS
from odin.executors.kubernetes.paths import PodPaths
from odin.executors.kubernetes.podspec import template
from odin.executors.kubernetes.site import Site
from odin.executors.protocol import Origin, TaskLaunch
from odin.model.ids import AttemptId, JobPath, PipelineId, Sha, task_id
from odin.model.job import TaskSpec
from odin.model.variables import expand_task

PIPELINE = PipelineId("sst2-0000000a")
JOB = JobPath("nlp/sst2")
VERSION = Sha("a" * 40)
FILES = {"nlp/sst2/main.yml": (b"tasks: []\n", False), "nlp/sst2/train.py": (b"#!/usr/bin/python3\n", True)}
SITE = Site("store-1", "odin", url="http://odin:9003")
SHARED = Site("store-1", "odin", url="http://odin:9003", data_claim="odin-shared")


def task(name: str = "train", **fields: Any) -> TaskSpec:
    given = {"command": ("python3",), "args": ("${WORK_PATH}/train.py",), "image": "example/trainer:1", **fields}
    return TaskSpec(name, **given)


def launch(spec: TaskSpec | None = None, *, site: Site = SITE, number: int = 1, own_work: bool = False) -> TaskLaunch:
    """The launch that the engine builds for a task in a cluster."""
    spec = spec or task()
    paths = PodPaths(has_claim=site.data_claim is not None)
    values = paths.values(PIPELINE, VERSION, JOB, spec.name, own_work=own_work)
    spec = expand_task(spec, values)
    attempt = AttemptId(task_id(PIPELINE, spec.name))
    own = {f"ODIN_{name}": value for name, value in values.items()}
    return TaskLaunch(
        attempt=attempt,
        fence=3,
        argv=(*spec.command, *spec.args),
        env={**spec.env, **own, **paths.files(PIPELINE, attempt), "ODIN_ATTEMPT": str(number)},
        work=values["TASK_PATH"],
        make=(values["TASK_PATH"],),
        timeout_s=spec.timeout_s,
        grace_s=spec.grace_s,
        spec=spec,
        origin=Origin(PIPELINE, spec.name, number, JOB, VERSION, "ann", own_work),
    )


def marks(site: Site = SITE) -> dict[str, str]:
    return labels.of(launch(site=site), site.store)


def pod(spec: TaskSpec | None = None, site: Site = SITE, **given: Any) -> Object:
    """The template of a task's pods."""
    if site.data_claim is None:
        given.setdefault("files", config_maps(PIPELINE, FILES, {})[1])
    of = launch(spec, site=site)
    return template(of, site, labels.of(of, site.store), **given)


def kinds() -> list[Any]:
    """Each row of the table, with a name for a test."""
    return [(f"{row.name}-{idx}", row) for idx, row in enumerate(ROWS)]


def built(row: Any, made: Object, spec: TaskSpec | None = None) -> list[Object]:
    """What a kind makes of a pod template."""
    metadata = {
        "name": f"{PIPELINE}--train",
        "labels": marks(),
        "annotations": {labels.FENCE: "3", labels.IMAGE_TIMEOUT: "600"},
        "finalizers": [labels.FINALIZER],
    }
    return list(row.build(Order(launch(spec), metadata, made, row.apis[0])))


def edit(*steps: Any, to: Any) -> Callable[[Object], None]:
    """A change of an object: the value at a place, made where it is missing; ``+`` stands for a new item of a list."""
    return partial(_edit, steps, to)


def _edit(steps: tuple[Any, ...], value: Any, node: Any) -> None:
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        fresh = [] if following == "+" or isinstance(following, int) else {}
        put = value if following is None else fresh
        if step == "+":
            node.append(put)
            node = node[-1]
        elif following is None:
            node[step] = put
        elif isinstance(step, int):
            node = node[step]
        else:
            node = node.setdefault(step, put)
