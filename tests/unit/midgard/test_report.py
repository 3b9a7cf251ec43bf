"""A report fits into what the server takes, however many processes there are."""

from __future__ import annotations

import json

from odin.api.limits import REPORT_BYTES
from odin.midgard.report import LONGEST, encoded


def crowded(cards: int, processes: int) -> dict:
    each = [{"pid": pid, "process_name": "python" * 5, "used_memory": pid} for pid in range(processes)]
    return {"gpus": [{"id": str(card), "processes": each} for card in range(cards)]}


def test_a_usual_report_is_sent_whole() -> None:
    assert json.loads(encoded(crowded(8, 20)))["gpus"][7]["processes"][0]["pid"] == 19
    assert len(json.loads(encoded(crowded(8, 20)))["gpus"][0]["processes"]) == 20


def test_of_very_many_processes_those_with_the_most_memory_are_told() -> None:
    body = encoded(crowded(16, 5000))
    assert len(body) <= LONGEST < REPORT_BYTES
    told = [process["pid"] for process in json.loads(body)["gpus"][0]["processes"]]
    assert told == list(range(4999, 4999 - len(told), -1))
    assert len(told) >= 32
