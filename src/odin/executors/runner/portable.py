"""The same questions where there is no Linux: an attempt is its process group.

What leaves the group (setsid, a daemon) is not found, and an earlier runner's bodies end with an unknown code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress

from .bodies import Body

CLOCK_SLACK_S = 3.0  # ps tells whole seconds


class Processes:
    def boot(self) -> str:
        """Something that changes when the machine restarts."""
        for argv in (["sysctl", "-n", "kern.boottime"], ["who", "-b"]):
            with suppress(OSError):
                if said := subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip():
                    return said
        return ""

    def oom_kills(self) -> int | None:
        """Not told here."""

    def give_up_privileges(self) -> None:
        """There is no such switch here."""

    def mark(self, attempt: str) -> None:
        """Nothing to do: the group comes with the session."""

    def unmark(self) -> None:
        """Nothing to do."""

    def born(self, pid: int) -> int | None:
        """Not asked here, it would cost a process for each task; ``alive`` asks ps instead."""

    def alive(self, body: Body) -> bool:
        """Whether a process with this number is there that is as old as the body."""
        if body.pid is None:
            return False
        argv = ["ps", "-o", "stat=,etime=", "-p", str(body.pid)]
        state, *elapsed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split() or [""]
        if not elapsed or state.startswith("Z"):
            return False
        return abs(time.time() - _seconds(elapsed[0]) - body.started_at) <= CLOCK_SLACK_S

    def find(self, attempt: str) -> Body | None:
        """Not possible without a mark."""

    def cards(self, pid: int) -> tuple[str, ...] | None:
        """Not told here."""

    def watch(self, pid: int) -> int | None:
        """No such descriptor; the loop asks ``alive`` instead."""

    def exit_status(self, watch: int) -> int | None:
        """Never known for a process that is not our child."""

    def left(self, bodies: Collection[Body], running: Collection[int]) -> set[str]:  # noqa: ARG002
        return {body.id for body in bodies if body.pid and _signalled(body.pid, 0)}

    def signal(self, bodies: Collection[Body], signum: int) -> None:
        for body in bodies:
            if body.pid:
                _signalled(body.pid, signum)
                _signalled(body.pid, signal.SIGCONT)


def _signalled(group: int, signum: int) -> bool:
    """Signal a process group; False if it is empty (or all zombies: some systems say EPERM then)."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _seconds(elapsed: str) -> int:
    """``[[days-]hours:]minutes:seconds`` as ps tells it."""
    days, _, clock = elapsed.rpartition("-")
    total = int(days or 0)
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return ((total * 24 + hours) * 60 + minutes) * 60 + seconds
