"""What the agents on the nodes last said of their machines, and how that joins what the place knows itself.

Kept in memory alone: an agent that lives speaks again within seconds. Source: reliability.md, F-95 and A-104.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from odin.executors.protocol import Machines, Nodes

MOST_NODES = 5_000
MOST_BYTES = 64 << 20
KEPT_S = 86_400.0
FRESH_S = 30.0
INTERVALS = 3  # missed ones after which a node that reports seldom is silent

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One report. ``gpus`` is a JSON list of ``Gpu`` (api.md) of ``count`` items, ``memory`` as ``32929184Ki``.

    ``values_age_s`` is how old the GPUs' figures were when it was sent, ``trouble`` why there are none or old ones.
    """

    agent: str
    address: str
    cpu: int
    memory: str
    count: int
    gpus: bytes
    interval_s: float
    values_age_s: float = 0.0
    trouble: str = ""


class NodeReports:
    """The newest report of each node, bounded in number, size and age: the one silent for longest goes first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: OrderedDict[str, tuple[float, NodeReport]] = OrderedDict()
        self._bytes = 0

    def add(self, host: str, report: NodeReport) -> None:
        self._drop(host)
        self._reports[host] = (self._clock(), report)
        self._bytes += len(report.gpus)
        while len(self._reports) > MOST_NODES or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._reports)))

    def newest(self) -> dict[str, tuple[NodeReport, float]]:
        """Each node's report and its age in seconds."""
        now = self._clock()
        for host in [host for host, (at, _) in self._reports.items() if now - at > KEPT_S]:
            self._drop(host)
        return {host: (report, now - at) for host, (at, report) in self._reports.items()}

    def _drop(self, host: str) -> None:
        if host in self._reports:
            self._bytes -= len(self._reports.pop(host)[1].gpus)


class ReportedNodes:
    """``Nodes`` of a place, each with the newest report of its agent, and those that only report."""

    def __init__(self, place: Nodes, reports: NodeReports) -> None:
        self._place = place
        self._reports = reports

    async def nodes(self) -> Machines:
        known = await self._place.nodes()
        return Machines(tuple(joined(known, self._reports.newest())), known.notice)


def joined(known: Machines, reports: Mapping[str, tuple[NodeReport, float]]) -> Iterator[Node]:
    """The nodes of the place in its order, then the others that report.

    A node that the place does not have is shown while it speaks; also later where the place cannot tell them all.
    """
    for node in known.nodes:
        report, age_s = reports.get(node["host"], (None, 0.0))
        yield node if report is None else {**node, **_figures(node, report, age_s), "report": _shape(report, age_s)}
    yield from _others({node["host"] for node in known.nodes}, reports, all_kept=bool(known.notice))


def is_fresh(report: NodeReport, age_s: float) -> bool:
    return age_s <= max(FRESH_S, INTERVALS * report.interval_s)


def _figures(node: Node, report: NodeReport, age_s: float) -> Node:
    """The agent's GPUs, unless it is silent and the place has figures of its own."""
    if node["gpus"] and not is_fresh(report, age_s):
        return {}
    return {"gpus": msgspec.Raw(report.gpus)}


def _others(known: Iterable[str], reports: Mapping[str, tuple[NodeReport, float]], *, all_kept: bool) -> Iterator[Node]:
    for host in sorted(reports.keys() - set(known)):
        report, age_s = reports[host]
        if all_kept or is_fresh(report, age_s):
            yield {
                "host": host,
                "internalIP": report.address,
                "cpu": report.cpu,
                "memory": report.memory,
                "pods": 0,  # an agent does not know
                "nvidia.com/gpu": report.count,
                "gpus": msgspec.Raw(report.gpus),
                "report": _shape(report, age_s),
            }


def _shape(report: NodeReport, age_s: float) -> dict[str, Any]:
    return {
        "ageS": round(age_s, 1),
        "fresh": is_fresh(report, age_s),
        "valuesAgeS": round(age_s + report.values_age_s, 1),
        "intervalS": report.interval_s,
        "agent": report.agent,
        "trouble": report.trouble,
    }
