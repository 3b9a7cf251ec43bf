"""The marks that Odin's objects carry, by which it finds them again and knows its own.

Source: kubernetes.md, "Conditions"; reliability.md, F-06 and A-92.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2s

from odin.executors.protocol import TaskLaunch
from odin.model.ids import AttemptId

STORE = "odin/store"  # which Odin: several may share a namespace
PIPELINE = "odin/pipeline"
TASK = "odin/task"  # the task's id
ATTEMPT = "odin/attempt"  # the attempt's number
JOB = "odin/job"
USER = "odin/user"
KEPT = "odin/kept"  # its end is recorded and its log kept: no longer watched
VOID = "odin/void"  # it fills a name so that nothing can start under it
FENCE = "odin/fence"  # annotation: the number of the pipeline's owner that made it
IMAGE_TIMEOUT = "odin/image-timeout"  # annotation: seconds
LOST_AFTER = "odin/lost-after"  # annotation: seconds
FINALIZER = "odin/attempt"

LONGEST = 63
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")


def of(launch: TaskLaunch, store: str) -> dict[str, str]:
    """The labels of an attempt's object and of all its pods."""
    origin = launch.origin
    return {
        STORE: store,
        PIPELINE: origin.pipeline,
        TASK: f"{origin.pipeline}--{origin.task}",
        ATTEMPT: str(origin.number),
        JOB: value(origin.job.replace("/", "__")),
        USER: value(origin.user),
    }


def value(text: str) -> str:
    """``text`` as a label's value: what does not fit is replaced, and a short digest keeps it distinct."""
    fit = _UNFIT.sub("_", text)[:LONGEST].strip("._-")
    if fit == text:
        return fit
    digest = blake2s(text.encode(), digest_size=4).hexdigest()
    return f"{fit[: LONGEST - len(digest) - 1].rstrip('._-')}-{digest}".lstrip("-")


def attempt(labels: Mapping[str, str]) -> AttemptId | None:
    """Whose object or pod this is; None if it is none of Odin's."""
    task, number = labels.get(TASK), labels.get(ATTEMPT, "")
    if not task or not number.isdecimal():
        return None
    return AttemptId(task if number == "1" else f"{task}--{number}")


def selector(store: str, *, pipeline: str | None = None, kept: bool | None = None) -> str:
    """What lists the objects of this Odin; ``kept`` False leaves out those whose end is kept."""
    parts = [f"{STORE}={store}"]
    if pipeline is not None:
        parts.append(f"{PIPELINE}={pipeline}")
    if kept is False:
        parts.append(f"!{KEPT}")
    return ",".join(parts)
