"""What one pod says of its attempt: why it waits, that it runs, how it ended. Pure.

Ordered rules, the first that matches wins: what happened to the pod comes before what its container returned, since
a container that is stopped from outside may exit with any code. Fields that old API servers do not have
(DisruptionTarget, scheduling gates, restartable init containers) are optional everywhere.
Source: kubernetes.md; reliability.md, F-20 to F-25.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from odin.executors.kubernetes.conditions import Part, false, moment, part, true, words
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason

CONTAINER = "task"
FINAL = ("Succeeded", "Failed")
KUEUE_GATE = "kueue.x-k8s.io/admission"
LONGEST_WORDS = 1000
LAST_SIGNAL = 64
NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
NOT_EXECUTABLE = (126, 127)

IMAGE_TROUBLES = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
CONFIG_TROUBLES = frozenset({"CreateContainerConfigError", "CreateContainerError", "PreCreateHookError"})
NO_TROUBLES = frozenset({"", "ContainerCreating", "PodInitializing"})

# What the kubelet or a controller writes into the status of a pod that it ends.
POD_REASONS: Mapping[str, tuple[Reason, str]] = {
    "Evicted": (Reason.EVICTED, "{node} evicted it"),
    "Preempting": (Reason.PREEMPTED, "{node} stopped it for a more important pod"),
    "Preempted": (Reason.PREEMPTED, "it gave way to a more important pod"),
    "DeadlineExceeded": (Reason.TIMEOUT, "it ran longer than it may"),
    "NodeLost": (Reason.NODE_LOST, "{node} is lost"),
    "NodeShutdown": (Reason.NODE_LOST, "{node} shut down"),
    "Shutdown": (Reason.NODE_LOST, "{node} shut down"),
    "Terminated": (Reason.NODE_LOST, "{node} shut down"),
    "NodeAffinity": (Reason.NODE_LOST, "{node} came back without the labels that it must have"),
    "UnexpectedAdmissionError": (Reason.NODE_LOST, "{node} could not take it"),
    "TopologyAffinityError": (Reason.EVICTED, "{node} has no room for it"),
}
NO_ROOM = "OutOf"  # OutOfcpu, OutOfmemory, OutOfpods …: filled before the pod arrived

# Reasons of the condition DisruptionTarget (1.25 and up).
DISRUPTIONS: Mapping[str, tuple[Reason, str]] = {
    "PreemptionByScheduler": (Reason.PREEMPTED, "it gave way to a more important pod"),
    "PreemptionByKubeScheduler": (Reason.PREEMPTED, "it gave way to a more important pod"),
    "DeletionByTaintManager": (Reason.NODE_LOST, "{node} is tainted or does not answer"),
    "DeletionByPodGC": (Reason.NODE_LOST, "{node} is gone"),
    "EvictionByEvictionAPI": (Reason.EVICTED, "it was evicted from {node}"),
    "TerminationByKubelet": (Reason.EVICTED, "{node} evicted it"),
}


def read(pod: Object, container: str = CONTAINER, *, stopping: bool = False) -> Sight:
    """What ``pod`` says; ``container`` is the one that counts, the first one where there is none of that name.

    ``stopping`` is true once Odin itself has asked for the deletion.
    """
    seen = Seen(pod, container, stopping)
    if seen.is_over:
        return next(over for rule in ENDINGS if (over := rule(seen)))
    return _running(seen) if "running" in seen.state else _waiting(seen)


def outputs(pod: Object, container: str = CONTAINER) -> str | None:
    """What the container left in the file named by ``$ODIN_OUTPUTS``: JSON of an object, perhaps cut off at 4096 bytes.

    None while it runs and where it left none.
    """
    ended = Seen(pod, container, False).terminated
    text = str(ended.get("message") or "")
    return text if _is_object(text) and ended.get("reason") not in NEVER_RAN else None


def deleted_at(seen: Object) -> float | None:
    """When the deletion of an object was asked for, POSIX seconds: its timestamp is the end of the grace."""
    metadata = part(seen, "metadata")
    until = moment(metadata.get("deletionTimestamp"))
    return None if until is None else until - float(metadata.get("deletionGracePeriodSeconds") or 0)


def silent_node(pod: Object) -> str:
    """The node of a pod, if that node does not answer; empty if all is well with it, or the pod is over."""
    seen = Seen(pod, CONTAINER, False)
    is_silent = not seen.is_over and _is_node_away(seen)
    return str(seen.spec.get("nodeName") or "") if is_silent else ""


def gone(pod: Object) -> Object:
    """The last state of a pod that exists no more, as one that is over: nothing will be heard of it again."""
    if part(pod, "status").get("phase") in FINAL:
        return pod
    return {**pod, "status": {**part(pod, "status"), "phase": "Failed"}}


def _is_object(text: str) -> bool:
    return text.lstrip().startswith("{")


@dataclass(frozen=True)
class Seen:
    """A pod and the container in it that counts."""

    pod: Object
    wanted: str
    stopping: bool

    @cached_property
    def status(self) -> Part:
        return part(self.pod, "status")

    @cached_property
    def spec(self) -> Part:
        return part(self.pod, "spec")

    @cached_property
    def phase(self) -> str:
        return str(self.status.get("phase") or "")

    @cached_property
    def container(self) -> Part:
        """As the spec has it."""
        listed: Sequence[Part] = self.spec.get("containers") or ({},)
        return next((one for one in listed if one.get("name") == self.wanted), listed[0])

    @cached_property
    def main(self) -> Part:
        """Its status; empty before the kubelet has said anything."""
        name = self.container.get("name", self.wanted)
        return next((one for one in self.containers if one.get("name") == name), {})

    @cached_property
    def containers(self) -> tuple[Part, ...]:
        return tuple(self.status.get("containerStatuses") or ())

    @cached_property
    def state(self) -> Part:
        return {kind: said or {} for kind, said in part(self.main, "state").items() if said is not None}

    @cached_property
    def terminated(self) -> Part:
        return part(self.state, "terminated")

    @cached_property
    def ran(self) -> Part:
        """The last thing known of its having run."""
        return self.terminated or part(self.state, "running") or part(self.main, "lastState", "terminated")

    @cached_property
    def started_at(self) -> float | None:
        return moment(self.ran.get("startedAt"))

    @cached_property
    def ended_at(self) -> float | None:
        return moment(self.terminated.get("finishedAt"))

    @cached_property
    def node(self) -> str:
        name = self.spec.get("nodeName")
        return f"node {name}" if name else "its node"

    @cached_property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    @cached_property
    def deleted_at(self) -> float | None:
        return deleted_at(self.pod)

    @cached_property
    def is_over(self) -> bool:
        """Nothing of it runs or ever will, or only containers that are not the task's run on."""
        if self.phase in FINAL:
            return True
        if self.is_deleted and not self.spec.get("nodeName"):
            return True  # no kubelet will ever hear of it
        return self.will_not_restart and any(not part(one, "state", "terminated") for one in self.containers)

    @cached_property
    def will_not_restart(self) -> bool:
        policy = self.spec.get("restartPolicy", "Always")
        code = self.terminated.get("exitCode")
        return code is not None and (policy == "Never" or (policy == "OnFailure" and code == 0))

    def over(self, reason: Reason, message: str = "", *, code: int | None = None) -> Over:
        return Over(code, reason, message[:LONGEST_WORDS], self.started_at, self.ended_at)

    @cached_property
    def code(self) -> int | None:
        """The exit code, where the container's end was really seen."""
        if self.terminated.get("reason") == "ContainerStatusUnknown":
            return None
        code: int | None = self.terminated.get("exitCode")
        return code

    @cached_property
    def text(self) -> str:
        """What the container itself says of its end, unless those are its outputs."""
        said = str(self.terminated.get("message") or "").strip()
        return "" if _is_object(said) else said


# Ends


def _succeeded(seen: Seen) -> Over | None:
    return seen.over(Reason.EXIT, code=0) if seen.phase == "Succeeded" else None


def _by_reason(seen: Seen) -> Over | None:
    """What the pod's own status gives as its reason."""
    told = str(seen.status.get("reason") or "")
    row = POD_REASONS.get(told)
    if row is None and told.startswith(NO_ROOM):
        row = (Reason.EVICTED, "{node} has no room for it")
    return _of_row(seen, row, seen.status) if row else None


def _by_disruption(seen: Seen) -> Over | None:
    found = true(seen.pod, "DisruptionTarget")
    if found is not None:
        row = DISRUPTIONS.get(str(found.get("reason")), (Reason.EVICTED, "something took {node} from it"))
        return _of_row(seen, row, found)
    found = true(seen.pod, "TerminationTarget")
    return _of_row(seen, (Reason.PREEMPTED, "its queue took its place away"), found) if found else None


def _of_row(seen: Seen, row: tuple[Reason, str], why: Part) -> Over:
    reason, sentence = row
    said = str(why.get("message") or "").strip().rstrip(".")
    message = sentence.format(node=seen.node) + (f": {said}" if said else "")
    return seen.over(reason, message, code=seen.code)


def _out_of_memory(seen: Seen) -> Over | None:
    if seen.terminated.get("reason") != "OOMKilled":
        return None
    limit = part(seen.container, "resources", "limits").get("memory")
    than = f"its limit of {limit}" if limit else "there was"
    return seen.over(Reason.OOM, f"it used more memory than {than}", code=seen.code)


def _deleted(seen: Seen) -> Over | None:
    """A container that ended on its own before the deletion has its own end."""
    if seen.deleted_at is None or (seen.ended_at is not None and seen.ended_at < seen.deleted_at):
        return None
    if seen.stopping:
        return None if seen.terminated else seen.over(Reason.STOPPED, "it was stopped")
    return seen.over(Reason.DELETED, "somebody deleted its pod", code=seen.code)


def _unprepared(seen: Seen) -> Over | None:
    """An init container failed, so that the task never began."""
    if seen.started_at is not None:
        return None
    for one in _before(seen):
        code = part(one, "state", "terminated").get("exitCode") or 0
        if code:
            said = str(part(one, "state", "terminated").get("message") or "").strip()
            sentence = f'it never began: init container "{one.get("name")}" ended with exit code {code}'
            return seen.over(Reason.NOT_STARTED, f"{sentence}: {said}" if said else sentence)
    return None


def _before(seen: Seen) -> Iterator[Part]:
    """Init containers that must end before the task starts; those that restart always run beside it."""
    listed = seen.spec.get("initContainers") or ()
    beside = {one.get("name") for one in listed if one.get("restartPolicy") == "Always"}
    yield from (one for one in seen.status.get("initContainerStatuses") or () if one.get("name") not in beside)


def _not_started(seen: Seen) -> Over | None:
    if seen.terminated.get("reason") not in NEVER_RAN and seen.code not in NOT_EXECUTABLE:
        return None
    program = " ".join(seen.container.get("command") or ()[:1]) or "its image's own command"
    message = f"{program} could not be executed" + (f": {seen.text}" if seen.text else "")
    return Over(seen.code, Reason.NOT_STARTED, message[:LONGEST_WORDS], None, seen.ended_at)


def _unseen(seen: Seen) -> Over | None:
    """It is over and nobody saw how: its kubelet came back without it, or never did."""
    if seen.code is not None:
        return None
    if seen.ran or seen.terminated:
        return seen.over(Reason.NODE_LOST, f"{seen.node} lost sight of it")
    return seen.over(Reason.LOST, words(seen.status) or "its end was not seen")


def _signalled(seen: Seen) -> Over | None:
    code = seen.code or 0
    number = seen.terminated.get("signal") or (code - 128 if 128 < code <= 128 + LAST_SIGNAL else None)
    if not number:
        return None
    said = f": {seen.text}" if seen.text else ""
    return seen.over(Reason.SIGNAL, f"killed by {_signal(number)}{said}", code=128 + number)


def _signal(number: int) -> str:
    """``SIGSEGV (segmentation fault)``."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    said = signal.strsignal(number)
    return f"{name} ({said.lower()})" if said else name


def _exited(seen: Seen) -> Over | None:
    return seen.over(Reason.EXIT, seen.text, code=seen.code)


ENDINGS: tuple[Callable[[Seen], Over | None], ...] = (
    _succeeded,
    _by_reason,
    _by_disruption,
    _out_of_memory,
    _deleted,
    _unprepared,
    _not_started,
    _unseen,
    _signalled,
    _exited,
)


# Before the end


def _running(seen: Seen) -> Runs:
    return Runs(seen.started_at or moment(seen.status.get("startTime")) or 0.0, _amiss(seen))


def _amiss(seen: Seen) -> str:
    if _is_node_away(seen):
        return f"{seen.node} does not answer"
    if found := true(seen.pod, "DisruptionTarget", "TerminationTarget"):
        return f"it is being stopped: {words(found)}"
    if seen.is_deleted:
        return "Terminating" if seen.stopping else "Terminating: somebody deleted its pod"
    return ""


def _is_node_away(seen: Seen) -> bool:
    """A node that is silent has its pods marked not ready without a reason; the kubelet always gives one."""
    if seen.phase == "Unknown" or seen.status.get("reason") == "NodeLost":
        return True
    unready = false(seen.pod, "Ready")
    return unready is not None and not unready.get("reason") and bool(seen.main.get("ready"))


def _waiting(seen: Seen) -> Sight:
    if seen.terminated:  # its phase follows in a moment, or it is started again
        return Runs(seen.started_at or 0.0, _amiss(seen))
    if seen.is_deleted:
        return Waits("Terminating" if seen.stopping else "Terminating: somebody deleted its pod")
    if seen.phase == "Unknown":
        return Waits(f"{seen.node} does not answer")
    return _unscheduled(seen) or _troubled(seen) or Waits()


def _unscheduled(seen: Seen) -> Waits | None:
    found = false(seen.pod, "PodScheduled")
    gates = [str(gate.get("name")) for gate in seen.spec.get("schedulingGates") or ()]
    if KUEUE_GATE in gates:
        return Waits("suspended: its queue has not admitted it yet", suspended=True)
    if gates:
        return Waits(f"it is held back by {', '.join(gates)}", suspended=True)
    if found is None:
        return None
    return Waits(f"no node can take it now: {words(found)}")


def _troubled(seen: Seen) -> Waits | None:
    """The worst trouble of all its containers: each must start before the task can."""
    statuses = (*(seen.status.get("initContainerStatuses") or ()), *seen.containers)
    found = [trouble for one in statuses if (trouble := _trouble(one))]
    return max(found, key=lambda trouble: (trouble.image, trouble.config), default=None)


def _trouble(container: Part) -> Waits | None:
    waiting: Mapping[str, Any] = part(container, "state", "waiting")
    reason = str(waiting.get("reason") or "")
    if reason in NO_TROUBLES:
        return None
    said = words(waiting)
    if reason in IMAGE_TROUBLES:
        return Waits(f"its image {container.get('image', '')} cannot be pulled: {said}", image=True)
    return Waits(f"it cannot start: {said}", config=reason in CONFIG_TROUBLES)
