"""Identifiers and how they are built from one another.

A pipeline is ``<name>-<8 random>``, its task ``<pipeline>--<task>``, and an attempt is called as its task, later
ones ``<task id>--2`` and so on. Names contain no ``--``, so every id can be taken apart again. Source: job-files.md.
"""

from __future__ import annotations

import re
from typing import NewType

JobPath = NewType("JobPath", str)
Sha = NewType("Sha", str)
PipelineId = NewType("PipelineId", str)
TaskId = NewType("TaskId", str)
AttemptId = NewType("AttemptId", str)

SUFFIX_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
SUFFIX_LENGTH = 8
LONGEST_OBJECT = 63
LONGEST_ATTEMPT_SUFFIX = len("--99")
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def pipeline_id(name: str, suffix: str) -> PipelineId:
    """The id of a pipeline; ``suffix`` is eight characters of ``SUFFIX_ALPHABET`` from a random source."""
    return PipelineId(f"{name}-{suffix}")


def task_id(pipeline: PipelineId, task: str) -> TaskId:
    return TaskId(f"{pipeline}--{task}")


def attempt_id(task: TaskId, number: int) -> AttemptId:
    """What an attempt is called where it runs; ``number`` counts from 1."""
    return AttemptId(task if number == 1 else f"{task}--{number}")


def split_resource(resource: str) -> tuple[PipelineId, str | None, int | None]:
    """Take a pipeline's, task's or attempt's id apart: ``(pipeline, task name, attempt number)``."""
    pipeline, _, rest = resource.partition("--")
    task, _, number = rest.partition("--")
    return PipelineId(pipeline), task or None, int(number) if number.isdigit() else None
