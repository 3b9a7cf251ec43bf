"""Connections to the database, and its errors in Odin's words.

SQLite runs in WAL with ``synchronous=FULL``: what is committed survives a power cut. Writers take the write lock
at their begin, so that nothing read in a transaction is old when it is written. Source: architecture.md, "Store".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from odin.model.errors import InvalidInput, NoSpace, OdinError, Unavailable

BUSY_TIMEOUT_S = 5.0
READERS = 8
# A page cache of 16 MiB and the log moved back every 1,000 pages keep both memory and the log small.
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-16384",
    "PRAGMA temp_store=MEMORY",
)


class Database:
    """One database; ``reader`` and ``writer`` may be used from any thread."""

    def __init__(self, url: str) -> None:
        """``url`` is SQLAlchemy's; raises InvalidInput when it is none or not of a database that Odin knows."""
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise InvalidInput("ODIN_DATABASE_URL is not a database URL; try sqlite:////path/odin.db") from error
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise InvalidInput(
                f'a database of kind "{parsed.get_backend_name()}" is not supported yet; use sqlite:////path/odin.db'
            )
        self.url = url
        self.path: str = parsed.database
        self._engine = _sqlite_engine(url)
        self._writing = self._engine.execution_options(odin_begin="BEGIN IMMEDIATE")

    @contextmanager
    def reader(self) -> Iterator[Connection]:
        """A snapshot to read from. Never blocks a writer."""
        with translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writer(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on an exception.

        Raises Unavailable when another writer holds the lock for more than five seconds, NoSpace on a full disk.
        """
        with translated(), self._writing.begin() as connection:
            yield connection

    def connect_writer(self) -> Connection:
        """A connection of one's own for a thread that commits often; its ``begin`` takes the write lock."""
        with translated():
            return self._writing.connect()

    def integrity(self) -> str:
        """``ok``, or what SQLite's quick check found."""
        with self.reader() as connection:
            return str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())

    def close(self) -> None:
        self._engine.dispose()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("odin_begin", "BEGIN"))


@contextmanager
def translated() -> Iterator[None]:
    """Raise the database's errors as Odin's."""
    try:
        yield
    except DBAPIError as error:
        found = translation(error.orig)
        if found is None:
            raise
        raise found from error
    except sqlite3.Error as error:
        found = translation(error)
        if found is None:
            raise
        raise found from error


def translation(error: Any) -> OdinError | None:
    """What a driver's error means to a user; None for one that is a bug in Odin (a syntax error, say)."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    return {
        sqlite3.SQLITE_FULL: lambda: NoSpace("the database's disk is full; free some space and try again"),
        sqlite3.SQLITE_BUSY: lambda: Unavailable("the database is locked by another process; try again"),
        sqlite3.SQLITE_LOCKED: lambda: Unavailable("the database is locked; try again"),
        sqlite3.SQLITE_IOERR: lambda: Unavailable("the database's disk failed; see the server's log"),
        sqlite3.SQLITE_READONLY: lambda: Unavailable("the database cannot be written; see the server's log"),
        sqlite3.SQLITE_CANTOPEN: lambda: Unavailable("the database cannot be opened; see the server's log"),
        sqlite3.SQLITE_CORRUPT: lambda: Unavailable("the database is damaged; restore a backup"),
        sqlite3.SQLITE_NOTADB: lambda: Unavailable("the database file is not a database; restore a backup"),
    }.get(code & 0xFF, lambda: None)()
