"""Facts about this store itself."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, select

from odin.store.database import Database
from odin.store.functions import insert_into
from odin.store.schema import facts

STORE_ID = "store_id"


def store_id(database: Database) -> str:
    """The store's own id, made once: tokens and objects of another store are told apart by it."""
    with database.reader() as connection:
        found = connection.execute(select(facts.c.value).where(facts.c.name == STORE_ID)).scalar_one_or_none()
    if found is not None:
        return str(found)
    return database.write(_make_id)


def _make_id(connection: Connection) -> str:
    """Or read that of a server which was quicker."""
    made = insert_into(connection, facts).values(name=STORE_ID, value=uuid.uuid4().hex)
    connection.execute(made.on_conflict_do_nothing())
    return str(connection.execute(select(facts.c.value).where(facts.c.name == STORE_ID)).scalar_one())
