"""What pods did by their own account, where the nodes are this machine: one line at each start and each end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clusters import Place


class Ledger:
    """A file that tasks append to, by one write a line."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o777)
        self.path = folder / "ledger"
        self.path.touch()
        self.path.chmod(0o666)

    def task(
        self, name: str, *, seconds: float = 0.0, later: float | None = None, code: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """One that says when it starts and ends; attempts after the first take ``later`` seconds, if that is given."""
        start, end = (f"echo {word} $ODIN_TASK_ID $ODIN_ATTEMPT >> {self.path}" for word in ("start", "end"))
        length = seconds if later is None else f"$(test $ODIN_ATTEMPT = 1 && echo {seconds} || echo {later})"
        script = f"{start}; sleep {length}; {end}; exit {code}"
        return {"name": name, "script": script, **fields}

    def tasks(self, count: int, **fields: Any) -> list[dict[str, Any]]:
        return [self.task(f"t{number}", **fields) for number in range(count)]

    def lines(self) -> list[tuple[str, str, str]]:
        """(start or end, task, attempt)"""
        return [tuple(line.split()) for line in self.path.read_text().splitlines()]  # type: ignore[misc]

    def starts(self) -> Counter[tuple[str, str]]:
        """How often each attempt began."""
        return Counter((task, attempt) for word, task, attempt in self.lines() if word == "start")

    def most_at_once(self) -> int:
        running = most = 0
        for word, _, _ in self.lines():
            running += 1 if word == "start" else -1
            most = max(most, running)
        return most

    def judge(self, odin: Place, pipeline: str, names: Iterable[str]) -> None:
        """Every task ran once, in its first attempt, and has one object."""
        done = odin.api.finished(pipeline)
        fates = {name: (task["status"], task["attempt"], task["reason"]) for name, task in done["tasks"].items()}
        assert (done["status"], done["outcome"]) == ("DONE", "succeeded"), fates
        assert {attempt for _, attempt, _ in fates.values()} == {1}, fates
        ids = [f"{pipeline}--{name}" for name in names]
        assert self.starts() == {(task, "1"): 1 for task in ids}, self.starts()
        assert sorted(each["metadata"]["name"] for each in odin.objects("pods", pipeline)) == sorted(ids)


def reachable(folder: Path) -> Ledger:
    """One in a temporary folder of pytest's, into which users that are nobody here can come."""
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    return Ledger(folder)
