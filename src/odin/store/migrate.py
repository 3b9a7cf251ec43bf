"""Brings a database to this program's schema, in a child process so that Alembic is never in the server.

``python -m odin.store.migrate`` is the child, which reads the URL from its input. Each migration is one transaction; a
run that was interrupted is simply run again. Of servers that start together one migrates, the others wait for it.
Source: architecture.md, "Store"; reliability.md, F-48.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import inspect, text

from odin.model.errors import Conflict, Unavailable
from odin.store.database import Database
from odin.store.migrations import HEAD, VERSIONS

LIMIT_S = 600.0


def version(database: Database) -> str | None:
    """The schema's version in the database; None for an empty one."""
    with database.reader() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def bring_up_to_date(database: Database) -> bool:
    """Migrate if needed; True if something was done.

    Raises Conflict for a database of a newer Odin, Unavailable when the migration failed.
    """
    found = version(database)
    if found == HEAD:
        return False
    if found is not None and found not in VERSIONS:
        raise Conflict(
            f"the database has schema {found}, made by a newer Odin; this program knows up to {HEAD}. "
            "Start the newer program, or restore a backup made before the upgrade"
        )
    _run_child(database.url)
    return True


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


def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    database = Database(url)
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    database.close()


if __name__ == "__main__":
    _upgrade(sys.stdin.read())
