"""A pipeline and its tasks as lines of text, for ``odin-status`` and ``odin-run --follow``."""

from __future__ import annotations

from odin.cli.moments import local, span
from odin.cli.screen import Screen
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

TASK_COLUMNS = ("task", "status", "attempt", "exit", "duration", "reason")
ATTEMPT_COLUMNS = ("attempt", "state", "exit", "node", "memory", "duration", "reason")
COLUMNS = ("id", "job", "version", "status", "outcome", "user", "submitted", "duration", "tasks", "context", "error")
USUAL_COLUMNS = ("id", "job", "state", "user", "submitted", "duration", "tasks")


def state(pipeline: Json) -> str:
    """One word: the outcome once there is one, the status before."""
    return str(pipeline.get("outcome") or pipeline.get("status") or "").lower()


def full(screen: Screen, pipeline: Json, now: float) -> list[str]:
    """Header, table of tasks, and why it failed."""
    lines = [header(screen, pipeline, now)]
    if pipeline.get("context"):
        lines.append(f"  {clean(given(pipeline))}")
    lines += [f"  {clean(said)}" for said in relatives(pipeline)]
    if pipeline.get("errorMessage"):
        lines.append("  " + screen.paint(clean(str(pipeline["errorMessage"])), "red"))
    lines += [f"  {screen.paint('note:', 'yellow')} {clean(str(note))}" for note in pipeline.get("warnings") or ()]
    rows = [task_row(task, now) for task in pipeline.get("tasks", ())]
    return [*lines, "", *screen.table(TASK_COLUMNS, rows, right="attempt exit duration")]


def relatives(pipeline: Json) -> list[str]:
    """The pipelines that it goes on from, and that go on from it."""
    before, after = pipeline.get("rerunOf"), pipeline.get("reruns") or ()
    lines = [f"again after {before}"] if before else []
    return lines + ([f"run again by {', '.join(map(str, after))}"] if after else [])


def header(screen: Screen, pipeline: Json, now: float) -> str:
    took = span(pipeline.get("submitTime"), pipeline.get("completionTime"), now)
    version = str(pipeline.get("version") or "")[:8]
    facts = [
        screen.paint(clean(str(pipeline["id"])), "bold"),
        screen.state(state(pipeline)),
        f"job {clean(str(pipeline.get('job')))}" + (f" @ {clean(version)}" if version else ""),
        f"by {clean(str(pipeline['user']))}" if pipeline.get("user") else "",
        f"submitted {local(pipeline.get('submitTime'))}",
        f"took {took}" if pipeline.get("completionTime") else f"for {took}" if took else "",
    ]
    return "  ".join(fact for fact in facts if fact)


def given(pipeline: Json) -> str:
    """What it was launched with, in one line; empty for nothing."""
    values = ", ".join(f"{name}={value}" for name, value in (pipeline.get("context") or {}).items())
    return f"with {values}" if values else ""


def task_row(task: Json, now: float) -> list[str]:
    return [
        str(task["id"]),
        str(task["status"]),
        str(task.get("attempt") or ""),
        number(task.get("exitCode")),
        span(task.get("startTime"), task.get("completionTime"), now),
        str(task.get("reason") or ""),
    ]


def number(value: object) -> str:
    return "" if value is None else str(value)


def one_task(screen: Screen, task: Json, now: float) -> list[str]:
    """A task with all its facts, one a line."""
    command = " ".join(map(str, task["command"])) if isinstance(task.get("command"), list) else task.get("command")
    facts = {
        "status": screen.state(str(task["status"])),
        "reason": clean(str(task.get("reason") or "")),
        "attempt": number(task.get("attempt") or None),
        "exit code": number(task.get("exitCode")),
        "duration": span(task.get("startTime"), task.get("completionTime"), now),
        "submitted": local(task.get("submitTime")),
        "started": local(task.get("startTime")),
        "completed": local(task.get("completionTime")),
        "command": clean(str(command or "")),
        "image": clean(str(task.get("image") or "")),
        "depends": clean(", ".join(map(str, task.get("depends") or ()))),
        "kept from": clean(str(task.get("keptFrom") or "")),
    }
    lines = [f"  {name:<10} {value}" for name, value in facts.items() if value not in ("", "-")]
    rows = [attempt_row(attempt, now) for attempt in task.get("attempts") or ()]
    tried = ["", *screen.table(ATTEMPT_COLUMNS, rows, right="attempt exit memory duration")] if rows else []
    return [screen.paint(clean(str(task["id"])), "bold"), *lines, *tried]


def attempt_row(attempt: Json, now: float) -> list[str]:
    said = attempt.get("message") or ("" if attempt.get("reason") == "exit" else attempt.get("reason"))
    return [
        number(attempt.get("number")),
        str(attempt.get("state") or ""),
        number(attempt.get("exit_code")),
        str(attempt.get("node") or ""),
        size((attempt.get("resources") or {}).get("memory_bytes")),
        span(attempt.get("start_time"), attempt.get("completion_time"), now),
        str(said or ""),
    ]


def size(count: int | None) -> str:
    """Bytes as Kubernetes writes them, rounded."""
    if count is None:
        return ""
    power = next((power for power in (4, 3, 2, 1) if count >= 1024**power), 0)
    return f"{count / 1024**power:.4g}" + ("", "Ki", "Mi", "Gi", "Ti")[power]


def listed(screen: Screen, pipelines: list[Json], columns: tuple[str, ...], now: float) -> list[str]:
    """The table of recent pipelines, newest first."""
    rows = [[cell(pipeline, column, now) for column in columns] for pipeline in pipelines]
    return screen.table(columns, rows, right="duration")


def cell(pipeline: Json, column: str, now: float) -> str:
    match column:
        case "state":
            return state(pipeline)
        case "version":
            return str(pipeline.get("version") or "")[:8]
        case "submitted":
            return local(pipeline.get("submitTime"))
        case "duration":
            return span(pipeline.get("submitTime"), pipeline.get("completionTime"), now)
        case "tasks":
            return progress(pipeline)
        case "context":
            return given(pipeline).removeprefix("with ")
        case "error":
            return str(pipeline.get("errorMessage") or "")
    return str(pipeline.get(column) or "")


def counts(pipeline: Json) -> dict[str, int]:
    """How many tasks are in which status."""
    if "taskCounts" in pipeline:
        return dict(pipeline["taskCounts"])
    statuses = [task["status"] for task in pipeline.get("tasks") or ()]
    return {status: statuses.count(status) for status in dict.fromkeys(statuses)}


def progress(pipeline: Json) -> str:
    """``3/4``, and how many failed."""
    found = counts(pipeline)
    failed = found.get("failed")
    return f"{found.get('executed', 0)}/{sum(found.values())}" + (f", {failed} failed" if failed else "")
