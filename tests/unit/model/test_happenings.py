"""Whose object it is, by its name."""

from __future__ import annotations

import pytest

from odin.model.happenings import owner


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("train", ("train", 1)),
        ("train--2", ("train", 2)),
        ("train--13-worker-0", ("train", 13)),
        ("train-worker-0", ("train", 1)),
        ("train-eval", ("train-eval", 1)),
        ("train-eval--2-launcher-x2b4c", ("train-eval", 2)),
        ("trainer", None),
        ("other", None),
        ("", None),
        ("train--x", ("train", 1)),
    ],
)
def test_the_task_with_the_longest_name_that_fits_and_its_attempt(name, found):
    assert owner(name, ["train", "train-eval", "fetch"]) == found
