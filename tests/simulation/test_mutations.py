"""Would the simulator see it? The engine is broken on purpose in each way of the list, and each is found."""

import pytest

from simulation.mutations import MUTATIONS
from simulation.runs import run

ENOUGH = 20_000  # as many as the gate runs


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_engine_that(name, monkeypatch):
    MUTATIONS[name].apply(monkeypatch)
    found = next((result for seed in range(ENOUGH) for result in run([seed]) if result.violation), None)
    assert found is not None, f"{MUTATIONS[name].about} Not found in {ENOUGH} seeds"


def test_there_are_ten_and_more():
    assert len(MUTATIONS) >= 10
