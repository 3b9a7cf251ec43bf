"""What the runner's journal says after a power loss, with nothing of it but what was synced."""

from pathlib import Path

import pytest

from odin.executors.runner.journal import Journal
from odin.executors.runner.ledger import Ledger


class Machine:
    """A disk of its own; ``starts`` is a runner that begins in this boot of the machine."""

    def __init__(self, folder):
        self.path = folder / "journal"
        self.synced = b""

    def starts(self, boot):
        machine = self

        class Watched(Journal):
            def sync(self):
                super().sync()
                machine.synced = machine.path.read_bytes()

        return Ledger(Watched(str(self.path)), runner="r", boot=boot)

    def loses_power(self):
        Path(self.path).write_bytes(self.synced)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_f02_after_a_power_loss_it_is_known_that_something_may_have_run(machine):
    runner = machine.starts("first")
    runner.started({"op": "started", "id": "job-00000001--a"})
    runner.flush()
    machine.loses_power()
    assert machine.starts("second").doubts(None)


def test_f02_the_orderly_end_of_an_earlier_runner_says_nothing_of_a_later_one(machine):
    machine.starts("first").close()
    runner = machine.starts("first")
    runner.started({"op": "started", "id": "job-00000001--a"})
    runner.flush()
    machine.loses_power()
    assert machine.starts("second").doubts(None)


def test_after_an_orderly_end_and_a_restart_of_the_machine_nothing_can_have_run(machine):
    machine.starts("first").close()
    assert not machine.starts("second").doubts(None)


def test_who_follows_a_runner_that_was_killed_in_the_same_boot_of_the_machine_fears_no_power_loss(machine):
    machine.starts("first").flush()
    again = machine.starts("first")
    assert not again.doubts(None) and not again.rebooted
