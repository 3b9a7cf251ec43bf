"""Two versions of Odin on one PostgreSQL: servers are replaced one after the other, and back again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import odin
from e2e.jobs import job, task
from e2e.serving import Serving
from odin.store.migrations import HEAD, OLDEST
from postgres import Postgres

NEXT = "9001"
MIGRATION = f'''"""Of the next version."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{HEAD}", None, None


def upgrade() -> None:
    op.create_table("more", sa.Column("id", sa.Integer(), nullable=False), sa.PrimaryKeyConstraint("id"))
    for table in ("pipelines", "tasks", "attempts", "events", "servers", "users"):
        op.add_column(table, sa.Column("colour", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("weight", sa.Integer(), nullable=False, server_default="7"))
'''


def next_version(folder: Path, oldest: str = OLDEST) -> str:
    """This program with one migration more, which is in force where this folder is on PYTHONPATH."""
    tree = folder / "odin"
    shutil.copytree(Path(odin.__file__).parent, tree, ignore=shutil.ignore_patterns("__pycache__"))
    migrations = tree / "store" / "migrations"
    (migrations / "versions" / f"{NEXT}_next.py").write_text(MIGRATION)
    said = (migrations / "__init__.py").read_text()
    said = said.replace(f'"{HEAD}")', f'"{HEAD}", "{NEXT}")').replace(f'OLDEST = "{OLDEST}"', f'OLDEST = "{oldest}"')
    (migrations / "__init__.py").write_text(said)
    return str(folder)


@pytest.fixture
def two(own_postgres: Postgres) -> Iterator[tuple[Serving, Serving]]:
    settings = {"DATABASE_URL": own_postgres.empty(), "SECRET": "s" * 40}
    servers = Serving(dict(settings)), Serving(dict(settings))
    try:
        yield servers
    finally:
        for each in servers:
            each.close()


def test_f53_old_and_new_servers_work_together_and_the_old_one_can_come_back(
    two: tuple[Serving, Serving], tmp_path: Path
) -> None:
    old, new = two
    go = old.folder / "go"
    waits = job(task("first", f"while [ ! -e {go} ]; do sleep 0.05; done"), task("second", "echo done", "first"))
    old.start().api().push("waits", waits)
    before = old.api().launch("waits")
    old.api().executing(f"{before}--first")

    new.variables["PYTHONPATH"] = next_version(tmp_path)
    new.start().api().push("waits", waits)
    assert f"schema {NEXT}" in old.operate("odin-serve", "migrate").err
    beside = [server.api().launch("waits") for server in two]
    old.kill()
    old.start()
    assert f"the database has schema {NEXT}, made by a newer Odin; this program, of {HEAD}, works on it" in old.said()
    after = [server.api().launch("waits") for server in two]
    go.touch()
    for pipeline in (before, *beside, *after):
        for server in two:
            assert server.api().finished(pipeline)["outcome"] == "succeeded"

    new.terminate()
    alone = old.api().launch("waits")
    assert old.api().finished(alone)["outcome"] == "succeeded"
    assert len(old.api().get("/v1/pipelines")["pipelines"]) == 6


def test_f53_a_server_that_the_new_schema_does_not_suit_is_refused(
    two: tuple[Serving, Serving], tmp_path: Path
) -> None:
    old, new = two
    old.operate("odin-serve", "migrate")
    new.variables["PYTHONPATH"] = next_version(tmp_path, oldest=NEXT)
    new.operate("odin-serve", "migrate")
    for words in (("odin-serve", "migrate"), ("odin-serve",)):
        assert f"has schema {NEXT}, made by a newer Odin" in old.operate(*words, code=9).err
