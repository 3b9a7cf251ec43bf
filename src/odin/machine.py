"""This machine as it sees itself: its name, its address, what it has."""

from __future__ import annotations

import os
import re
import socket

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def host() -> str:
    return socket.gethostname()


def is_name(text: str) -> bool:
    """Whether a machine can be called so, in a cluster or elsewhere."""
    return NAME.fullmatch(text) is not None


def cpus() -> int:
    return os.cpu_count() or 1


def memory() -> str:
    """All of it, as Kubernetes writes it: ``32929184Ki``."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki"


def address() -> str:
    """The address that this machine would use to reach others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
