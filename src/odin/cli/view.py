"""The newest state of a pipeline and its tasks, as the stream tells it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


class View:
    """``tasks`` by id, in the order of the job; ``counts`` says how many are in which status."""

    def __init__(self) -> None:
        self.pipeline: Json = {}
        self.tasks: dict[str, Json] = {}
        self.counts: dict[str, int] = {}

    def take(self, event: str, data: Json) -> list[Json]:
        """Note what the stream said; the tasks whose status or attempt is new, or what holds them up."""
        if event == "task":
            return self._changed([data])
        self.pipeline |= {key: value for key, value in data.items() if key != "tasks"}
        return self._changed(data.get("tasks") or [])

    def _changed(self, tasks: list[Json]) -> list[Json]:
        new = [task for task in tasks if mark(task) != mark(self.tasks.get(task["id"], {}))]
        for task in tasks:
            self._count(self.tasks.get(task["id"]), -1)
            self.tasks[task["id"]] = task
            self._count(task, 1)
        return new

    def _count(self, task: Json | None, more: int) -> None:
        if task is not None:
            status = str(task["status"])
            self.counts[status] = self.counts.get(status, 0) + more

    @property
    def over(self) -> bool:
        return bool(self.pipeline.get("outcome"))


def mark(task: Json) -> tuple[object, object, object]:
    held = task.get("reason") if task.get("status") in ("queued", "executing") else None
    return task.get("status"), task.get("attempt"), held
