"""Brings a database to this program's schema, in a child process so that Alembic is never in the server.

A database that a newer program has migrated is worked on as it is where that program says that it may be: old and new
servers run together while one is replaced after the other (F-53).

``python -m odin.store.migrate`` is the child, which reads the URL from its input. Each migration is one transaction; a
run that was interrupted is simply run again. Of servers that start together one migrates, the others wait for it.
Source: architecture.md, "Store"; reliability.md, F-48.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from odin.model.errors import Conflict, Unavailable
from odin.store.database import Database
from odin.store.functions import insert_into
from odin.store.migrations import HEAD, OLDEST, VERSIONS
from odin.store.schema import facts

LIMIT_S = 600.0
OLDEST_PROGRAM = "oldest_program"
log = logging.getLogger("odin.store")


def version(database: Database) -> str | None:
    """The schema's version in the database; None for an empty one."""
    with database.reader() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def bring_up_to_date(database: Database) -> bool:
    """Migrate if needed; True if something was done.

    Raises Conflict for a database that needs a newer Odin, Unavailable when the migration failed.
    """
    found = version(database)
    if found == HEAD:
        return False
    if found is not None and found not in VERSIONS:
        if _oldest(database) not in VERSIONS:
            raise Conflict(
                f"the database has schema {found}, made by a newer Odin; this program knows up to {HEAD}. "
                "Start the newer program, or restore a backup made before the upgrade"
            )
        log.warning("the database has schema %s, made by a newer Odin; this program, of %s, works on it", found, HEAD)
        return False
    _run_child(database.url)
    return True


def _oldest(database: Database) -> str | None:
    """The oldest program that may work on the database; None where nobody has said."""
    with database.reader() as connection:
        return connection.execute(select(facts.c.value).where(facts.c.name == OLDEST_PROGRAM)).scalar_one_or_none()


def _say_oldest(connection: Connection) -> None:
    """Before anything is changed, so that no older program comes upon what it cannot use."""
    if inspect(connection).has_table(facts.name):
        said = insert_into(connection, facts).values(name=OLDEST_PROGRAM, value=OLDEST)
        connection.execute(said.on_conflict_do_update(index_elements=["name"], set_={"value": OLDEST}))
    connection.commit()


def _run_child(url: str) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "odin.store.migrate"],
        input=url,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no output"])[-1]
        raise Unavailable(f"the database could not be migrated to schema {HEAD}: {last}")


def upgrade(url: str, to: str = "head") -> None:
    """Migrate in this process. Interrupted, it has done whole migrations and none in part."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    database = Database(url)
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        _say_oldest(connection)
        command.upgrade(config, to)
        _say_oldest(connection)
    database.close()


if __name__ == "__main__":
    upgrade(sys.stdin.read())
