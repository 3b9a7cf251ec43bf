"""Events, logs with their place, and what a cleanup did."""

from __future__ import annotations

from odin.client.record import Record


class Event(Record):
    """Something that happened to a pipeline or a task."""

    __slots__ = ()
    id: str
    event_type: str  # Normal or Warning
    reason: str
    source: str
    message: str
    timestamp: str


class Events(list[Event]):
    """Oldest first."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from odin.client.html import records

        return records(("timestamp", "event_type", "reason", "message"), self)


class Log(Record):
    """A part of a log."""

    __slots__ = ()
    offset: int  # bytes before it
    size: int  # bytes of the whole log now

    @property
    def text(self) -> str:
        return str(self.raw.get("logs") or "")


class Piece:
    """Some bytes of a log that is followed.

    ``attempt`` wrote them, ``position`` is the byte after them in its log. ``at`` is when they arrived, POSIX
    seconds; None for what was there before, and where nobody asked.
    """

    __slots__ = ("at", "attempt", "data", "position")

    def __init__(self, data: bytes, attempt: int, position: int, at: float | None) -> None:
        self.data = data
        self.attempt = attempt
        self.position = position
        self.at = at

    def __repr__(self) -> str:
        return f"<Piece {len(self.data)} bytes of attempt {self.attempt} up to {self.position}>"


class Cleanup(Record):
    """What was removed of a pipeline or a task, or would be."""

    __slots__ = ()
    task_id: str

    @property
    def cleaned(self) -> bool:
        """What it had in the cluster."""
        return self.raw.get("cleanedFromK8s") == "Yes"

    @property
    def removed(self) -> bool:
        """Its files."""
        return self.raw.get("removedFromFs") == "Yes"

    @property
    def purged(self) -> bool:
        """Its rows and logs."""
        return self.raw.get("purgedFromDb") == "Yes"

    def __repr__(self) -> str:
        done = [word for word in ("cleaned", "removed", "purged") if getattr(self, word)]
        return f"<Cleanup {self.task_id} {' '.join(done) or 'nothing'}>"
