"""The database's promises: durability, locks, a full disk, and versions of the schema."""

import os
import subprocess
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from odin.model.errors import Conflict, InvalidInput, NoSpace, Unavailable
from odin.store import copying, migrations
from odin.store import sqlite as sqlite_module
from odin.store.database import Database
from odin.store.migrate import OLDEST_PROGRAM, bring_up_to_date, version
from odin.store.schema import metadata


def test_f02_what_is_committed_survives_a_power_cut(sqlite):
    with sqlite.reader() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_f02_what_postgresql_committed_survives_a_power_cut(postgres, postgresql):
    assert postgres.execute("SHOW synchronous_commit") == [("off",)]
    with postgresql.writer() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_migrations_make_the_tables_of_the_schema(database):
    with database.reader() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_versions_are_those_of_the_migrations():
    scripts = ScriptDirectory(os.path.dirname(migrations.__file__))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(migrations.VERSIONS)


def test_f48_a_database_of_a_newer_odin_is_refused_politely(database):
    with database.writer() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text(f"UPDATE facts SET value = '9998' WHERE name = '{OLDEST_PROGRAM}'"))
    with pytest.raises(Conflict, match="schema 9999, made by a newer Odin; this program knows up to"):
        bring_up_to_date(database)


def test_f53_a_newer_database_that_says_so_is_worked_on_and_one_that_says_nothing_is_refused(database, caplog):
    with database.writer() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert not bring_up_to_date(database)
    assert "has schema 9999, made by a newer Odin" in caplog.text
    with database.writer() as connection:
        connection.execute(text(f"DELETE FROM facts WHERE name = '{OLDEST_PROGRAM}'"))
    with pytest.raises(Conflict, match="made by a newer Odin"):
        bring_up_to_date(database)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    """The URL of a database with nothing in it."""
    return (
        f"sqlite:///{tmp_path}/empty.db" if request.param == "sqlite" else request.getfixturevalue("postgres").empty()
    )


def test_a_database_is_migrated_once(empty):
    fresh = Database(empty)
    assert version(fresh) is None
    assert bring_up_to_date(fresh)
    assert not bring_up_to_date(fresh)
    fresh.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "", "postgresql+asyncpg://x/y"])
def test_a_url_of_another_kind_is_refused(url):
    with pytest.raises(InvalidInput, match="sqlite:////path"):
        Database(url)


def test_f45_a_locked_database_is_said_and_the_next_request_works(sqlite, monkeypatch):
    held, free = threading.Event(), threading.Event()

    def hold():
        with sqlite.writer():
            held.set()
            free.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    impatient = Database(sqlite.url)
    monkeypatch.setattr(sqlite_module, "PRAGMAS", (*sqlite_module.PRAGMAS, "PRAGMA busy_timeout=50"))
    with pytest.raises(Unavailable, match="locked by another process"), impatient.writer():
        pass
    free.set()
    holder.join()
    with impatient.writer() as connection:
        connection.execute(text("INSERT INTO facts VALUES ('a', 'b')"))
    impatient.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk needs root to mount one")
def test_f13_a_full_disk_is_said_and_the_next_request_works(template, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        (disk / "odin.db").write_bytes(template.read_bytes())
        database = Database(f"sqlite:///{disk}/odin.db")
        with database.writer() as connection:
            connection.execute(text("INSERT INTO facts VALUES ('before', 'kept')"))
        (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 8192))
        with pytest.raises(NoSpace, match="disk is full"), database.writer() as connection:
            connection.execute(text("INSERT INTO facts VALUES ('big', hex(zeroblob(1000000)))"))
        (disk / "filler").unlink()
        with database.writer() as connection:
            connection.execute(text("INSERT INTO facts VALUES ('after', 'kept')"))
        with database.reader() as connection:
            names = connection.execute(text("SELECT name FROM facts ORDER BY name")).scalars().all()
        assert names[:2] == ["after", "before"]
        assert copying.wrong(disk / "odin.db") == []
        database.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
