"""SQLite, in WAL with ``synchronous=FULL``: what is committed survives a power cut.

Writers take the write lock at their begin, so that nothing read in a transaction is old when it is written.
Source: architecture.md, "Store".
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from odin.model.errors import InvalidInput, NoSpace, OdinError, Unavailable
from odin.store.backend import PATIENCE_S, Backend

READERS = 8
# A page cache of 16 MiB and the log moved back every 1,000 pages keep both memory and the log small.
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-16384",
    "PRAGMA temp_store=MEMORY",
)
_LOGGED = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
log = logging.getLogger("odin.store")


def connected(url: URL) -> Backend:
    """Raises InvalidInput for a database in memory."""
    if not url.database:
        raise InvalidInput("ODIN_DATABASE_URL names no file; try sqlite:////path/odin.db")
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=PATIENCE_S,
        connect_args={"timeout": PATIENCE_S, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    writing = engine.execution_options(odin_begin="BEGIN IMMEDIATE")
    return Backend("sqlite", Path(url.database), engine, writing, writing)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("odin_begin", "BEGIN"))


def translation(error: BaseException) -> OdinError | None:
    """What SQLite's error means to a user; None for one that is a bug in Odin (a syntax error, say)."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    if code & 0xFF in _LOGGED:
        log.warning("SQLite says: %s (%s)", error, getattr(error, "sqlite_errorname", code))
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
