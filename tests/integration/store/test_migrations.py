"""A database of the first release: it migrates with all that is in it, whenever that is interrupted."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from odin.store import loading
from odin.store.database import Database
from odin.store.migrate import OLDEST_PROGRAM, bring_up_to_date, upgrade, version
from odin.store.migrations import HEAD
from odin.store.queries import Filter, Queries
from odin.store.schema import metadata
from odin.store.users import Users

HERE = Path(__file__).parent
FIRST = (HERE / "first_release.sql").read_text()
ROWS = re.findall(r'^INSERT INTO (?!"(?:alembic_version|sqlite_sequence)").*?\);$', FIRST, re.M | re.S)
KILLED = "-9"


def of_sqlite(postgres, tmp_path):
    """URLs of databases as the first release left them."""
    for number in range(1000):
        path = tmp_path / f"first{number}.db"
        with closing(sqlite3.connect(path)) as database:
            database.executescript(FIRST)
        yield f"sqlite:///{path}"


def of_postgresql(postgres, tmp_path):
    first = postgres.empty()
    upgrade(first, "0001")
    name = first.rpartition("/")[2]
    for row in ("DELETE FROM facts", *ROWS):
        postgres.execute(row, name)
    for table, column in (("pipelines", "number"), ("users", "uid")):
        postgres.execute(f"SELECT setval('{table}_{column}_seq', (SELECT max({column}) FROM {table}))", name)
    for number in range(1000):
        copy = f"{name}_{number}"
        postgres.execute(f"CREATE DATABASE {copy} TEMPLATE {name} STRATEGY file_copy")
        yield postgres.conninfo(copy)
        postgres.drop(copy)


@pytest.fixture(params=[of_sqlite, of_postgresql], ids=["sqlite", "postgresql"])
def firsts(request, tmp_path):
    postgres = request.getfixturevalue("postgres") if request.param is of_postgresql else None
    return request.param(postgres, tmp_path)


@pytest.fixture
def migrator():
    with subprocess.Popen(
        [sys.executable, HERE / "migrating.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def migrate(url, last=0):
            process.stdin.write(f"{url} {last}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield migrate
        process.stdin.close()


def content(database):
    """Every table with its columns and rows."""
    with database.reader() as connection:
        tables = inspect(connection)
        names = {name: [each["name"] for each in tables.get_columns(name)] for name in tables.get_table_names()}
        found = {}
        for name, columns in names.items():
            listed = ", ".join(columns)
            rows = connection.execute(text(f"SELECT {listed} FROM {name} ORDER BY {listed}")).all()
            found[name] = [dict(zip(columns, row, strict=True)) for row in rows]
    return found


def check_whole(database, before):
    """The schema is this program's, and every value of every row is as it was."""
    assert version(database) == HEAD
    with database.reader() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    after = content(database)
    after["facts"] = [row for row in after["facts"] if row["name"] != OLDEST_PROGRAM]  # it is of the schema
    for name, rows in before.items():
        if name != "alembic_version":
            assert [{column: new[column] for column in old} for new, old in zip(after[name], rows, strict=True)] == rows


def test_a_database_of_the_first_release_migrates_with_all_that_is_in_it(firsts):
    database = Database(next(firsts))
    before = content(database)
    assert {name: len(rows) for name, rows in before.items() if rows} == {
        "alembic_version": 1,
        "attempts": 7,
        "events": 33,
        "facts": 1,
        "pipelines": 5,
        "tasks": 9,
        "tombstones": 1,
        "users": 2,
    }
    assert bring_up_to_date(database)
    check_whole(database, before)

    found, _ = Queries(database).pipelines(Filter())
    assert [(each.job, each.status, each.outcome) for each in found] == [
        ("long", "RUNNING", None),
        ("long", "TERMINATED", "cancelled"),
        ("flaky", "DONE", "succeeded"),
        ("bad", "TERMINATED", "failed"),
        ("good", "DONE", "succeeded"),
    ]
    assert [user.username for user in Users(database).list()] == ["ada", "bob"]
    with database.reader() as connection:
        running = loading.load(connection, found[0].id)
    assert [(task.spec.name, task.attempt is not None) for task in running.tasks] == [("fetch", True), ("train", False)]
    database.close()


def test_f48_a_migration_that_is_killed_at_any_statement_is_simply_run_again(firsts, migrator):
    for number in range(1, 1000):
        url = next(firsts)
        database = Database(url)
        before = content(database)
        if migrator(url, number) != KILLED:
            break
        assert migrator(url) == "0"
        check_whole(database, before)
        database.close()
    database.close()
    assert number > 20
