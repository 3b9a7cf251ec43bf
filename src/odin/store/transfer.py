"""Fills an empty database with all that another holds: how one on SQLite moves to PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, insert, select

from odin.model.errors import Conflict
from odin.store.database import Database
from odin.store.facts import STORE_ID
from odin.store.migrate import OLDEST_PROGRAM, version
from odin.store.schema import facts, metadata, orders, pipelines, servers, users

AT_ONCE = 1000
NUMBERED = (pipelines.c.number, users.c.uid, orders.c.number)  # columns that PostgreSQL counts by itself


def holds(target: Database, store: str | None) -> bool:
    """Whether this very store is there already. Raises Conflict where another is, or anything else."""
    if version(target) is None:
        return False
    with target.reader() as connection:
        found = connection.execute(select(facts.c.value).where(facts.c.name == STORE_ID)).scalar_one_or_none()
        counts = [connection.execute(select(func.count()).select_from(each)) for each in (pipelines, users)]
        rows = sum(count.scalar_one() for count in counts)
    if found is not None and found == store:
        return True
    if found is not None or rows:
        raise Conflict("the database is in use by Odin already; a backup is restored into an empty one: see createdb")
    return False


def fill(source: Database, target: Database) -> None:
    """Copy every row in one transaction; both have the schema of this program."""
    with source.reader() as old, target.writer() as new:
        for table in metadata.sorted_tables:
            if table is not servers:
                _copy(old, new, table)
        for column in NUMBERED:
            sequence = func.pg_get_serial_sequence(column.table.name, column.name)
            new.execute(select(func.setval(sequence, func.coalesce(func.max(column), 0) + 1, False)))


def _copy(old: Connection, new: Connection, table: Table) -> None:
    wanted = select(table)
    if table is facts:
        wanted = wanted.where(facts.c.name != OLDEST_PROGRAM)
    for rows in old.execute(wanted).mappings().partitions(AT_ONCE):
        new.execute(insert(table), [dict(row) for row in rows])
