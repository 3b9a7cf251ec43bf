"""What the place where tasks run tells of them in its own words: the events of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from odin.model.ids import AttemptId


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, told again with a higher ``count`` when it comes again; ``uid`` tells it from others.

    It is about the object called ``name`` of ``kind``. ``attempt`` is whose that is, where that is known; else the
    name says it. ``at`` is POSIX seconds, the last time. ``type`` is Normal or Warning, ``source`` who says it.
    """

    uid: str
    kind: str
    name: str
    attempt: AttemptId | None
    at: float
    count: int
    type: str
    reason: str
    source: str
    message: str


def owner(name: str, tasks: Iterable[str]) -> tuple[str, int] | None:
    """The task, and the number of the attempt, of an object by its name after the pipeline's and ``--``.

    Objects are called as their attempt, and what is made of them has something after that and a hyphen.
    """
    rest = f"{name}-"
    task = max((task for task in tasks if rest.startswith(f"{task}-")), key=len, default=None)
    if task is None:
        return None
    number = rest.removeprefix(f"{task}--").partition("-")[0] if rest.startswith(f"{task}--") else ""
    return task, int(number) if number.isdecimal() else 1
