"""What the status of an object says: its conditions by type, its moments as POSIX seconds. Pure.

Operators re-order conditions and keep old ones with status False, so a condition is found by its type **and** status,
never by its place. Source: kubernetes.md, "Conditions".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from odin.executors.kubernetes.kind import Object

Part = Mapping[str, Any]


def part(seen: Part, *path: str) -> Part:
    """What lies at ``path``; an empty mapping if nothing does."""
    for step in path:
        seen = seen.get(step) or {}
    return seen


def true(seen: Object, *types: str) -> Part | None:
    """The condition of the first of ``types`` that is True; of several of one type the newest."""
    return _found(seen, types, "True")


def false(seen: Object, *types: str) -> Part | None:
    return _found(seen, types, "False")


def _found(seen: Object, types: tuple[str, ...], status: str) -> Part | None:
    listed = part(seen, "status").get("conditions") or ()
    for kind in types:
        found: list[Part] = [one for one in listed if one.get("type") == kind and one.get("status") == status]
        if found:
            return max(found, key=_age)
    return None


def _age(condition: Part) -> tuple[str, ...]:
    return tuple(str(condition.get(key) or "") for key in ("lastTransitionTime", "reason", "message"))


def words(condition: Part) -> str:
    """Its message, or at least its reason, without the last full stop."""
    return str(condition.get("message") or condition.get("reason") or "").strip().rstrip(".")


def moment(text: Any) -> float | None:
    """POSIX seconds; None for what is no moment, the epoch included: it stands for "never" in Kubernetes."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() or None
    except ValueError:
        return None


def made_at(seen: Object) -> float:
    """When the object was created; 0 if it does not say."""
    return moment(part(seen, "metadata").get("creationTimestamp")) or 0.0


def started_at(seen: Object) -> float | None:
    return moment(part(seen, "status").get("startTime"))


def ended_at(seen: Object, condition: Part) -> float | None:
    """When it was over, as its controller says."""
    told = part(seen, "status").get("completionTime") or condition.get("lastTransitionTime")
    return moment(told)
