"""What an object and all its pods say together. Pure.

The top object says when it is over and whether it is held back; its pods say since when they run, what hinders
them, and how they ended. Source: reliability.md, F-37.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from odin.executors.kubernetes import podstatus
from odin.executors.kubernetes.conditions import false, moment, part
from odin.executors.kubernetes.kind import Kind, Object
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason

NOT_THEIR_OWN = frozenset({Reason.DELETED, Reason.STOPPED})
TAKEN = frozenset({Reason.DELETED, Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST})


def read(kind: Kind, top: Object, pods: Iterable[Object] = (), *, stopping: bool = False) -> Sight:
    """What becomes of the attempt; ``pods`` are all that were seen of it, also those that are gone."""
    if top.get("kind") == "Pod":
        return podstatus.read(top, kind.container, stopping=stopping)
    others = list(pods)
    own, main = kind.read(top), main_pod(kind, others)
    if isinstance(own, Over):
        return _explained(own, kind, top, others)
    if "deletionTimestamp" in part(top, "metadata"):
        return _removed(kind, top, others, stopping) or _leaving(_alive(own, kind, main, others, stopping), stopping)
    if isinstance(own, Waits) and own.suspended:
        return own
    return _alive(own, kind, main, others, stopping)


def main_pod(kind: Kind, pods: Iterable[Object]) -> Object | None:
    """The pod whose log and exit code are the task's own: the newest, if there were several."""
    return max((pod for pod in pods if kind.main(pod)), key=_age, default=None)


def taken(kind: Kind, top: Object, pods: Iterable[Object]) -> tuple[Object, Over] | None:
    """The pod that was taken away first while it ran, and its end, where another in its place ran the attempt twice.

    Nothing while the whole is over, deleted or suspended, which all take pods away, nor of what went before it was
    resumed. Source: reliability.md, P3; a Job before 1.28 replaces a pod as soon as its deletion is asked for.
    """
    if top.get("kind") == "Pod" or "deletionTimestamp" in part(top, "metadata"):
        return None
    own = kind.read(top)
    if isinstance(own, Over) or (isinstance(own, Waits) and own.suspended):
        return None
    resumed_at = moment((false(top, "Suspended") or {}).get("lastTransitionTime")) or 0.0
    found = [
        (at, pod, end)
        for pod in pods
        if (at := podstatus.deleted_at(pod) or 0.0) > resumed_at and not kind.replaces(pod)
        if (end := _taken_end(kind, pod)) is not None
    ]
    return min(found, key=lambda one: (one[0], _age(one[1])))[1:] if found else None


def _taken_end(kind: Kind, pod: Object) -> Over | None:
    end = _over(kind, podstatus.gone(pod))
    return end if end is not None and end.started_at is not None and end.reason in TAKEN else None


def _age(pod: Object) -> tuple[str, str]:
    metadata = part(pod, "metadata")
    return str(metadata.get("creationTimestamp") or ""), str(metadata.get("name") or "")


# It is over


def _explained(own: Over, kind: Kind, top: Object, pods: Sequence[Object]) -> Over:
    """The end with what the pods know: since when, and for a failure the code of the pod that failed first.

    A controller takes the removal of its pods for their failure, also when the whole was deleted.
    """
    own = _timed(own, kind, pods)
    if own.code == 0 or own.reason is not Reason.EXIT:
        return own
    culprit = _first_failure(kind, pods)
    if culprit is not None:
        return _blamed(own, *culprit, len(pods))
    asked_at = podstatus.deleted_at(top)
    was_deleted = asked_at is not None and (own.ended_at is None or own.ended_at >= asked_at)
    return replace(own, reason=Reason.DELETED, message="somebody deleted it") if was_deleted else own


def _removed(kind: Kind, top: Object, pods: Sequence[Object], stopping: bool) -> Over | None:
    """The end of what is deleted: once every pod that was seen is over and no other is left.

    In a deletion in the foreground the garbage collector takes its finalizer away when all pods are gone.
    """
    if _is_collected(top):
        return None
    if not all(_over(kind, pod) for pod in pods):
        return None
    reason, said = (Reason.STOPPED, "it was stopped") if stopping else (Reason.DELETED, "somebody deleted it")
    return _timed(Over(None, reason, said), kind, pods)


def left_behind(kind: Kind, top: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods of what is deleted that nobody removes: it is kept for its log, so its pods have an owner yet.

    So it is after a deletion in the background, which is kubectl's own, and after one in the foreground that a pod
    did not hold up: the garbage collector may look at that pod when it is done with its owner.
    """
    if top.get("kind") == "Pod" or _is_collected(top):
        return []
    return [pod for pod in pods if "deletionTimestamp" not in part(pod, "metadata") and not _over(kind, pod)]


def _is_collected(top: Object) -> bool:
    """Whether the garbage collector removes the pods."""
    return "foregroundDeletion" in (part(top, "metadata").get("finalizers") or ())


def _timed(own: Over, kind: Kind, pods: Sequence[Object]) -> Over:
    main = main_pod(kind, pods)
    if main is None:
        return own
    seen = podstatus.Seen(main, kind.container, True)
    return replace(own, started_at=seen.started_at or own.started_at, ended_at=seen.ended_at or own.ended_at)


def _first_failure(kind: Kind, pods: Sequence[Object]) -> tuple[Object, Over] | None:
    """Of those that failed by themselves; one that was removed because another failed says nothing."""
    failed = [(pod, seen) for pod in pods if (seen := _over(kind, pod)) and _is_failure(seen)]
    own = [one for one in failed if one[1].reason not in NOT_THEIR_OWN]
    return min(own or failed, key=lambda one: (_ended(one[1]), _age(one[0])), default=None)


def _over(kind: Kind, pod: Object) -> Over | None:
    seen = podstatus.read(pod, kind.container)
    return seen if isinstance(seen, Over) else None


def _is_failure(seen: Over) -> bool:
    return seen.reason is not Reason.EXIT or seen.code != 0


def _ended(seen: Over) -> float:
    return float("inf") if seen.ended_at is None else seen.ended_at


def _blamed(own: Over, pod: Object, seen: Over, count: int) -> Over:
    said = seen.message or (f"exit code {seen.code}" if seen.code is not None else "")
    if count > 1:
        said = f"pod {part(pod, 'metadata').get('name')}: {said or own.message}"
    return replace(own, code=seen.code, reason=seen.reason, message=said if count > 1 or seen.message else "")


# It is not


def _alive(own: Sight, kind: Kind, main: Object | None, others: Sequence[Object], stopping: bool) -> Sight:
    """``own`` is what the top object says, which is not over."""
    first = podstatus.read(main, kind.container, stopping=stopping) if main is not None else own
    why = _worst([own, first, *(podstatus.read(pod, kind.container, stopping=stopping) for pod in others)])
    if isinstance(first, Runs):
        return Runs(first.at, why.why)
    since = first.started_at if isinstance(first, Over) else None  # its controller has yet to say that it is over
    if isinstance(own, Runs):
        return Runs(since or own.at, why.why)
    return why if since is None else Runs(since, why.why)


def _leaving(alive: Sight, stopping: bool) -> Sight:
    """It is deleted and still there."""
    why = "Terminating" if stopping else "Terminating: somebody deleted it"
    return Runs(alive.at, why) if isinstance(alive, Runs) else Waits(why)


def _worst(sights: Iterable[Sight]) -> Waits:
    """The trouble that matters most, as a wait; no trouble if there is none."""
    told = [sight for sight in sights if not isinstance(sight, Over)]
    waits = [sight if isinstance(sight, Waits) else Waits(sight.why) for sight in told]
    return max(waits, key=lambda wait: (wait.image, wait.config, bool(wait.why)), default=Waits())
