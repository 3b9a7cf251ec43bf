"""What a kind of database gives: connections to read and to write with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from odin.model.errors import Unavailable

PATIENCE_S = 5.0  # for a lock, a free connection, or a server that is coming back


class Crossed(Unavailable):
    """The database gave a transaction up for another's sake; repeated, it may well succeed."""


@dataclass(frozen=True, slots=True)
class Backend:
    """As it is for a file that one process uses.

    ``reading`` shows one moment for a whole transaction; ``own`` is for threads that keep their connection. ``path`` is
    the file of a database that is one.
    """

    kind: str
    path: Path | None
    reading: Engine
    writing: Engine
    own: Engine

    def dispose(self) -> None:
        self.writing.dispose()
        self.own.dispose()

    def name(self, connection: Connection, name: str) -> None:
        """Name the session of a connection, for ``end``."""

    def end(self, connection: Connection, name: str) -> bool:  # noqa: ARG002
        """End the sessions of that name that outlived their connections; True once there is none."""
        return True

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection to migrate on, while nobody else does."""
        with self.own.connect() as connection:
            yield connection
