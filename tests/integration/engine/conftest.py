import time

import pytest

import odin_testing.faults
from builders import submission
from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.model.commands import Submit
from odin.store.database import Database
from odin.store.migrate import bring_up_to_date
from odin.store.queries import Queries
from odin_testing.place import FakePlace

DEADLINE_S = 60


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "odin.db"
    database = Database(f"sqlite:///{path}")
    bring_up_to_date(database)
    database.close()
    return path


class House:
    """An engine on a real database with a place that outlives it; ``crash`` makes a new engine on the same two."""

    def __init__(self, url, shared, place):
        self.url, self.place, self.shared = url, place, shared
        self.built = []
        self.engine = self.begin()

    def begin(self):
        self.database = Database(self.url)
        self.queries = Queries(self.database)
        launches = Launches(Layout(self.shared))
        engine = Engine(self.database, self.place, launches, lambda pipeline: self.built.append(pipeline.id))
        engine.start()
        return engine

    def end(self):
        self.engine.stop()
        self.database.close()

    def restart(self):
        self.end()
        self.engine = self.begin()

    def submit(self, *specs, **fields):
        made = submission(*specs, at=time.time(), **fields)
        self.engine.submit(Submit(made)).result(DEADLINE_S)
        return made.id

    def final(self, identity):
        self.engine.when_final(identity).result(DEADLINE_S)
        return self.queries.pipeline(identity)

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "it does not happen"
            time.sleep(0.005)


@pytest.fixture
def sqlite(template, tmp_path):
    path = tmp_path / "odin.db"
    path.write_bytes(template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql(postgres):
    url = postgres.migrated()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request, tmp_path):
    """On both kinds of database."""
    url, made = request.getfixturevalue(request.param), []

    def build(place=None, *, url=url):
        made.append(House(url, tmp_path / "shared", place or FakePlace()))
        return made[-1]

    yield build
    odin_testing.faults.plan("")
    for each in made:
        each.end()
