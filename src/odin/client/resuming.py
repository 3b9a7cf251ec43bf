"""How to go on from a pipeline that is over: what is asked for, and the server's plan of it."""

from __future__ import annotations

from odin.client.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Plan(Record):
    """What a resumption would do. Nothing has been begun."""

    __slots__ = ("warnings",)
    pipeline: str  # the one that is resumed
    job: str
    version: str  # the git commit
    tasks: list[
        dict[str, str]
    ]  # of each its name, its action (keep, run, skip) and why, in the order of the job's file
    gone: list[str]  # tasks that the job has no more

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["plan"])
        self.warnings: list[str] = list(answer.get("warnings") or ())

    def names(self, action: str) -> list[str]:
        """The tasks that are to ``keep``, ``run`` or ``skip``."""
        return [task["name"] for task in self.tasks if task["action"] == action]

    def __repr__(self) -> str:
        return f"<Plan {self.pipeline}: keeps {len(self.names('keep'))}, runs {len(self.names('run'))}>"


def body_of(
    *,
    from_task: str | None = None,
    only: str | None = None,
    everything: bool = False,
    at: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of ``POST /v1/pipelines/{id}/rerun``. Raises Usage for more than one choice."""
    from odin.client.errors import Usage
    from odin.client.pipelines import plain_context

    chosen: dict[str, Any] = {}
    chosen |= {"from": "start"} if everything else {}
    chosen |= {"fromTask": from_task} if from_task is not None else {}
    chosen |= {"only": only} if only is not None else {}
    if len(chosen) > 1:
        raise Usage("a pipeline is resumed from one task, or with only one, or whole; choose one of these")
    chosen = chosen or {"from": "failed"}
    chosen |= {"at": at} if at is not None else {}
    return chosen | ({"context": plain_context(context)} if context else {})
