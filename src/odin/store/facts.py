"""Facts about this store itself."""

from __future__ import annotations

import uuid

from sqlalchemy import insert, select

from odin.store.database import Database
from odin.store.schema import facts

STORE_ID = "store_id"


def store_id(database: Database) -> str:
    """The store's own id, made once: tokens and objects of another store are told apart by it."""
    with database.reader() as connection:
        found = connection.execute(select(facts.c.value).where(facts.c.name == STORE_ID)).scalar_one_or_none()
    if found is not None:
        return str(found)
    with database.writer() as connection:
        first = insert(facts).prefix_with("OR IGNORE", dialect="sqlite")
        connection.execute(first.values(name=STORE_ID, value=uuid.uuid4().hex))
        return str(connection.execute(select(facts.c.value).where(facts.c.name == STORE_ID)).scalar_one())
