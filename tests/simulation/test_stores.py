"""The store in memory and the real ones, side by side through the same schedules: they agree on every word.

Otherwise the simulator would prove something of a store that nobody uses.
"""

import pytest
from sqlalchemy import select, update

from odin.model.ids import PipelineId
from odin.store import schema
from odin.store.database import Database
from odin.store.deletion import Deletions
from odin.store.migrate import bring_up_to_date
from odin.store.rows import Rows
from simulation.memory import ATTEMPT, PIPELINE, TASK, Memory
from simulation.schedule import Schedule

SEEDS = range(50)
JSON = {"cards", "spent"}  # the rows have them as text; ``load`` compares what comes of it


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory):
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('simulation') / 'odin.db'}")
    bring_up_to_date(database)
    yield database
    database.close()


@pytest.fixture(scope="session")
def postgresql(postgres):
    url = postgres.migrated()
    database = Database(url)
    yield database
    database.close()
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.getfixturevalue(request.param)


class Both(Memory):
    """Each call goes to both, and both must say the same."""

    def __init__(self, audit, database):
        super().__init__(audit)
        self._database = database
        self._real = Rows(database)
        self._real.open()
        with database.writer() as connection:
            for name in ("pipelines", "tasks", "attempts", "events", "tombstones", "idempotency"):
                connection.execute(schema.metadata.tables[name].delete())

    def close(self):
        self._real.close()

    def commit(self, changes, promises, owner, now):
        real = self._real.commit(changes, promises, now=now)
        lost = super().commit(changes, promises, owner, now)
        assert real == lost
        for identity in changes.pipelines:
            self._compare(identity)
        return lost

    def take_over(self, row, owner):
        super().take_over(row, owner)
        with self._database.writer() as connection:
            connection.execute(
                update(schema.pipelines).where(schema.pipelines.c.id == row.submission.id).values(fence=row.fence)
            )

    def raise_fences(self, seen):
        raised = super().raise_fences(seen)
        assert self._real.raise_fences(seen) == raised
        return raised

    def put_back(self):
        super().put_back()
        with self._database.writer() as connection:
            connection.execute(update(schema.pipelines).where(schema.pipelines.c.outcome.is_(None)).values(fence=1))

    def load(self, row):
        loaded = super().load(row)
        assert self._real.load([row.submission.id]) == [loaded]
        return loaded

    def positions(self, ids):
        ids = list(ids)
        return super().positions(ids)

    def final(self, ids):
        final = super().final(ids)
        assert self._real.final(ids) == final
        return final

    def delete(self, identity):
        deletions = Deletions(self._database)
        is_final = deletions.begin(PipelineId(identity), db=True, fs=True)
        if is_final:
            deletions.finish(PipelineId(identity), db=True)
        known = identity in self.rows
        deleted = super().delete(identity)
        assert is_final == (deleted and known)
        return deleted

    def _compare(self, identity):
        """Every row of a pipeline."""
        row = self.rows.get(identity)
        if row is None:
            return
        with self._database.reader() as connection:
            kept = connection.execute(select(schema.pipelines).where(schema.pipelines.c.id == identity)).one()
            assert (kept.fence, kept.seq) == (row.fence, row.seq)
            assert self._same(kept, PIPELINE, row.pipeline)
            for each in self._all(connection, schema.tasks, identity):
                assert self._same(each, ["attempt" if name == "number" else name for name in TASK], row.tasks[each.idx])
            attempts = self._all(connection, schema.attempts, identity)
            assert {(each.idx, each.number) for each in attempts} == row.attempts.keys()
            for each in attempts:
                assert self._same(each, ATTEMPT, row.attempts[each.idx, each.number])
            events = self._all(connection, schema.events, identity)
            assert [tuple(each) for each in events] == [tuple(each) for each in row.events]

    def _all(self, connection, table, identity):
        wanted = select(table).where(table.c.pipeline == identity).order_by(*table.primary_key.columns)
        return connection.execute(wanted).all()

    def _same(self, kept, names, values):
        there = [getattr(kept, name) for name in names if name not in JSON]
        wanted = [
            value or None if name == "message" else value
            for name, value in zip(names, values, strict=True)
            if name not in JSON
        ]
        assert there == wanted, dict(zip(names, zip(there, wanted, strict=False), strict=False))
        return True


def test_the_store_in_memory_and_the_real_one_agree(database):
    for seed in SEEDS:
        schedule = Schedule(seed)
        schedule.memory = both = Both(schedule.judge, database)
        try:
            result = schedule.run()
        finally:
            both.close()
        assert result.violation is None, seed
