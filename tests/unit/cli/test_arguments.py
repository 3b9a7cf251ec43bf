from __future__ import annotations

import pytest

from odin.cli.entry import COMMANDS, overview
from odin.cli.nearest import suggestion
from odin.cli.run import split_context
from odin.cli.serve import given
from odin.cli.serve import parser as serve_parser
from odin.client.encoding import job_path, multipart, query, quote
from odin.client.errors import Usage


def test_a_context_is_taken_out_of_the_arguments() -> None:
    rest, context = split_context(["--x:a", "1", "job", "--x:b=2=3", "-f", "--x:c", "--x:d"])
    assert rest == ["job", "-f"]
    assert context == {"a": "1", "b": "2=3", "c": "--x:d"}


@pytest.mark.parametrize("argv", [["job", "--x:a"], ["--x:", "1"], ["--x:=1"]])
def test_a_context_needs_a_key_and_a_value(argv: list[str]) -> None:
    with pytest.raises(Usage):
        split_context(argv)


def test_the_nearest_word_is_suggested_or_none() -> None:
    assert suggestion("stauts", COMMANDS) == "; did you mean status?"
    assert suggestion("zzz", COMMANDS) == ""


def test_every_command_is_listed_in_the_overview() -> None:
    for word, summary in COMMANDS.items():
        assert f"  {word:<12}{summary}" in overview()


def test_flags_of_the_server_are_called_as_its_settings() -> None:
    options = serve_parser("odin-serve").parse_args(["--database", "sqlite:///x", "--jobs-remote", "r", "--port", "1"])
    assert given(options) == {"database_url": "sqlite:///x", "jobs_remote": "r", "port": "1"}


def test_paths_and_queries_are_encoded() -> None:
    assert quote("a/b ü?") == "a%2Fb%20%C3%BC%3F"
    assert job_path("/nlp/sst2/") == "nlp__sst2"
    assert query({"a": None, "b": False, "c": True, "d": "x&y", "e": 0}) == "?c=true&d=x%26y&e=0"
    assert query({}) == ""


def test_a_file_name_cannot_break_out_of_its_part() -> None:
    body, _ = multipart([('a"\r\nX: y', b"")])
    assert b'filename="a%22%0D%0AX: y"\r\n' in body
