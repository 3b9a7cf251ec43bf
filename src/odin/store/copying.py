"""Copies of a SQLite database while others write in it, and what such a file is.

The online backup reads one snapshot, so writers neither wait for it nor show in it.
Source: https://www.sqlite.org/backup.html; reliability.md, F-47.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url

from odin.model.errors import InvalidInput, NotFound, Unavailable
from odin.store.database import translated
from odin.store.facts import STORE_ID

BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
MOST_LINES = 5
FENCES = 1_000_000  # owners that a pipeline can have had between a backup and its use


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database says of itself; ``store`` None where no server was started on it."""

    schema: str
    store: str | None
    pipelines: int


def file_of(url: str) -> Path:
    """Where a SQLite database lies. Raises InvalidInput for another kind."""
    kind = url.partition(":")[0]
    path = make_url(url).database if kind == "sqlite" else None
    if not path:
        raise InvalidInput(
            f"this copies SQLite databases; one of kind {kind} has tools of its own, such as pg_dump and pg_restore"
        )
    return Path(path)


def copy(source: Path, target: Path) -> None:
    """Write a copy as one file that is not there yet. Raises NotFound, NoSpace, Unavailable."""
    if not source.is_file():
        raise NotFound(f"there is no database at {source}")
    with translated(), _opened(source) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")


def facts(path: Path) -> Facts:
    """Look the whole database over. Raises Unavailable with what is wrong with it."""
    with translated(), _opened(path) as database:
        if wrong := damage(database):
            raise Unavailable("; ".join(wrong))
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            raise Unavailable("it has no tables of Odin")
        (schema,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        store = database.execute("SELECT value FROM facts WHERE name = ?", (STORE_ID,)).fetchone()
        (count,) = database.execute("SELECT count(*) FROM pipelines").fetchone()
        return Facts(schema, store[0] if store else None, count)


def raise_fences(path: Path) -> None:
    """Put the fences of pipelines in flight above any that was given since the copy was made.

    Whoever runs their tasks refuses an owner whose number is lower than one that it has seen.
    """
    with translated(), _opened(path) as database, database:
        database.execute("UPDATE pipelines SET fence = fence + ? WHERE outcome IS NULL", (FENCES,))


def wrong(path: Path) -> list[str]:
    """What SQLite's own check finds in a database; none where there is none yet, or it is sound."""
    if not path.is_file():
        return []
    try:
        with _opened(path) as database:
            return damage(database)
    except sqlite3.DatabaseError as error:
        return [str(error)]


def damage(database: sqlite3.Connection) -> list[str]:
    """The first lines that SQLite's own check says, none of a sound database."""
    lines = [str(line) for (line,) in database.execute(f"PRAGMA integrity_check({MOST_LINES})")]
    return [] if lines == ["ok"] else lines


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that never makes a file of its own."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as connection:
        yield connection
