"""Job: one pod under the Job controller; and how any batch/v1 Job is read."""

from __future__ import annotations

from collections.abc import Mapping

from odin.executors.kubernetes.conditions import ended_at, made_at, part, started_at, true, words
from odin.executors.kubernetes.kind import Api, Kind, Object, Order
from odin.executors.kubernetes.kinds import parts
from odin.executors.kubernetes.kinds.pod import one_worker
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason
from odin.model.rules import longest_object

API = Api("batch", "v1", "Job", "jobs")
REASONS: Mapping[str, Reason] = {"DeadlineExceeded": Reason.TIMEOUT}


def build(order: Order) -> list[Object]:
    # A pod that is being deleted must not get a twin: two would run at once (ignored before 1.28).
    spec = {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": parts.template(order)}
    return [parts.top(order, spec)]


def read(job: Object) -> Sight:
    """``Complete`` and ``Failed`` alone are ends: SuccessCriteriaMet and FailureTarget come before the pods' ends."""
    if found := true(job, "Complete"):
        return Over(0, Reason.EXIT, "", started_at(job), ended_at(job, found))
    if found := true(job, "Failed"):
        reason = REASONS.get(str(found.get("reason")), Reason.EXIT)
        return Over(None, reason, words(found), started_at(job), ended_at(job, found))
    if is_suspended(job, "spec", "suspend"):
        return suspended(job)
    if (part(job, "status").get("ready") or 0) > 0:
        return Runs(started_at(job) or made_at(job))
    return Waits()


def is_suspended(seen: Object, *path: str) -> bool:
    *above, last = path
    return bool(part(seen, *above).get(last)) or true(seen, "Suspended") is not None


def suspended(seen: Object) -> Waits:
    """Held back on purpose, by a queue as a rule: queued again, never failed."""
    found = true(seen, "Suspended")
    said = words(found) if found else "it waits to be let in"
    return Waits(f"suspended: {said}", suspended=True)


JOB = Kind(
    "Job",
    (API,),
    longest_object("Job"),
    build,
    read,
    main=lambda _pod: True,
    lacks=one_worker,
)
