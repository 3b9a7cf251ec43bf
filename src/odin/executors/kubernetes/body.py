"""What the executor knows of one attempt: its object as last seen, and what was asked and told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes import podstatus
from odin.executors.kubernetes.kind import Api, Kind, Object
from odin.executors.kubernetes.kinds import whole
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.executors.protocol import TaskLaunch
from odin.model.ids import AttemptId
from odin.model.reports import Reason

AHEAD_S = 1.0  # Kubernetes tells whole seconds


@dataclass(frozen=True, slots=True)
class Doom:
    """It must end, and why; asked for at ``at``, POSIX seconds.

    ``is_lost``: its node will never tell of its end, so that it is over once the API server has taken its removal.
    """

    reason: Reason
    message: str
    grace_s: float
    at: float
    is_lost: bool = False


@dataclass(slots=True, eq=False)
class Body:
    """One attempt. ``uid`` is empty until its object was seen; ``pods`` are those of a kind with several, by uid.

    ``resource_type`` is as the job file says. ``unsure_until`` (monotonic) is until when a create that nobody has
    heard of may still arrive. ``asked`` is the doom that the API server was told of. ``hint`` is why it waits, where
    only its events say so, ``queue`` what Kueue says of that, and ``verdict`` who deleted it. ``outputs`` are those
    that are kept. ``is_kept`` means that nothing is owed any more: the end is recorded, the log kept, the finalizer
    gone. ``hurry`` is set once somebody waits for that. ``bereft`` are the pods, by uid, whose removal was asked for
    because the whole is deleted and nobody else removes them.
    """

    attempt: AttemptId
    resource_type: str = ""
    kind: Kind | None = None
    api: Api | None = None
    launch: TaskLaunch | None = None
    object: Object = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    unsure_until: float = 0.0
    doom: Doom | None = None
    asked: Doom | None = None
    told: Sight | None = None
    held: str = ""
    hint: Waits = field(default_factory=Waits)
    queue: str = ""
    verdict: tuple[Reason, str] | None = None
    is_examined: bool = False
    over: Over | None = None
    is_acknowledged: bool = False
    is_kept: bool = False
    outputs: str = ""
    errand: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    bereft: set[str] = field(default_factory=set)

    @property
    def uid(self) -> str:
        return uid(self.object)

    @property
    def is_over(self) -> bool:
        return self.over is not None

    @property
    def is_unsure(self) -> bool:
        """Whether its object may still come to be, by a create that was sent."""
        return time.monotonic() < self.unsure_until

    def take(self, seen: Object, *, restored: bool = False) -> bool:
        """Note a newer state of the object; False for one that is older than what is known, or another's.

        ``restored``: versions have gone back, so that this one is the newest whatever its number.
        """
        if self.uid and self.uid != uid(seen):
            return False
        if version(seen) < version(self.object) and not restored:
            return False
        self.object = seen
        return True

    def take_pod(self, pod: Object, *, is_gone: bool = False, restored: bool = False) -> None:
        """Note a newer state of one of its pods; the end of one that is gone still counts."""
        known = self.pods.get(uid(pod), {})
        if restored or version(pod) >= version(known):
            self.pods[uid(pod)] = podstatus.gone(pod) if is_gone else pod

    def main_pod(self) -> Object | None:
        """The pod whose log is the task's, if it was seen."""
        if self.kind is None:
            return None
        if self.object.get("kind") == "Pod":
            return self.object
        return whole.main_pod(self.kind, self.pods.values())

    def left_behind(self) -> list[Object]:
        """Its pods that run on though it is deleted, and whose removal was not asked for yet."""
        if self.kind is None or not is_deleted(self.object):
            return []
        found = whole.left_behind(self.kind, self.object, self.pods.values())
        return [pod for pod in found if uid(pod) not in self.bereft]

    def sight(self) -> Sight | None:
        """What its objects say now, in the light of what was asked of it; an end once seen stays."""
        if self.over is not None or self.kind is None or not self.object:
            return self.over
        seen = whole.read(self.kind, self.object, self.pods.values(), stopping=self.doom is not None)
        if isinstance(seen, Over):
            return self._judged(seen)
        if isinstance(seen, Waits) and seen.suspended and self.queue:
            return replace(seen, why=self.queue)
        return self.hint if seen == Waits() else seen

    def _judged(self, seen: Over) -> Over:
        """An end that was asked for has the reason that it was asked for; one before that has its own."""
        doom = self.doom
        if doom is None and self.verdict is not None and seen.reason is Reason.DELETED:
            reason, message = self.verdict
            return replace(seen, reason=reason, message=message)
        if doom is None or (seen.ended_at is not None and seen.ended_at < doom.at - AHEAD_S):
            return seen
        never = seen.started_at is None and doom.reason is Reason.STOPPED
        return replace(seen, reason=Reason.VOID if never else doom.reason, message=doom.message)

    def last_words(self) -> Over:
        """How it ended, now that its object is no more."""
        last = self.sight()
        if isinstance(last, Over):
            return last
        started = last.at if isinstance(last, Runs) else None
        if self.doom is not None:
            never = started is None and self.doom.reason is Reason.STOPPED
            return Over(None, Reason.VOID if never else self.doom.reason, self.doom.message, started, time.time())
        message = "its object was removed from the cluster by force, so how it ended cannot be known"
        return Over(None, Reason.LOST, message, started, time.time())


def _metadata(seen: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = seen.get("metadata") or {}
    return found


def uid(seen: Object) -> str:
    return str(_metadata(seen).get("uid", ""))


def name(seen: Object) -> str:
    return str(_metadata(seen).get("name", ""))


def labels(seen: Object) -> Mapping[str, str]:
    """The labels of an object; none if it has none."""
    found: Mapping[str, str] = _metadata(seen).get("labels") or {}
    return found


def is_void(seen: Object) -> bool:
    """Whether it fills a name so that nothing can start under it."""
    return marks.VOID in labels(seen)


def is_deleted(seen: Object) -> bool:
    return "deletionTimestamp" in _metadata(seen)


def is_removed(seen: Object) -> bool:
    """Whether it would be no more, were it not for finalizers."""
    return is_deleted(seen) and _metadata(seen).get("deletionGracePeriodSeconds") == 0


def version(seen: Object) -> int:
    """How new it is: larger is newer, for states of one object. 0 where that is not told as a number."""
    told = str(_metadata(seen).get("resourceVersion", ""))
    return int(told) if told.isdecimal() else 0
