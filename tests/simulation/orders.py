"""Random jobs: graphs of 1 to 12 tasks with budgets, timeouts and wishes for CPUs and GPUs.

A job is known by a number alone, so that schedules share them: making one costs more than running one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from odin.model.job import Retries, TaskSpec

JOBS = 2048
COMMAND = ("/bin/true",)


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    tasks: tuple[TaskSpec, ...]
    on_failure: str
    timeout_s: float | None


@lru_cache(maxsize=JOBS)
def job(number: int) -> Job:
    """Job ``number`` of ``JOBS``; the same in every process."""
    rng = Random(number)
    count = min(rng.randint(1, 12), rng.randint(1, 12))
    tasks: list[TaskSpec] = []
    for idx in range(count):
        parents = rng.sample(tasks, min(idx, rng.choice((0, 1, 1, 1, 2, 3))))
        tasks.append(_task(rng, f"t{idx}", tuple(parent.name for parent in parents)))
    timeout_s = rng.choice((None, None, None, 5.0, 60.0, 400.0))
    return Job(f"j{number}", tuple(tasks), rng.choice(("stop", "continue")), timeout_s)


def _task(rng: Random, name: str, depends: tuple[str, ...]) -> TaskSpec:
    return TaskSpec(
        name,
        COMMAND,
        depends=depends,
        cpu_m=rng.choice((None, None, 500, 2000, 0)),
        num_gpus=rng.choice((0, 0, 0, 0, 1, 2)),
        retries=Retries(*(rng.choice((0, 0, 1, 2)) for _ in range(4))),
        retry_delay_s=rng.choice((0.0, 0.5, 10.0)),
        timeout_s=rng.choice((None, None, None, 10.0)),
        pending_timeout_s=rng.choice((None, None, None, None, 20.0)),
        grace_s=rng.choice((0.0, 5.0, 30.0)),
    )
