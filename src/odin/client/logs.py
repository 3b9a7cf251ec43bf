"""The log of a task, read once or followed: over restarts of the server, and from one attempt to the next.

A follower asks for one attempt by its number and knows how many bytes it has, so that after a lost connection it goes
on with the next byte: nothing twice, nothing left out. Source: api.md, "Resources"; reliability.md, F-75.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing

from odin.client.encoding import quote
from odin.client.following import Patience
from odin.client.history import Piece
from odin.client.pipeline import FINAL
from odin.client.server import Server
from odin.client.wire import Answer, Broken, Idle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OVER = FINAL | {"waiting"}  # waiting: for its next attempt
POLL_S = 0.3  # for an attempt that has not begun
QUIET_S = 60.0  # a log that is silent so long is asked for again at its position, in case the connection is dead


def path_of(resource: str) -> str:
    return f"/v1/resources/{quote(resource)}/logs"


def stream(server: Server, resource: str, *, attempt: int | None, container: str | None, offset: int) -> Answer:
    """The log's bytes from ``offset`` on, as they come."""
    return server.stream(
        path_of(resource), accept="text/plain", follow=True, attempt=attempt, container=container, offset=offset
    )


def as_written(
    server: Server, resource: str, *, lines: int | None, attempt: int | None, container: str | None
) -> Generator[bytes]:
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


def bytes_of(pieces: Generator[Piece]) -> Generator[bytes]:
    with closing(pieces):
        for piece in pieces:
            yield piece.data


def whole_lines(pieces: Generator[bytes]) -> Generator[str]:
    """Lines without their ends, as ``\\n`` ends them; bytes that are no UTF-8 as ``\\xff``."""
    rest = b""
    with closing(pieces):
        for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "backslashreplace")
    if rest:
        yield rest.decode("utf-8", "backslashreplace")


def progress_of(server: Server, task_id: str) -> tuple[str, int]:
    """The status of a task and how many attempts it has had: a small answer, also of a large pipeline."""
    facts = server.get(f"/v1/resources/{quote(task_id)}/data")["jobs"]
    return str(facts["status"]), max((int(attempt["number"]) for attempt in facts["attempts"]), default=0)


class Follower:
    """Follows one task; ``lines`` is how much of what is there already is wanted, None for all.

    ``timed`` wants to know when its bytes arrived.
    """

    def __init__(
        self,
        server: Server,
        task_id: str,
        *,
        notice: Callable[[str], None],
        attempt: int | None = None,
        lines: int | None = None,
        container: str | None = None,
        timed: bool = False,
    ) -> None:
        self._server = server
        self._task_id = task_id
        self._patience = Patience(server, notice)
        self._notice = notice
        self._attempt = attempt
        self._lines = lines
        self._container = container
        self._timed = timed
        self._watched = False  # an attempt that begins from now on has written nothing before

    def pieces(self) -> Generator[Piece]:
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
            status, newest = self._progress()
            if newest > number and not number:
                return newest
            if newest > number:
                self._notice(f"attempt {number + 1} of {self._task_id}")
                return number + 1  # none is left out, also when two began between two questions
            if status in FINAL:
                return 0
            self._watched = True
            time.sleep(POLL_S)

    def _progress(self) -> tuple[str, int]:
        return self._patience.until_answered(lambda: progress_of(self._server, self._task_id))

    def _one(self, number: int) -> Generator[Piece]:
        """One attempt from beginning to end."""
        position, before = self._patience.until_answered(lambda: self._start(number))
        self._lines, self._watched = None, True  # of a later attempt everything is new
        while True:
            answer = self._patience.until_answered(lambda: self._open(number, position))  # noqa: B023 - called at once
            try:
                for data in answer.pieces():
                    self._patience.answered()
                    position += len(data)
                    yield Piece(data, number, position, time.time() if self._timed and position > before else None)
                if self._ended(number):
                    return
                time.sleep(POLL_S)
            except Idle:
                continue
            except Broken as error:
                self._patience.wait(error)
            finally:
                answer.close()

    def _start(self, number: int) -> tuple[int, int]:
        """The byte to begin at, the first or that of the last lines asked for; and how many there were before."""
        measured = self._timed and not self._watched
        if self._lines is None and not measured:
            return 0, 0
        values: dict[str, Any] = {"lines": self._lines or 1, "attempt": number, "container": self._container}
        facts = self._server.get(path_of(self._task_id), **values)
        return int(facts["offset"]) if self._lines else 0, int(facts["size"]) if measured else 0

    def _open(self, number: int, position: int) -> Answer:
        answer = stream(self._server, self._task_id, attempt=number, container=self._container, offset=position)
        answer.wait_at_most(QUIET_S)
        return answer

    def _ended(self, number: int) -> bool:
        """Whether this attempt is over, or the stream only ended because the server did."""
        status, newest = self._progress()
        return status in OVER or newest > number
