"""Pipelines, events and cleanups as the WebSocket tier says them: in snake_case. Fixed by api.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odin.api.answers import moment
from odin.api.shapes import Shape, command, resource_id

if TYPE_CHECKING:
    from odin.store.queries import PipelineView, TaskView


def status(view: PipelineView) -> Shape:
    """A pipeline and its tasks, in the file's order."""
    return {
        "pipeline_status": {
            "label": view.id,
            "job": view.job,
            "version": view.version,
            "status": view.status,
            "submitted": moment(view.submitted_at),
            "completed": moment(view.completed_at),
        },
        "task_statuses": [_task(one) for one in view.tasks],
    }


def _task(view: TaskView) -> Shape:
    return {
        "task": view.id,
        "status": view.status,
        "command": command(view),
        "name": view.name,
        "image": view.spec.image,
        "resource_type": view.spec.resource_type,
        "resource_id": resource_id(view),
        "submitted": moment(view.submitted_at),
        "completed": moment(view.completed_at),
    }


def event(rest: Shape) -> Shape:
    """One entry of a history; ``rest`` is what the REST tier says of it."""
    return {
        "type": rest["eventType"],
        "reason": rest["reason"],
        "source": rest["source"],
        "message": rest["message"],
        "timestamp": rest["timestamp"],
    }


def cleanup(rest: Shape) -> Shape:
    """What was removed of a pipeline or a task; ``rest`` is what the REST tier says of it."""
    return {
        "task_id": rest["taskId"],
        "cleaned_from_k8s": rest["cleanedFromK8s"],
        "purged_from_db": rest["purgedFromDb"],
        "removed_from_fs": rest["removedFromFs"],
    }
