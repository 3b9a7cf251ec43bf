"""Streams that outlive their connection: they begin again where they were. Source: reliability.md, F-75."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing

from odin.client.encoding import quote
from odin.client.errors import ServerFailed, Unreachable
from odin.client.pipeline import Change
from odin.client.server import Server
from odin.client.sse import Frame, frames
from odin.client.wire import Answer, Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from odin.client.client import Client

    T = TypeVar("T")

GIVE_UP_S = 300.0  # without any answer
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
TICK_S = 5.0  # when nobody wants to know: how long a dead connection may look alive beyond sse.SILENT_S


class Patience:
    """Waiting for a server that went away: longer each time, one notice, an end.

    Not for one that never answered.
    """

    def __init__(self, server: Server, notice: Callable[[str], None]) -> None:
        self._server = server
        self._notice = notice
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._told = False

    def answered(self) -> None:
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
                if not self._server.known:
                    raise
                self.wait(error)
            else:
                self._since = None  # an answer, though a quiet stream may say nothing more for hours
                return answer


def frames_of(
    server: Server, path: str, *, notice: Callable[[str], None], tick_s: float, last: str = "", **values: object
) -> Generator[Frame | None]:
    """The events of a stream up to the one called ``last``, over restarts of the server; None at every tick.

    A first connection that fails raises at once; a later one is tried again. Each goes on after the id of the last
    event that was handed out.
    """
    patience = Patience(server, notice)
    position = ""
    while True:
        answer = patience.until_answered(lambda: opened(server, path, position, values))  # noqa: B023 - called at once
        try:
            for frame in frames(answer, tick_s):
                if frame is not None:
                    patience.answered()
                    position = frame.id or position
                yield frame
                if frame is not None and frame.event == last:
                    return
            patience.wait(Broken("the stream ended"))
        except Broken as error:
            patience.wait(error)
        finally:
            answer.close()


def opened(server: Server, path: str, position: str, values: Mapping[str, object]) -> Answer:
    fields = {"Last-Event-ID": position} if position else {}
    return server.stream(path, accept="text/event-stream", fields=fields, **values)


def pipeline_changes(
    client: Client, pipeline: str, *, notice: Callable[[str], None], tick_s: float | None
) -> Generator[Change]:
    """The changes of a pipeline up to its ``end``, each once."""
    path = f"/v1/pipelines/{quote(pipeline)}/stream"
    newest = -1
    with closing(frames_of(client.server, path, notice=notice, tick_s=tick_s or TICK_S, last="end")) as found:
        for frame in found:
            if frame is None:
                if tick_s:
                    yield Change("tick", {}, "", client)
                continue
            at = int(frame.id) if frame.id.isdecimal() else newest
            if not repeated(frame.event, at, newest):
                newest = at
                yield Change(frame.event, json.loads(frame.data), frame.id, client)


def repeated(event: str, at: int, newest: int) -> bool:
    """Whether this was handed out before. A snapshot may be older: of a server that was restored from a backup."""
    return event != "end" and newest >= 0 and (at == newest or (at < newest and event == "task"))
