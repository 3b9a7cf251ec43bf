"""Kill points: ``ODIN_FAULT=<point>[:n]:<kill|stop|raise|delay>[,...]`` acts when a point is passed the n-th time.

Only the standard library, so that the runner (``python -I -S``) can load this file by its path.
Source: reliability.md, section 2.2.
"""

import errno
import os
import signal
import threading
import time

_lock = threading.Lock()
_passed: dict[str, int] = {}


def _parse(text: str) -> dict[tuple[str, int], str]:
    plans: dict[tuple[str, int], str] = {}
    for item in filter(None, text.split(",")):
        rest, _, action = item.rpartition(":")
        point, _, count = rest.rpartition(":")
        if count.isdigit():
            plans[point, int(count)] = action
        else:
            plans[rest, 1] = action
    return plans


_plans = _parse(os.environ.get("ODIN_FAULT", ""))


def plan(text: str) -> None:
    """Replace what is planned, and count passes from the beginning; for tests inside one process."""
    with _lock:
        _passed.clear()
        _plans.clear()
        _plans.update(_parse(text))


def passes(point: str) -> int:
    """How often a point was passed since something was planned."""
    return _passed.get(point, 0)


def reach(point: str) -> None:
    """Pass a named point; do what ``ODIN_FAULT`` plans for this pass of it."""
    if not _plans:
        return
    with _lock:
        _passed[point] = _passed.get(point, 0) + 1
        action = _plans.get((point, _passed[point]))
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise OSError(errno.EIO, f"planned fault at {point}")
    elif action == "delay":
        time.sleep(2.0)
