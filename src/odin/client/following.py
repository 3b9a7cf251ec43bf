"""Streams that outlive their connection: they begin again where they were. Source: reliability.md, F-75."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from odin.client.encoding import quote
from odin.client.errors import ServerFailed, Unreachable
from odin.client.server import Server
from odin.client.sse import frames
from odin.client.wire import Answer, Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

GIVE_UP_S = 300.0  # without any answer
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Patience:
    """Waiting for a server that went away: longer each time, one notice, an end. Not for one that never answered."""

    def __init__(self, server: Server, notice: Callable[[str], None]) -> None:
        self._server = server
        self._notice = notice
        self._known = False
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._told = False

    def answered(self) -> None:
        self._known = True
        self._since = None
        self._pause_s = FIRST_PAUSE_S

    def wait(self, why: Exception) -> None:
        """Sleep before the next try. Raises Unreachable when there was no answer for ``GIVE_UP_S``."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > GIVE_UP_S:
            raise Unreachable(f"no answer from {self._server.address.url} for {GIVE_UP_S:.0f} s") from why
        if not self._told:
            self._told = True
            self._notice(f"the connection to {self._server.address.url} was lost; reconnecting")
        time.sleep(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def until_answered(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, the first time that it works. A refusal that waiting cannot mend is raised."""
        while True:
            try:
                answer = ask()
            except (Unreachable, ServerFailed) as error:
                if not self._known:
                    raise
                self.wait(error)
            else:
                self._known = True
                return answer


def pipeline_events(
    server: Server, pipeline: str, *, notice: Callable[[str], None], tick_s: float = 0.5
) -> Iterator[tuple[str, Any] | None]:
    """``(event, REST object)`` of a pipeline up to its ``end``, over restarts of the server; None at every tick.

    A first connection that fails raises at once; a later one is tried again.
    """
    patience = Patience(server, notice)
    position = ""
    while True:
        answer = patience.until_answered(lambda: open_stream(server, pipeline, position))  # noqa: B023 - called at once
        try:
            for frame in frames(answer, tick_s):
                if frame is None:
                    yield None
                    continue
                patience.answered()
                position = frame.id or position
                yield frame.event, json.loads(frame.data)
                if frame.event == "end":
                    return
            patience.wait(Broken("the stream ended before the pipeline did"))
        except Broken as error:
            patience.wait(error)
        finally:
            answer.close()


def open_stream(server: Server, pipeline: str, position: str) -> Answer:
    fields = {"Last-Event-ID": position} if position else {}
    return server.stream(f"/v1/pipelines/{quote(pipeline)}/stream", accept="text/event-stream", fields=fields)
