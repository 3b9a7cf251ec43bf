"""Whether the machine is being shut down: tasks are then asked to stop, before they are killed without a word."""

from __future__ import annotations

import subprocess

from .ending import Stop

GRACE_S = 60.0  # at most: units are killed after 90 s
SAID = "the machine was shut down"
LIMIT_S = 5.0


def is_near() -> bool:
    """What systemd says; false where there is none."""
    asked = ["systemctl", "is-system-running"]
    try:
        told = subprocess.run(asked, capture_output=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return False
    return told.stdout.strip() == b"stopping"


def stop(grace_s: float) -> Stop:
    """It may have done its work: it is lost, whatever its code (docs/decisions/0010)."""
    return Stop("lost", SAID, min(grace_s, GRACE_S))
