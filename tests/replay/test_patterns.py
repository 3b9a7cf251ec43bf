"""That the patterns of the recordings tell a wrong answer from a right one."""

from __future__ import annotations

from typing import Any

import pytest

from replay.patterns import differences
from replay.recordings import fill, found

RIGHT = [
    ({"id": "a"}, {"id": "a", "more": 1}),
    ({"<only>": {"id": "<text>"}}, {"id": "a"}),
    ({"<each>": {"id": "<word>"}, "<least>": 1}, [{"id": "a"}, {"id": "b"}]),
    ({"<each>": "<text>"}, []),
    (["<number>", "<truth>"], [1.5, False]),
    ("<time>", "2026-11-22T21:37:19.000Z"),
    ("<time or null>", None),
    ("<like a.*>", "a\nb"),
    ("<one of Yes|No>", "No"),
    ("<int()>", 3.7),
    (None, None),
]
WRONG = [
    ({"id": "a"}, {"name": "a"}),
    ({"id": "a"}, "a"),
    ({"<only>": {"id": "<text>"}}, {"id": "a", "more": 1}),
    ({"<only>": {"id": "<text>"}}, {"name": "a"}),
    ({"<each>": "<word>", "<least>": 1}, []),
    ({"<each>": "<word>"}, ["a", ""]),
    (["<text>"], ["a", "b"]),
    ("<number>", True),
    ("<number>", "1"),
    ("<truth>", 1),
    ("<text>", None),
    ("<time>", "yesterday"),
    ("<time>", 1606000000),
    ("<like a>", "ab"),
    ("<one of Yes|No>", True),
    ("<int()>", "N/A"),
    ("Yes", True),
    (1, True),
    (0, None),
]


@pytest.mark.parametrize(("pattern", "value"), RIGHT)
def test_a_right_answer_has_no_difference(pattern: Any, value: Any) -> None:
    assert [*differences(pattern, value)] == []


@pytest.mark.parametrize(("pattern", "value"), WRONG)
def test_a_wrong_answer_has_one(pattern: Any, value: Any) -> None:
    assert [*differences(pattern, value)] != []


def test_a_difference_names_its_place() -> None:
    pattern, value = {"tasks": {"<each>": {"status": "<word>"}}}, {"tasks": [{"status": "a"}, {"status": None}]}
    assert [*differences(pattern, value)] == ["$.tasks[1].status: None is not <word>"]


def test_names_are_filled_in_wherever_they_stand() -> None:
    assert fill({"${a}": ["${a}--b", "$${a}", 1]}, {"a": "x"}) == {"x": ["x--b", "${a}", 1]}


def test_a_name_that_stands_for_nothing_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("${a}", {})


def test_a_value_is_kept_by_its_place() -> None:
    assert found({"jobs": [{"id": 7}]}, "jobs.0.id") == "7"
