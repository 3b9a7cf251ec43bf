"""What the runner of a data folder has written down, read beside it: which attempts run as processes here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from odin.executors.runner.journal import good_lines
from odin.executors.runner.spawn import Logs
from odin.model.ids import AttemptId

STARTED_FIELD = 21  # of /proc/PID/stat, counted from 0
STATE_FIELD = 2


@dataclass(frozen=True, slots=True)
class Process:
    attempt: AttemptId
    pid: int


def running(data: Path) -> list[Process]:
    """The attempts that were started and have not ended, whose process lives."""
    found: dict[str, dict[str, int]] = {}
    with suppress(FileNotFoundError):
        for record in good_lines((data / "runner" / "journal").read_bytes())[0]:
            if record["op"] == "started":
                found[record["id"]] = record
            elif record["op"] == "ended":
                found.pop(record["id"], None)
    return [
        Process(AttemptId(name), record["pid"]) for name, record in sorted(found.items()) if _lives(data, name, record)
    ]


def _lives(data: Path, attempt: str, record: dict[str, int]) -> bool:
    """The process of that number and moment; without /proc, whoever holds the log."""
    if not record["pid"]:
        return False
    try:
        fields = Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return not Path("/proc/self/stat").exists() and Logs(str(data / "logs")).held(attempt)
    started, state = fields[STARTED_FIELD - STATE_FIELD], fields[0]
    return int(started) == record["born"] and state != "Z"
