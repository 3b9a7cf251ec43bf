"""A pipeline, its tasks, and what happens to them, as ``GET /v1/pipelines/{id}`` and the streams tell it."""

from __future__ import annotations

from odin.client.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any

    from odin.client.client import Client
    from odin.client.history import Cleanup, Events
    from odin.client.resuming import Plan

FINAL = frozenset({"executed", "failed", "terminated", "skipped"})  # states of a task that stay


class Task(Record):
    """One task of a pipeline. Moments are ISO 8601 in UTC, None for what has not happened."""

    __slots__ = ("_client",)
    id: str
    name: str
    command: str
    image: str | None
    resource_type: str
    resource_id: str
    status: str  # waiting, queued, executing, executed, failed, terminated, skipped
    reason: str | None
    attempt: int
    exit_code: int | None
    depends: list[str]
    kept_from: str | None  # the pipeline that it ran in, where this one resumes another and keeps it
    submit_time: str | None
    start_time: str | None
    completion_time: str | None
    _client: Client

    def __init__(self, raw: dict[str, Any], client: Client) -> None:
        super().__init__(raw)
        self._client = client

    @property
    def over(self) -> bool:
        """Whether it will not run any more."""
        return self.status in FINAL

    def log(self, *, lines: int | None = None, attempt: int | None = None) -> str:
        """What it wrote so far, at most the last 10 MiB; ``attempt`` counts from 1, None is the newest."""
        return self._client.log(self.id, lines=lines, attempt=attempt)

    def follow_log(self, *, lines: int | None = None, attempt: int | None = None) -> Generator[str]:
        """Its lines as they come, to its end. See ``Client.follow_lines``."""
        return self._client.follow_lines(self.id, lines=lines, attempt=attempt)

    def data(self) -> dict[str, Any]:
        """What the database holds on it, with its attempts."""
        return self._client.data(self.id)

    def events(self) -> Events:
        """What happened to it, oldest first."""
        return self._client.events(self.id)

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.status}>"

    def _repr_html_(self) -> str:
        from odin.client.html import task

        return task(self)


class Pipeline(Record):
    """One run of a job, as it was when the server was last asked; ``refresh`` asks again.

    One that was just launched knows its ``id``, ``name`` and ``job``; the rest is asked for when it is first wanted.

        >>> pipeline = client.run("hello")
        >>> pipeline.wait().outcome
        'succeeded'
        >>> print(pipeline.task("train").log())
    """

    __slots__ = ("_client",)
    id: str
    name: str
    job: str
    version: str  # the git commit
    user: str | None
    context: dict[str, Any]
    status: str  # BUILDING, RUNNING, DONE, TERMINATED
    outcome: str | None  # succeeded, failed, cancelled
    error_message: str | None
    warnings: list[str]
    rerun_of: str | None  # the pipeline that it runs again, or resumes
    reruns: list[str] | None  # those that run it again, or resume it; None where there are none
    submit_time: str
    completion_time: str | None
    _client: Client

    def __init__(self, raw: dict[str, Any], client: Client) -> None:
        super().__init__(raw)
        self._client = client

    def _fact(self, key: str) -> Any:
        if key not in self.raw and (key == "tasks" or "status" not in self.raw):
            self.refresh()
        return self.raw.get(key)

    @property
    def tasks(self) -> list[Task]:
        """In the order of the job's file."""
        return [Task(raw, self._client) for raw in self._fact("tasks") or ()]

    @property
    def task_counts(self) -> dict[str, int]:
        """How many tasks are in which state."""
        if "taskCounts" in self.raw:
            return dict(self.raw["taskCounts"])
        statuses = [raw["status"] for raw in self._fact("tasks") or ()]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)}

    @property
    def over(self) -> bool:
        """Whether it has an outcome."""
        return self.outcome is not None

    def task(self, name: str) -> Task:
        """The task of this name or id. Raises NotFound."""
        for raw in self._fact("tasks") or ():
            if name in (raw["name"], raw["id"]):
                return Task(raw, self._client)
        import difflib

        from odin.client.errors import NotFound

        near = difflib.get_close_matches(name, [task.name for task in self.tasks], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NotFound(f'pipeline "{self.id}" has no task "{name}"{hint}')

    def refresh(self) -> Pipeline:
        """Ask the server again; this same object, with what is true now."""
        self.raw = self._client.pipeline(self.id).raw
        return self

    def follow(self, *, tick_s: float | None = None, notice: Callable[[str], None] | None = None) -> Generator[Change]:
        """Its changes as they happen; see ``Client.follow``. This object follows along."""
        changes = self._client.follow(self.id, tick_s=tick_s, notice=notice)
        try:
            for change in changes:
                change.enter(self.raw)
                yield change
        finally:
            changes.close()

    def wait(self, timeout_s: float | None = None) -> Pipeline:
        """Return once it is over; this same object. Raises TimeoutError after ``timeout_s`` seconds."""
        from odin.client.waiting import wait

        wait(self, timeout_s)
        return self

    def cancel(self) -> Pipeline:
        """Stop it and keep everything. Raises Conflict when it is over."""
        self.raw = self._client.cancel(self.id).raw
        return self

    def rerun(self) -> Pipeline:
        """Run the same commit again, as a new pipeline."""
        return self._client.rerun(self.id)

    def resume(
        self,
        *,
        from_task: str | None = None,
        only: str | None = None,
        everything: bool = False,
        at: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """Go on from where it ended, as a new pipeline; see ``Client.resume``."""
        return self._client.resume(
            self.id, from_task=from_task, only=only, everything=everything, at=at, context=context
        )

    def plan(
        self,
        *,
        from_task: str | None = None,
        only: str | None = None,
        everything: bool = False,
        at: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Plan:
        """What ``resume`` would do."""
        return self._client.plan(self.id, from_task=from_task, only=only, everything=everything, at=at, context=context)

    def cleanup(self, *, db: bool = False, fs: bool = False, dry_run: bool = False) -> list[Cleanup]:
        """Stop it and remove what it made; see ``Client.cleanup``."""
        return self._client.cleanup(self.id, db=db, fs=fs, dry_run=dry_run)

    def log(self, task: str, *, lines: int | None = None, attempt: int | None = None) -> str:
        """What the task of this name wrote so far."""
        return self._client.log(self.task(task).id, lines=lines, attempt=attempt)

    def logs(self) -> dict[str, str]:
        """The logs of all tasks that have begun, by their names."""
        return {task.name: task.log() for task in self.tasks if task.attempt}

    def data(self) -> dict[str, Any]:
        """What the database holds on it."""
        return self._client.data(self.id)

    def events(self) -> Events:
        """What happened to it and its tasks, oldest first."""
        return self._client.events(self.id)

    def files(self) -> dict[str, str]:
        """The files that were rendered for it alone, by their names."""
        return {name: self._client.pipeline_file(self.id, name) for name in self._client.pipeline_files(self.id)}

    def __repr__(self) -> str:
        state = self.raw.get("outcome") or self.raw.get("status") or "launched"
        return f"<Pipeline {self.id} {state.lower()}>"

    def __str__(self) -> str:
        from odin.client.plain import pipeline

        return pipeline(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else str(self))

    def _repr_html_(self) -> str:
        from odin.client.html import pipeline

        return pipeline(self)


class Change:
    """Something that happened, as a stream tells it.

    ``event`` is ``pipeline``, ``task`` or ``end`` when one pipeline is followed; ``pipeline``, ``removed`` or
    ``ready`` when all are watched; ``tick`` when nothing came for as long as the caller asked to be told. ``data`` is
    the API's object, ``position`` where the stream would go on.
    """

    __slots__ = ("_client", "data", "event", "position")
    __match_args__ = ("event", "data")

    def __init__(self, event: str, data: dict[str, Any], position: str, client: Client) -> None:
        self.event = event
        self.data = data
        self.position = position
        self._client = client

    @property
    def pipeline(self) -> Pipeline | None:
        """The pipeline as it is now; None when the event is another's."""
        return Pipeline(self.data, self._client) if self.event in ("pipeline", "end") else None

    @property
    def task(self) -> Task | None:
        """The task as it is now; None when the event is another's."""
        return Task(self.data, self._client) if self.event == "task" else None

    def enter(self, pipeline: dict[str, Any]) -> None:
        """Bring a pipeline's raw object up to date."""
        if self.event in ("pipeline", "end"):
            pipeline.update(self.data)
        for index, task in enumerate(pipeline.get("tasks") or ()):
            if self.event == "task" and task["id"] == self.data["id"]:
                pipeline["tasks"][index] = self.data
                return

    def __repr__(self) -> str:
        state = str(self.data.get("outcome") or self.data.get("status") or "").lower()
        return f"<{' '.join(word for word in ('Change', self.event, str(self.data.get('id', '')), state) if word)}>"
