"""What may be a context, and what is said of names that nothing uses."""

import json

import pytest

from odin.model.context import MAX_BYTES, dump_context, unused
from odin.model.errors import TooLarge, ValidationFailed


def nested(levels):
    value = "leaf"
    for _ in range(levels):
        value = [value]
    return value


def test_values_are_json_of_any_kind():
    context = {"lr": 0.1, "name": "é {{7*7}}", "on": True, "none": None, "sizes": [1, {"a-b": [2]}]}
    assert json.loads(dump_context(context)) == context


@pytest.mark.parametrize("name", ["a-b", "", "1a", "a b", "a.b", "é", "{{x}}", "a\n"])
def test_a_name_that_no_template_can_write_is_refused(name):
    with pytest.raises(ValidationFailed, match="letters, digits and _"):
        dump_context({"fine": 1, name: 2})


def test_a_context_has_eight_levels():
    assert dump_context({"a": nested(7)})
    with pytest.raises(ValidationFailed, match="8 levels"):
        dump_context({"a": nested(8)})
    with pytest.raises(ValidationFailed, match="8 levels"):
        dump_context({"a": nested(100_000)})


def test_a_context_has_64_kibibytes():
    most = MAX_BYTES - len('{"a":""}')
    assert len(dump_context({"a": "é" * (most // 2)})) <= MAX_BYTES
    with pytest.raises(TooLarge, match="64 KiB"):
        dump_context({"a": "é" * (most // 2 + 1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, b"x"])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValidationFailed, match="is not JSON"):
        dump_context({"a": value})


def test_a_name_that_no_template_uses_is_told_with_the_nearest():
    told = unused({"lr": 1, "epoch": 2, "zzz": 3}, {"lr", "epochs", "range"}, has_templates=True)
    assert told == [
        "no template uses epoch of the context; did you mean epochs?",
        "no template uses zzz of the context",
    ]
    assert unused({}, (), has_templates=False) == []
    assert unused({"a": 1, "b": 2}, (), has_templates=False) == [
        "the job has no templates, so its context is not used: a, b"
    ]
