import pytest

from odin.store.database import Database
from odin.store.migrate import bring_up_to_date


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A migrated, empty database file to copy."""
    path = tmp_path_factory.mktemp("template") / "odin.db"
    database = Database(f"sqlite:///{path}")
    bring_up_to_date(database)
    database.close()
    return path


@pytest.fixture
def sqlite(template, tmp_path):
    path = tmp_path / "odin.db"
    path.write_bytes(template.read_bytes())
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgresql(postgres):
    url = postgres.migrated()
    database = Database(url)
    yield database
    database.close()
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Both kinds keep the same promises."""
    return request.getfixturevalue(request.param)
