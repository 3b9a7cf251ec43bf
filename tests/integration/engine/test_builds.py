"""What pipelines stand on after the machine lost its power: looked at, and made again where it is not whole."""

from dataclasses import replace

import pytest

from builders import spec, submission
from odin.engine.builds import Builds
from odin.engine.keepsakes import Keepsakes
from odin.engine.layout import Layout
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.jobs.workfolders import WorkFolders
from odin.model.commands import Submit
from odin.store import loading
from odin_testing.place import FakePlace

FILES = {"main.yml": b"tasks: []", "plain.txt": b"plain", "lr.txt.jinja2": b"{{ lr }}"}


class Machine:
    """A running pipeline of a job with a template, and everything that it stands on."""

    def __init__(self, house, folder):
        self.house, self.layout = house, Layout(folder / "shared")
        self.layout.runs.mkdir(parents=True)
        self.repository = Repository.open(folder / "jobs.git")
        self.version = self.repository.write("job", FILES, Author("ada"), create=True).version
        made = submission(spec("a"), spec("b", "a"), rendered=(("lr.txt", "0.1"),))
        self.id = made.id
        house.engine.submit(Submit(replace(made, version=self.version))).result(60)
        with house.database.reader() as connection:
            self.builds().build(loading.load(connection, self.id))

    def builds(self):
        """As a server makes them when it starts."""
        checkouts = Checkouts(self.repository, self.layout.checkouts)
        keepsakes = Keepsakes(self.layout, self.layout.shared / "logs")
        return Builds(self.layout, checkouts, WorkFolders(self.repository), self.house.queries, keepsakes)

    @property
    def files(self):
        return [
            self.layout.checkouts / self.version / "job/plain.txt",
            self.layout.work(self.id) / "lr.txt",
            self.layout.work(self.id) / "plain.txt",
            self.layout.task_ids(self.id),
        ]

    def lose_power(self):
        """Names are there, what was in them is not, and the machine has another boot id."""
        for path in self.files:
            mode = path.stat().st_mode
            path.chmod(0o600)
            path.write_bytes(b"")
            path.chmod(mode)
        seal = self.layout.checkouts / ".seals" / self.version
        seal.write_text(f"another-boot {seal.read_text().split()[1]}")

    def start(self):
        self.builds().mend(self.house.database)

    @property
    def contents(self):
        return [path.read_text() for path in self.files]


WHOLE = ["plain", "0.1", "plain", "job-00000001--a\njob-00000001--b\n"]


@pytest.fixture
def machine(house, tmp_path):
    made = Machine(house(FakePlace(plan=lambda launch: None)), tmp_path / "m")
    yield made
    made.repository.close()


def test_f02_what_running_pipelines_stand_on_is_whole_again_after_a_power_cut(machine):
    assert machine.contents == WHOLE
    machine.lose_power()
    machine.start()
    assert machine.contents == WHOLE
    inodes = [path.stat().st_ino for path in machine.files[:3]]
    machine.start()
    assert [path.stat().st_ino for path in machine.files[:3]] == inodes


def test_f02_what_is_torn_and_cannot_be_made_again_is_gone(machine, monkeypatch, caplog):
    def full(*args, **fields):
        raise OSError(28, "No space left on device")

    machine.lose_power()
    monkeypatch.setattr("odin.jobs.workfolders.write_folder", full)
    machine.start()
    assert not machine.layout.work(machine.id).exists()
    assert f"the files of {machine.id} cannot be made again" in caplog.text
    assert machine.files[0].read_text() == "plain"


def test_a_restart_of_the_server_alone_looks_at_nothing(machine, monkeypatch):
    monkeypatch.setattr(WorkFolders, "ensure", None)
    machine.start()
    assert machine.contents == WHOLE
