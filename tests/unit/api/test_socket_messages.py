"""Requests and replies of WebSockets, whatever a client sends."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.api.access import COMMANDS
from odin.api.sockets.messages import END, ERROR, EXTRA_BYTES, OK, Asked, Reply, check_command, failure, read
from odin.model.errors import InvalidInput, Problem, ValidationFailed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(data):
    with contextlib.suppress(InvalidInput):
        check_command(read(data))


@given(VALUES, st.dictionaries(st.text("abcdef", min_size=1, max_size=8), VALUES, max_size=4))
def test_a_reply_carries_the_further_fields_back_and_nothing_else(request, extras):
    sent = {**extras, "command": "PING", "request": request, "token": "secret"}
    reply = json.loads(read(json.dumps(sent).encode()).encode(Reply(OK, "x")))
    assert reply == {**extras, "status": "OK", "response": "x"}


def test_a_clients_own_field_comes_before_one_of_ours_and_after_the_answer():
    asked = Asked("LOGS", None, {"offset": "mine", "status": "mine"})
    reply = json.loads(asked.encode(Reply(END, "x", {"offset": 7, "attempt": 1})))
    assert reply == {"status": "END", "response": "x", "offset": "mine", "attempt": 1}


@pytest.mark.parametrize(("size", "fits"), [(EXTRA_BYTES - 8, True), (EXTRA_BYTES - 7, False)])
def test_the_further_fields_have_a_limit(size, fits):
    data = json.dumps({"command": "PING", "x": "y" * size}).encode()
    if fits:
        assert len(read(data).extras["x"]) == size
    else:
        with pytest.raises(InvalidInput, match="larger than 8192 bytes"):
            read(data)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_written_in_capitals_and_the_nearest_is_named(name):
    check_command(Asked(name))
    with pytest.raises(InvalidInput, match=f"did you mean {name}\\?"):
        check_command(Asked(name.lower()))


def test_a_failure_names_every_place_that_is_wrong_and_moves_no_terminal():
    places = [Problem("is bad \x1b[31m", file="main.yml", line=3), Problem("is worse", path="tasks[1]")]
    reply = failure(ValidationFailed("the first only", problems=places))
    assert reply.status == ERROR
    assert reply.response == "main.yml:3: is bad \\x1b[31m\nis worse (at tasks[1])"
