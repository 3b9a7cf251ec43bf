"""Connections to the database, of whichever kind, and its errors in Odin's words."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneFree

from odin.model.errors import InvalidInput, OdinError, OutcomeUnknown, Unavailable
from odin.store import sqlite
from odin.store.backend import Backend, Crossed

MOST_REPEATS = 5
LONGEST_PAUSE_S = 0.05  # before the first repetition; twice as long before each further one
KNOWN = "try sqlite:////path/odin.db or postgresql://user@host/database"

T = TypeVar("T")


class Database:
    """One database; ``reader``, ``writer`` and ``write`` may be used from any thread."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for a URL that is none, or of a kind that Odin does not know."""
        self.url = url
        self._backend = _backend(url)
        self.path = self._backend.path

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._backend.kind

    @contextmanager
    def reader(self) -> Iterator[Connection]:
        """One moment of the database, to read from. Never blocks a writer."""
        with translated(), self._backend.reading.connect() as connection:
            yield connection

    @contextmanager
    def writer(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on an exception.

        Raises Unavailable when somebody else is in the way for more than five seconds, NoSpace on a full disk.
        """
        with translated(), self._backend.writing.begin() as connection:
            yield connection

    def write(self, act: Callable[[Connection], T]) -> T:
        """One transaction, repeated whole where the database gave it up for another's sake (F-43)."""

        def attempt() -> T:
            with self.writer() as connection:
                return act(connection)

        return repeated(attempt)

    def connect_writer(self, name: str = "") -> Connection:
        """A connection of one's own for a thread that commits often; of SQLite its ``begin`` takes the write lock.

        ``name`` is for ``end_sessions``.
        """
        with translated(), ExitStack() as opened:
            connection = opened.enter_context(self._backend.own.connect())
            if name:
                self._backend.name(connection, name)
            opened.pop_all()
        return connection

    def end_sessions(self, name: str) -> bool:
        """End what the connections of that name left behind in the database; True once nothing is."""
        with self.reader() as connection:
            return self._backend.end(connection, name)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection to migrate on, while nobody else does."""
        with translated(), self._backend.migrating() as connection:
            yield connection

    def close(self) -> None:
        self._backend.dispose()


def _backend(url: str) -> Backend:
    kind, mark, _ = url.partition("://")
    if kind in ("postgresql", "postgres"):
        from odin.store import postgresql

        return postgresql.connected(url)
    if not mark:
        raise InvalidInput(f"ODIN_DATABASE_URL is not a database URL; {KNOWN}")
    if kind != "sqlite":
        raise InvalidInput(f'a database of kind "{kind}" is not one that Odin knows; {KNOWN}')
    return sqlite.connected(make_url(url))


def repeated(attempt: Callable[[], T]) -> T:
    """Run a transaction, again after a random pause where it was given up for another's sake. Source: F-43."""
    for number in range(MOST_REPEATS):
        try:
            return attempt()
        except Crossed:
            time.sleep(random.uniform(0, LONGEST_PAUSE_S * 2**number))  # noqa: S311 - spreads, and hides nothing
    return attempt()


def commit_begun(connection: Connection) -> None:
    """Commit what a connection of one's own began. Raises OutcomeUnknown if the connection broke meanwhile."""
    try:
        with translated():
            connection.commit()
    except OdinError as error:
        if is_broken(connection):
            raise OutcomeUnknown(
                "the database went away during a commit; whether it happened is not known yet"
            ) from error
        raise


def is_broken(connection: Connection) -> bool:
    """Whether nothing more can be done on this connection."""
    return connection.invalidated or bool(getattr(connection.connection.dbapi_connection, "closed", False))


@contextmanager
def translated() -> Iterator[None]:
    """Raise the database's errors as Odin's."""
    try:
        yield
    except Exception as error:
        if (found := translation(error)) is not None:
            raise found from error
        raise


def translation(error: BaseException) -> OdinError | None:
    """What an error of the database means to a user; None for one that is a bug in Odin (a syntax error, say)."""
    if isinstance(error, NoneFree):
        return Unavailable("all connections to the database are in use; try again")
    origin = error.orig if isinstance(error, DBAPIError) else error
    if origin is None or isinstance(origin, OdinError):
        return None
    if (found := sqlite.translation(origin)) is not None:
        return found
    if "psycopg" in sys.modules:
        from odin.store import postgresql

        return postgresql.translation(origin)
    return None
