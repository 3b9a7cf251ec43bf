"""Counters of the server, and their text for Prometheus. Labels are bounded: routes as declared, never paths.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format".
"""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odin.engine.retention import Figures

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNROUTED = "none"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]


@dataclass(slots=True)
class Histogram:
    """How long something took; the last count is of those above every bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total_s: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Metrics:
    """What happened since the server started. Used from the event loop only."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # method, route, status
    seconds: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    sign_ins: Counter[str] = field(default_factory=Counter)  # outcome
    in_flight: int = 0
    streams: int = 0
    sockets: int = 0
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)  # command of a WebSocket, status

    def answered(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """``seconds`` is None for streams, which last as long as somebody listens."""
        self.requests[method, route, status] += 1
        if seconds is not None:
            self.seconds.observe(seconds)

    def replied(self, command: str, status: str) -> None:
        self.replies[command, status] += 1


def render(metrics: Metrics, pipelines: Mapping[str, int], retained: Figures, *, ready: bool) -> str:
    """Everything as text; ``pipelines`` counts them by status."""
    held = [] if retained.held is None else [("", (), retained.held)]
    families: list[tuple[str, str, str, Iterable[Sample]]] = [
        ("odin_http_requests_total", "counter", "Requests answered.", _requests(metrics)),
        ("odin_http_request_seconds", "histogram", "Time to answer, streams left out.", _histogram(metrics.seconds)),
        ("odin_loop_lag_seconds", "histogram", "How late the event loop looked at its clock.", _histogram(metrics.lag)),
        ("odin_http_requests_in_flight", "gauge", "Requests being answered.", [("", (), metrics.in_flight)]),
        ("odin_streams", "gauge", "Streams being followed.", [("", (), metrics.streams)]),
        ("odin_sockets", "gauge", "WebSockets open.", [("", (), metrics.sockets)]),
        ("odin_socket_replies_total", "counter", "Replies on WebSockets.", _replies(metrics)),
        ("odin_sign_ins_total", "counter", "Tries to sign in.", _labelled("outcome", metrics.sign_ins)),
        ("odin_pipelines", "gauge", "Pipelines in the store.", _labelled("status", pipelines)),
        ("odin_retention_removed_total", "counter", "Pipelines removed.", _labelled("reason", retained.removed)),
        ("odin_retention_held_bytes", "gauge", "Files and logs of pipelines, when last measured.", held),
        ("odin_ready", "gauge", "1 while pipelines are driven.", [("", (), int(ready))]),
        ("process_cpu_seconds_total", "counter", "CPU time of the server.", [("", (), _cpu_s())]),
        ("process_max_resident_memory_bytes", "gauge", "Peak memory of the server.", [("", (), _peak_bytes())]),
    ]
    return "".join(line for family in families for line in _family(*family))


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    for suffix, labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels)
        yield f"{name}{suffix}{{{shown}}} {_number(value)}\n" if shown else f"{name}{suffix} {_number(value)}\n"


def _requests(metrics: Metrics) -> Iterator[Sample]:
    for (method, route, status), count in sorted(metrics.requests.items()):
        yield "", (("method", method), ("route", route), ("status", str(status))), count


def _replies(metrics: Metrics) -> Iterator[Sample]:
    for (command, status), count in sorted(metrics.replies.items()):
        yield "", (("command", command), ("status", status)), count


def _histogram(histogram: Histogram) -> Iterator[Sample]:
    below = 0
    for bound, count in zip((*SECONDS, float("inf")), histogram.counts, strict=True):
        below += count
        yield "_bucket", (("le", "+Inf" if bound == float("inf") else f"{bound:g}"),), below
    yield "_sum", (), histogram.total_s
    yield "_count", (), below


def _labelled(label: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    for value, count in sorted(counts.items()):
        yield "", ((label, value),), count


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
