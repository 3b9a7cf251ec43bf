"""What the executor knows of one attempt: its object as last seen, and what was asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.kind import Api, Kind, Object
from odin.executors.kubernetes.kinds import whole
from odin.executors.kubernetes.sights import Over, Sight
from odin.executors.protocol import TaskLaunch
from odin.model.ids import AttemptId
from odin.model.reports import Reason

AHEAD_S = 1.0  # Kubernetes tells whole seconds


@dataclass(frozen=True, slots=True)
class Doom:
    """It must end, and why; asked for at ``at``, POSIX seconds."""

    reason: Reason
    message: str
    grace_s: float
    at: float


@dataclass(slots=True)
class Body:
    """One attempt. ``uid`` is empty until its object was seen; ``pods`` are those of a kind with several, by name.

    ``kept`` means that nothing is owed any more: the end is recorded, the log kept, the finalizer gone.
    """

    attempt: AttemptId
    kind: Kind | None = None
    api: Api | None = None
    launch: TaskLaunch | None = None
    object: Object = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    is_creating: bool = False
    doom: Doom | None = None
    told: Sight | None = None
    why_not_made: str = ""
    over: Over | None = None
    is_acknowledged: bool = False
    is_kept: bool = False
    is_forgotten: bool = False
    troubled_since: float | None = None

    @property
    def uid(self) -> str:
        return str(_metadata(self.object).get("uid", ""))

    @property
    def is_over(self) -> bool:
        return self.over is not None

    @property
    def is_void(self) -> bool:
        """Its name is filled so that nothing can start under it."""
        return marks.VOID in labels(self.object)

    def take(self, seen: Object) -> bool:
        """Note a newer state of the object; False for one that is older than what is known, or another's."""
        if self.uid and self.uid != _metadata(seen).get("uid"):
            return False
        if version(seen) < version(self.object):
            return False
        self.object = seen
        return True

    def main_pod(self) -> Object | None:
        """The pod whose log is the task's, if it was seen."""
        if self.kind is None:
            return None
        if self.object.get("kind") == "Pod":
            return self.object
        found = [pod for pod in self.pods.values() if self.kind.main(pod)]
        return max(found, key=version, default=None)

    def sight(self) -> Sight | None:
        """What its objects say now, in the light of what was asked of it; an end once seen stays."""
        if self.over is not None or self.kind is None or not self.object:
            return self.over
        seen = whole.read(self.kind, self.object, self.pods.values(), stopping=self.doom is not None)
        return self._judged(seen) if isinstance(seen, Over) else seen

    def _judged(self, seen: Over) -> Over:
        """An end that was asked for has the reason that it was asked for; one before that has its own."""
        doom = self.doom
        if doom is None or (seen.ended_at is not None and seen.ended_at < doom.at - AHEAD_S):
            return seen
        never = seen.started_at is None and doom.reason is Reason.STOPPED
        return Over(
            seen.code,
            Reason.VOID if never else doom.reason,
            doom.message,
            seen.started_at,
            seen.ended_at,
        )


def _metadata(seen: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = seen.get("metadata") or {}
    return found


def labels(seen: Object) -> Mapping[str, str]:
    """The labels of an object; none if it has none."""
    found: Mapping[str, str] = _metadata(seen).get("labels") or {}
    return found


def version(seen: Object) -> int:
    """How new it is: larger is newer, for states of one object. 0 where that is not told as a number."""
    told = str(_metadata(seen).get("resourceVersion", ""))
    return int(told) if told.isdecimal() else 0
