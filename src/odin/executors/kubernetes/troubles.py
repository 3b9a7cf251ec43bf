"""What events say that no status does: why a pod hangs in ContainerCreating, why an operator makes no pods. Pure.

Source: kubernetes.md, "Semantics per kind"; reliability.md, F-20 and F-26.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from odin.executors.kubernetes.conditions import moment, part, words
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.sights import Over, Waits
from odin.model.reports import Reason

FATAL = frozenset({"TrainJobResourcesCreationFailed"})  # its operator sets no condition, ever

# Whether it counts as something that is missing, which ends the attempt in time.
HINDRANCES: Mapping[str, bool] = {
    "FailedMount": True,
    "FailedAttachVolume": False,
    "FailedCreatePodSandBox": False,
    "NetworkNotReady": False,
    "FailedCreate": False,
    "FailedCreatePod": False,
    "FailedCreateService": False,
    "JobCreationFailed": False,
    "FailedToCreateHeadPod": False,
    "FailedToCreateWorkerPod": False,
    "FailedToCreateRayCluster": False,
}

# After these an earlier hindrance is overcome.
PROGRESS = frozenset({
    "Pulling", "Pulled", "Created", "Started", "SuccessfulMountVolume", "SuccessfulAttachVolume", "SuccessfulCreate",
})  # fmt: skip

# Why a pod was deleted, on API servers that set no DisruptionTarget.
REMOVALS: Mapping[str, Reason] = {
    "Preempted": Reason.PREEMPTED,
    "Preempting": Reason.PREEMPTED,
    "TaintManagerEviction": Reason.NODE_LOST,
    "NodeControllerEviction": Reason.NODE_LOST,
    "Evicted": Reason.EVICTED,
}


def waiting(events: Collection[Object]) -> Waits | Over | None:
    """What the newest event that matters says of an object, or a pod of it, that does not run."""
    found, progress = _newest(events, HINDRANCES.keys() | FATAL), _newest(events, PROGRESS)
    if found is None or (progress is not None and _at(progress) > _at(found)):
        return None
    if found["reason"] in FATAL:
        return Over(None, Reason.REFUSED, f"its operator cannot make its pods: {words(found)}", None, _at(found))
    return Waits(words(found), config=HINDRANCES[found["reason"]])


def removal(events: Iterable[Object]) -> tuple[Reason, str] | None:
    """Who took a pod away, and in whose words; None if no controller says that it did."""
    found = _newest(events, REMOVALS.keys())
    return (REMOVALS[found["reason"]], words(found)) if found else None


def _newest(events: Iterable[Object], reasons: Iterable[str]) -> Object | None:
    wanted = set(reasons)
    told = [event for event in events if event.get("reason") in wanted]
    return max(told, key=_at, default=None)


def _at(event: Object) -> float:
    """The old and the new form of an event keep its moment in different places."""
    places = (event.get("lastTimestamp"), part(event, "series").get("lastObservedTime"), event.get("eventTime"))
    return max((moment(place) or 0.0 for place in places), default=0.0)
