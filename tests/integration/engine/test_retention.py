"""What finished pipelines left is removed by age and by size; never what runs. Real folders, a real database."""

import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

import odin_testing.faults
from builders import spec
from odin.engine import retention as module
from odin.engine.cleanup import Cleaner
from odin.engine.clock import Clock
from odin.engine.layout import Layout
from odin.engine.retention import DAY_S, Limits, Retention, size_of
from odin.executors.protocol import NoObjects
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.model.errors import Conflict, Unavailable
from odin.store.deletion import Deletions
from odin.store.expiry import Expiry
from odin.store.schema import pipelines, tombstones
from odin_testing.place import FakePlace

MB = 1_000_000


class Stubborn(NoObjects):
    """A cluster in which something stays, once."""

    def __init__(self):
        self.asked = []

    def remove(self, pipeline):
        self.asked.append(pipeline)
        if len(self.asked) == 1:
            raise Conflict("1 objects are still being removed")
        return ()


class Attic:
    """Pipelines with something in their folders, and a retention of these."""

    def __init__(self, house, root, logs):
        self.house, self.layout, self.logs = house, Layout(root / "shared"), logs
        self.layout.runs.mkdir(parents=True, exist_ok=True)
        self.repository = Repository.open(root / "jobs.git")
        self.checkouts = Checkouts(self.repository, self.layout.checkouts)
        self.gone = []

    def retention(self, *, days=None, size=None, objects=None):
        database = self.house.database
        cleaner = Cleaner(
            self.layout, self.logs, Deletions(database), self.checkouts, self.house.queries, objects or NoObjects()
        )
        limits = Limits(days and days * DAY_S, size)
        return Retention(limits, Expiry(database), cleaner, clock=Clock(), gone=self.gone.append)

    def running(self, name, **fields):
        identity = self.house.submit(spec("a"), id=name, **fields)
        for folder in (self.layout.run(identity) / "a", self.logs / identity):
            folder.mkdir(parents=True)
        return identity

    def finished(self, name, *, days, mb=0, **fields):
        """One that ended so long ago, with so much in its folder."""
        identity = self.running(name, **fields)
        self.house.final(identity)
        (self.layout.run(identity) / "a" / "model").write_bytes(b"m" * (mb * MB))
        (self.logs / identity / f"{identity}--a.log").write_text("done\n")
        with self.house.database.writer() as connection:
            then = time.time() - days * DAY_S
            connection.execute(update(pipelines).where(pipelines.c.id == identity).values(completed_at=then))
        return identity

    def left(self):
        """The pipelines that there are, by the database; folders and logs must say the same."""
        rows = self.house.queries.known_ids() - self.buried()
        for parent in (self.layout.runs, self.logs):
            assert {path.name for path in parent.iterdir()} == rows
        assert not self.layout.trash.exists() or list(self.layout.trash.iterdir()) == []
        return rows

    def buried(self):
        with self.house.database.reader() as connection:
            return set(connection.execute(select(tombstones.c.id)).scalars())


@pytest.fixture
def attic(house, tmp_path):
    made = []

    def build(place=None, logs=tmp_path / "logs"):
        made.append(Attic(house(place), tmp_path, logs))
        return made[-1]

    yield build
    for each in made:
        each.repository.close()


def test_what_ended_long_ago_goes_whole_and_what_did_not_stays(attic):
    attic = attic()
    old, young = attic.finished("old", days=31), attic.finished("young", days=29)
    retention = attic.retention(days=30)
    retention.sweep()
    assert attic.left() == {young}
    assert (attic.gone, attic.buried()) == ([old], {old})
    assert retention.figures.removed == {"age": 1}
    retention.sweep()
    assert (attic.left(), attic.gone) == ({young}, [old])


def test_without_limits_nothing_goes(attic):
    attic = attic()
    old = attic.finished("old", days=3000, mb=5)
    retention = attic.retention()
    retention.start()
    retention.sweep()
    retention.stop()
    assert attic.left() == {old}


def test_what_runs_is_never_removed_however_long_it_has(attic):
    attic = attic(FakePlace(plan=lambda _: None))
    identity = attic.running("slow")
    with attic.house.database.writer() as connection:
        connection.execute(update(pipelines).values(submitted_at=0.0, completed_at=0.0))
    attic.retention(days=1, size=1).sweep()
    assert attic.left() == {identity}


def test_the_pipelines_that_ended_first_go_until_the_rest_fits(attic):
    attic = attic()
    third, first, second = (attic.finished(f"p{days}", days=days, mb=4) for days in (1, 3, 2))
    retention = attic.retention(size=9 * MB)
    retention.sweep()
    assert attic.left() == {second, third}
    assert attic.gone == [first]
    assert 8 * MB <= retention.figures.held <= 9 * MB
    assert retention.figures.removed == {"size": 1}


def test_what_runs_counts_and_stays(attic, caplog):
    attic = attic(FakePlace(plan=lambda launch: 0 if "done" in launch.attempt else None))
    done, slow = attic.finished("done", days=1, mb=1), attic.running("slow")
    (attic.layout.run(slow) / "a" / "model").write_bytes(b"m" * (4 * MB))
    retention = attic.retention(size=3 * MB)
    retention.sweep()
    retention.sweep()
    assert attic.left() == {slow}
    assert attic.gone == [done]
    assert [record.message for record in caplog.records if "none that is left may go" in record.message] != []
    assert len([record for record in caplog.records if "may go" in record.message]) == 1


def test_a_pipeline_that_a_running_one_goes_on_from_stays_until_that_is_over(attic):
    place = FakePlace(plan=lambda launch: 0 if "before" in launch.attempt else None)
    attic = attic(place)
    before = attic.finished("before", days=9)
    after = attic.running("after", rerun_of=before)
    retention = attic.retention(days=1)
    retention.sweep()
    assert attic.left() == {before, after}
    attic.house.until(lambda: place.running)
    place.finish(f"{after}--a", 0)
    attic.house.final(after)
    retention.sweep()
    assert attic.left() == {after}


def test_what_stays_in_the_cluster_is_asked_for_again_and_nothing_else_is_removed_before(attic):
    attic = attic()
    old, objects = attic.finished("old", days=9), Stubborn()
    retention = attic.retention(days=1, objects=objects)
    retention.sweep()
    assert attic.left() == {old}
    assert retention.figures.removed == {}
    retention.sweep()
    assert attic.left() == set()
    assert objects.asked == [old, old]


@pytest.mark.parametrize("point", ["cleanup:renamed", "cleanup:rows-removed"])
def test_a_removal_that_was_cut_off_is_finished_at_the_next_start(attic, point):
    attic = attic()
    attic.finished("old", days=9, mb=1)
    odin_testing.faults.plan(f"{point}:raise")
    with pytest.raises(Exception, match=point):
        attic.retention(days=1).sweep()
    odin_testing.faults.plan("")
    retention = attic.retention()
    retention._cleaner.resume()
    assert attic.left() == set()
    assert attic.buried() == {"old"}


def test_nothing_outside_is_counted_or_removed_by_a_link(attic, tmp_path):
    attic = attic()
    old = attic.finished("old", days=9)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * MB)
    (attic.layout.run(old) / "a" / "link").symlink_to(outside)
    (attic.layout.runs / "elsewhere").symlink_to(outside)
    assert size_of(attic.layout.run(old)).held < MB
    retention = attic.retention(days=1, size=MB // 2)
    retention.sweep()
    (attic.layout.runs / "elsewhere").unlink()
    assert attic.left() == set()
    assert (outside / "precious").stat().st_size == MB
    assert retention.figures.held == 0


def test_a_file_of_two_pipelines_is_counted_once(attic):
    attic = attic()
    first, second = attic.finished("first", days=2, mb=2), attic.finished("second", days=1)
    shared = attic.layout.run(second) / "a" / "kept"
    shared.hardlink_to(attic.layout.run(first) / "a" / "model")
    whole = size_of(attic.layout.run(first)).held + size_of(attic.layout.run(second)).held
    assert 2 * MB <= whole < 3 * MB


def test_a_file_that_a_later_pipeline_keeps_frees_nothing_before_that_goes_too(attic):
    attic = attic()
    first, second, third = (attic.finished(f"p{days}", days=days, mb=4 * (days != 2)) for days in (3, 2, 1))
    kept = attic.layout.run(second) / "a" / "model"
    kept.unlink()
    kept.hardlink_to(attic.layout.run(first) / "a" / "model")
    retention = attic.retention(size=7 * MB)
    retention.sweep()
    assert attic.left() == {third}
    assert 4 * MB <= retention.figures.held < 5 * MB


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another file system."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("not run here: there is no second file system")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        yield Path(folder)


def test_logs_on_another_disk_than_the_run_folders_go_too(attic, other_disk):
    attic = attic(logs=other_disk / "logs")
    attic.finished("old", days=9)
    attic.retention(days=1).sweep()
    assert attic.left() == set()
    assert [path.name for path in other_disk.iterdir() if any(path.iterdir())] == []


def test_a_sweep_that_the_database_broke_off_goes_on_once_that_is_back(attic, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    attic = attic()
    ended = [attic.finished(f"old{number}", days=9 - number) for number in range(3)]
    begin, asked = Expiry.begin, []

    def breaking(expiry, pipeline):
        asked.append(pipeline)
        if len(asked) in (2, 3):
            raise Unavailable("the connection to the database broke; try again")
        return begin(expiry, pipeline)

    monkeypatch.setattr(Expiry, "begin", breaking)
    sweeping = attic.retention(days=1)
    sweeping.start()
    while len(attic.gone) < 3:
        time.sleep(0.01)
    sweeping.stop()
    assert (attic.gone, attic.left()) == (ended, set())
    assert caplog.text.count("could not be removed yet") == 1


def test_a_database_that_stays_away_is_asked_ever_less(attic, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    attic = attic()
    attic.finished("old", days=9)
    asked = []

    def away(*_):
        asked.append(time.monotonic())
        raise Unavailable("the connection to the database broke; try again")

    monkeypatch.setattr(Expiry, "begin", away)
    sweeping = attic.retention(days=1)
    sweeping.start()
    while len(asked) < 6:
        time.sleep(0.01)
    sweeping.stop()
    # Each wait is at least so long: twice the one before, from the second on.
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert all(wait >= least for wait, least in zip(waits, (0.02, 0.04, 0.08, 0.16, 0.32), strict=False)), waits


def test_one_that_somebody_cleans_up_is_left_to_them(attic):
    attic = attic()
    old = attic.finished("old", days=9)
    Deletions(attic.house.database).begin(old, db=False, fs=True)
    attic.retention(days=1).sweep()
    assert attic.left() == {old}
    with attic.house.database.reader() as connection:
        assert "false" in connection.execute(text("SELECT deleting FROM pipelines")).scalar_one()
