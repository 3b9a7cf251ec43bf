"""The log of a task, read once or followed: over restarts of the server, and from one attempt to the next.

A follower asks for one attempt by its number and knows how many bytes it has, so that after a lost connection it goes
on with the next byte: nothing twice, nothing left out. Source: api.md, "Resources"; reliability.md, F-75.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from odin.client.encoding import quote
from odin.client.errors import NotFound
from odin.client.following import Patience
from odin.client.server import Server
from odin.client.wire import Answer, Broken, Idle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FINAL = frozenset({"executed", "failed", "terminated", "skipped"})  # states of a task that stay
OVER = FINAL | {"waiting"}  # waiting: for its next attempt
POLL_S = 0.3  # for an attempt that has not begun
QUIET_S = 60.0  # a log that is silent so long is asked for again at its position, in case the connection is dead


def path_of(resource: str) -> str:
    return f"/v1/resources/{quote(resource)}/logs"


def whole(server: Server, resource: str, **values: object) -> str:
    """The log as it is now, at most its last 10 MiB. ``values``: lines, attempt, container, namespace."""
    return str(server.get(path_of(resource), **values).get("logs") or "")


def stream(server: Server, resource: str, *, attempt: int | None, container: str | None, offset: int) -> Answer:
    """The log's bytes from ``offset`` on, as they come."""
    return server.stream(
        path_of(resource), accept="text/plain", follow=True, attempt=attempt, container=container, offset=offset
    )


def as_written(
    server: Server, resource: str, *, lines: int | None, attempt: int | None, container: str | None
) -> Iterator[bytes]:
    """The bytes of the log as it is now, unchanged. Raises Broken when the connection ends."""
    facts = server.get(path_of(resource), lines=lines or 1, attempt=attempt, container=container)
    position = int(facts["offset"]) if lines else 0
    left = int(facts["size"]) - position
    if left <= 0:
        return
    with stream(server, resource, attempt=attempt, container=container, offset=position) as answer:
        for piece in answer.pieces():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return


def task_of(server: Server, task_id: str) -> dict[str, Any]:
    """The task as its pipeline shows it. Raises NotFound."""
    pipeline, _, rest = task_id.partition("--")
    answer = server.get(f"/v1/pipelines/{quote(pipeline)}")
    for task in answer["pipeline"]["tasks"]:
        if task["id"] == f"{pipeline}--{rest.partition('--')[0]}":
            return dict(task)
    raise NotFound(f'pipeline "{pipeline}" has no task "{rest}"')


class Follower:
    """Follows one task; ``lines`` is how much of what is there already is wanted, None for all."""

    def __init__(
        self,
        server: Server,
        task_id: str,
        *,
        notice: Callable[[str], None],
        attempt: int | None = None,
        lines: int | None = None,
        container: str | None = None,
    ) -> None:
        self._server = server
        self._task_id = task_id
        self._patience = Patience(server, notice)
        self._notice = notice
        self._attempt = attempt
        self._lines = lines
        self._container = container

    def pieces(self) -> Iterator[bytes]:
        """The log as it comes, up to the end of the task, or of the attempt if one was named."""
        if self._attempt is not None:
            yield from self._one(self._attempt)
            return
        number = 0
        while (number := self._begun_after(number)) > 0:
            yield from self._one(number)

    def _begun_after(self, number: int) -> int:
        """The attempt to read next; 0 when the task has ended without another."""
        while True:
            task = self._task()
            newest = int(task["attempt"] or 0)
            if newest > number:
                if number:
                    self._notice(f"attempt {newest} of {self._task_id}")
                return newest
            if task["status"] in FINAL:
                return 0
            time.sleep(POLL_S)

    def _task(self) -> dict[str, Any]:
        return self._patience.until_answered(lambda: task_of(self._server, self._task_id))

    def _one(self, number: int) -> Iterator[bytes]:
        """One attempt from beginning to end."""
        position = self._patience.until_answered(lambda: self._start(number))
        while True:
            answer = self._patience.until_answered(lambda: self._open(number, position))  # noqa: B023 - called at once
            try:
                for piece in answer.pieces():
                    self._patience.answered()
                    position += len(piece)
                    yield piece
                if self._ended(number):
                    return
                time.sleep(POLL_S)
            except Idle:
                continue
            except Broken as error:
                self._patience.wait(error)
            finally:
                answer.close()

    def _start(self, number: int) -> int:
        """The byte to begin at: the first, or that of the last lines asked for."""
        if self._lines is None:
            return 0
        values = {"lines": self._lines, "attempt": number, "container": self._container}
        return int(self._server.get(path_of(self._task_id), **values)["offset"])

    def _open(self, number: int, position: int) -> Answer:
        answer = stream(self._server, self._task_id, attempt=number, container=self._container, offset=position)
        answer.wait_at_most(QUIET_S)
        return answer

    def _ended(self, number: int) -> bool:
        """Whether this attempt is over, or the stream only ended because the server did."""
        task = self._task()
        return task["status"] in OVER or int(task["attempt"] or 0) > number
