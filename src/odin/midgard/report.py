"""What is told of this machine."""

from __future__ import annotations

import json
import os

from odin import __version__, machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.midgard.cards import Cards
    from odin.nvml import Gpu

LONGEST = 60_000  # bytes; the server takes 64 KiB
MOST_PROCESSES = 256  # of a GPU


def report(cards: Cards, interval_s: float) -> dict[str, Any]:
    """The body of a report; api.md, "Nodes"."""
    return {
        "agent": __version__,
        "intervalS": interval_s,
        "internalIP": os.environ.get("HOST_IP") or machine.address(),
        "cpu": machine.cpus(),
        "memory": machine.memory(),
        "valuesAgeS": round(cards.age_s(), 1),
        "trouble": cards.trouble[:500],
        "gpus": cards.gpus,
    }


def encoded(report: dict[str, Any]) -> bytes:
    """The report in at most ``LONGEST`` bytes: where processes are very many, fewer of them are told."""
    most = MOST_PROCESSES
    while True:
        body = json.dumps({**report, "gpus": [_with_fewer(gpu, most) for gpu in report["gpus"]]}).encode()
        if len(body) <= LONGEST or not most:
            return body
        most //= 2


def _with_fewer(gpu: Gpu, most: int) -> Gpu:
    """Those that hold the most memory."""
    largest = sorted(gpu["processes"], key=lambda process: -int(process["used_memory"]))
    return {**gpu, "processes": largest[:most]}
