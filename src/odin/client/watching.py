"""All pipelines as they move, from ``/v1/stream``: over restarts of the server, each state once."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import closing

from odin.client.following import TICK_S, frames_of
from odin.client.pipeline import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.client.client import Client

REMEMBERED = 10_000  # pipelines that are over; the server repeats those of the last seconds before a lost connection


class Seen:
    """What was handed out: of each pipeline the newest position, or that it was removed."""

    def __init__(self) -> None:
        self._newest: dict[str, float] = {}
        self._over: dict[str, None] = {}
        self._ready = False

    def new(self, event: str, data: Mapping[str, Any]) -> bool:
        """Note it; False when it was handed out before."""
        if event == "ready":
            first, self._ready = not self._ready, True
            return first
        pipeline = str(data.get("id"))
        at = float("inf") if event == "removed" else float(data.get("position") or 0)
        if at <= self._newest.get(pipeline, -1.0):
            return False
        self._newest[pipeline] = at
        if event == "removed" or data.get("outcome"):
            self._forget_the_oldest(pipeline)
        return True

    def _forget_the_oldest(self, pipeline: str) -> None:
        self._over.pop(pipeline, None)
        self._over[pipeline] = None
        if len(self._over) > REMEMBERED:
            oldest = next(iter(self._over))
            del self._over[oldest], self._newest[oldest]


def all_changes(
    client: Client, wanted: Mapping[str, Any], *, notice: Callable[[str], None], tick_s: float | None
) -> Generator[Change]:
    """See ``Client.watch``."""
    seen = Seen()
    with closing(frames_of(client.server, "/v1/stream", notice=notice, tick_s=tick_s or TICK_S, **wanted)) as found:
        for frame in found:
            if frame is None:
                if tick_s:
                    yield Change("tick", {}, "", client)
                continue
            data = json.loads(frame.data)
            if seen.new(frame.event, data):
                yield Change(frame.event, data, frame.id, client)
