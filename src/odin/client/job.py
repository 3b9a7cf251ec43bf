"""A job as git has it, and what a write to it made."""

from __future__ import annotations

from odin.client.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Job(Record):
    """A job at one commit. ``problems`` says why a draft could not be read."""

    __slots__ = ()
    id: str
    name: str
    location: str  # <path>@<commit>
    creation_time: str
    tasks: list[dict[str, Any]]  # as main.yml has them, keys in camelCase

    @property
    def version(self) -> str:
        """The commit."""
        return self.location.rpartition("@")[2]

    @property
    def files(self) -> dict[str, int]:
        """Name and size in bytes of each file."""
        return {str(file["name"]): int(file["bytes"]) for file in self.raw.get("files") or ()}

    @property
    def configs(self) -> dict[str, str]:
        """Name and content of the text files beside main.yml, up to 1 MiB each."""
        return {str(file["name"]): str(file["content"]) for file in self.raw.get("configs") or ()}

    def _repr_html_(self) -> str:
        from odin.client.html import job

        return job(self)


class Jobs(list[Job]):
    """In order of their names."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from odin.client.html import records

        return records(("id", "location", "creation_time"), self)


class Pushed(Record):
    """What a write to a job made. ``location`` is ``<path>@<commit>``."""

    __slots__ = ()
    location: str

    @property
    def version(self) -> str:
        """The commit."""
        return self.location.rpartition("@")[2]

    @property
    def files(self) -> dict[str, int]:
        """Location and size in bytes of each file that was written."""
        listed = self.raw.get("files") or [self.raw]
        return {str(file["location"]): int(file.get("bytes") or 0) for file in listed}

    def __repr__(self) -> str:
        return f"<Pushed {self.location}>"
