"""PostgreSQL: sessions that let go of what died, and its errors in Odin's words.

The URL is libpq's, with every parameter of it. The driver is imported here alone, and only where it is used.
Source: architecture.md, "Store"; reliability.md, F-40 to F-44.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool, QueuePool

from odin.model.errors import InvalidInput, NoSpace, OdinError, Unavailable
from odin.store.backend import PATIENCE_S, Backend, Crossed

if TYPE_CHECKING:
    import psycopg

POOLED = 10
PAUSE_S = 0.05
MISSING = "the PostgreSQL driver is not installed: pip install 'odin-pipelines[postgresql]'"

# libpq's; a URL that names one of them has its way. A peer that is gone is noticed within ten seconds or so, a standby
# is passed over.
PARAMETERS: dict[str, str | int] = {
    "application_name": "odin",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",
}
# Of a session: a server that froze, or whose machine is gone, holds no lock for long; the same from the other end.
SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "1s",
    "statement_timeout": "30s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
MIGRATIONS = 0x6F64696E  # "odin": the advisory lock of who migrates
_END = text("""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = :name AND datname = current_database() AND pid <> pg_backend_pid()""")
_PREPARE = f"""
SELECT {", ".join(f"set_config('{name}', '{value}', false)" for name, value in SETTINGS.items())},
 CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"""

log = logging.getLogger("odin.store")


def connected(url: str) -> Backend:
    """Raises InvalidInput for a URL that libpq cannot read, Unavailable without the driver. Connects later."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise Unavailable(f"{MISSING} ({error})") from error
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise InvalidInput(f"ODIN_DATABASE_URL is not a URL of PostgreSQL: {error}") from error
    door = _Door(PARAMETERS | given)
    pool = {"pool_size": POOLED, "max_overflow": 0, "pool_timeout": PATIENCE_S, "pool_pre_ping": True}
    kind: dict[str, Any] = {"creator": door.connect, "use_native_hstore": False}
    engine = create_engine("postgresql+psycopg://", poolclass=QueuePool, **kind, **pool)
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    own = create_engine("postgresql+psycopg://", poolclass=NullPool, **kind)
    return Postgresql("postgresql", None, reading, engine, own)


class Postgresql(Backend):
    """Sessions live on in the server when a connection breaks, and others migrate at the same time."""

    __slots__ = ()

    def name(self, connection: Connection, name: str) -> None:
        connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
        connection.commit()

    def end(self, connection: Connection, name: str) -> bool:
        return connection.execute(_END, {"name": name}).first() is None

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """On a second session, which holds the lock: each migration is a transaction of its own."""
        patient = self.own.execution_options(isolation_level="AUTOCOMMIT")
        with patient.connect() as holding, self.own.connect() as connection:
            for each in (holding, connection):
                each.execute(
                    text("SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)")
                )
            connection.commit()
            holding.execute(text(f"SELECT pg_advisory_lock({MIGRATIONS})"))
            yield connection


class _Door:
    """Connects. For a while it waits for a server that is restarting or full; then one asks and the others are told."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._shut_since: float | None = None
        self._asking = threading.Lock()

    def connect(self) -> psycopg.Connection[Any]:
        """Raises Unavailable. What the driver said stands in the log: it names hosts and users."""
        while self._is_patient():
            try:
                return self._try()
            except Unavailable:
                time.sleep(PAUSE_S)
        if not self._asking.acquire(blocking=False):
            raise Unavailable("the database cannot be reached; try again")
        try:
            return self._try()
        finally:
            self._asking.release()

    def _is_patient(self) -> bool:
        return self._shut_since is None or time.monotonic() < self._shut_since + PATIENCE_S

    def _try(self) -> psycopg.Connection[Any]:
        import psycopg

        connection = None
        try:
            connection = psycopg.connect(**self._parameters, autocommit=True)
            connection.execute(_PREPARE)
            connection.autocommit = False
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            if self._shut_since is None:
                self._shut_since = time.monotonic()
                log.warning("no connection to the database: %s", " ".join(str(error).split()))
            raise Unavailable("the database cannot be reached; try again") from error
        if self._shut_since is not None:
            log.warning("connected to the database again")
            self._shut_since = None
        return connection


# By SQLSTATE, the longest prefix wins. Source: PostgreSQL's manual, appendix A.
_CROSSED = ("40001", "40P01", "55P03")
_MEANINGS = {
    "08": "the connection to the database broke; try again",
    "25006": "the database is a standby, which takes no writes; try again",
    "25P03": "the database ended a session that was silent for too long; try again",
    "25P04": "the database ended a session that took too long; try again",
    "42501": "the database refuses what Odin needs; see the server's log",
    "53": "the database is overloaded; try again",
    "57": "the database is stopping or gave up; try again",
    "58": "the database's machine failed; see its log",
    "XX001": "the database is damaged; restore a backup",
    "XX002": "an index of the database is damaged; see its log",
}


def translation(error: BaseException) -> OdinError | None:
    """What the driver's error means to a user; None for another's, and for a bug in Odin (a syntax error, say)."""
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state in _CROSSED:
        return Crossed("the database was busy with something that stood in the way; try again")
    if state == "53100":
        return NoSpace("the database's disk is full; free some space and try again")
    for length in (5, 2):
        if sentence := _MEANINGS.get(state[:length]):
            return Unavailable(sentence)
    if isinstance(error, psycopg.DataError):
        return InvalidInput("a value is too long, too large, or no text that the database can hold")
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable("the connection to the database broke; try again")
    return None
