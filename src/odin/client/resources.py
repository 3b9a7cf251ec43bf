"""Of a pipeline or a task: its data, its events, its log."""

from __future__ import annotations

from odin.client.calls import Calls
from odin.client.encoding import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from odin.client.history import Events, Log, Piece


class ResourceCalls(Calls):
    """The routes under ``/v1/resources``."""

    __slots__ = ()

    def data(self, id: str) -> dict[str, Any]:
        """What the database holds on a pipeline or a task; keys are in snake_case here. Raises NotFound."""
        found: dict[str, Any] = self.server.get(f"/v1/resources/{quote(id)}/data")["jobs"]
        return found

    def events(self, id: str) -> Events:
        """What happened to a pipeline or a task, oldest first. Raises NotFound."""
        from odin.client.history import Event, Events

        return Events(Event(raw) for raw in self.server.get(f"/v1/resources/{quote(id)}/events")["events"])

    def log(
        self, task_id: str, *, lines: int | None = None, attempt: int | None = None, container: str | None = None
    ) -> str:
        """What a task wrote so far, at most the last 10 MiB or the last ``lines``. Raises NotFound.

        ``attempt`` counts from 1; None is the newest.
        """
        return self.log_part(task_id, lines=lines, attempt=attempt, container=container).text

    def log_part(
        self,
        task_id: str,
        *,
        lines: int | None = None,
        offset: int | None = None,
        attempt: int | None = None,
        container: str | None = None,
        previous: bool = False,
    ) -> Log:
        """A part of a log with its place in it: the last ``lines``, or what there is from byte ``offset`` on.

        ``previous`` asks for the attempt before the newest, or before ``attempt``.
        """
        from odin.client.history import Log
        from odin.client.logs import path_of

        values: dict[str, Any] = {"lines": lines, "offset": offset, "attempt": attempt, "container": container}
        values["previous"] = previous or None
        return Log(self.server.get(path_of(task_id), **values))

    def log_bytes(
        self, task_id: str, *, lines: int | None = None, attempt: int | None = None, container: str | None = None
    ) -> Generator[bytes]:
        """A log as it is now, whole and unchanged, in pieces."""
        from odin.client.logs import as_written

        return as_written(self.server, task_id, lines=lines, attempt=attempt, container=container)

    def follow_log(
        self,
        task_id: str,
        *,
        lines: int | None = None,
        attempt: int | None = None,
        container: str | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Generator[bytes]:
        """A log in pieces as it comes, up to the end of the task, or of ``attempt`` if one is named.

        Without ``lines`` from the beginning. After a lost connection it goes on with the next byte, also over a
        restart of the server, which ``notice`` is told of once.
        """
        from odin.client.logs import bytes_of

        found = self.follow_pieces(task_id, lines=lines, attempt=attempt, container=container, notice=notice)
        return bytes_of(found)

    def follow_pieces(
        self,
        task_id: str,
        *,
        lines: int | None = None,
        attempt: int | None = None,
        container: str | None = None,
        notice: Callable[[str], None] | None = None,
        timed: bool = False,
    ) -> Generator[Piece]:
        """The same with the place of each piece: its attempt, its position, and if ``timed`` when it arrived."""
        from odin.client.logs import Follower

        told = notice or self.server.warn
        wanted: dict[str, Any] = {"lines": lines, "attempt": attempt, "container": container}
        return Follower(self.server, task_id, notice=told, timed=timed, **wanted).pieces()

    def follow_lines(
        self,
        task_id: str,
        *,
        lines: int | None = None,
        attempt: int | None = None,
        container: str | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Generator[str]:
        """The same as text, line by line without their ends; bytes that are no UTF-8 are shown as ``\\xff``."""
        from odin.client.logs import whole_lines

        return whole_lines(self.follow_log(task_id, lines=lines, attempt=attempt, container=container, notice=notice))
