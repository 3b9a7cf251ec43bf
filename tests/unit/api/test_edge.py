"""Paths are decoded once and judged; names in Host headers are taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.api.edge import host_name, settle_path
from odin.api.problems import printable

REFUSED = [
    b"/v1/jobs/..",
    b"/v1/jobs/%2e%2e",
    b"/v1/jobs/%2E%2e/files/x",
    b"/v1/jobs/.",
    b"/v1/jobs/a/../b",
    b"/..",
    b"/v1/jobs/a%2F..%2Fb",
    b"/v1/jobs/..%2f..%2fetc",
    b"/v1/jobs/a/files/%2e%2e/x",
    b"/v1/jobs/a/files/x/%2e%2e%2fy",
    b"/v1/jobs/a%00",
    b"/v1/jobs/a%0a",
    b"/v1/jobs/a%1b[31m",
    b"/v1/jobs/a%7f",
    b"/v1/jobs/a%5cb",
    b"/v1/jobs/a\\b",
    b"/v1/jobs/%c0%ae%c0%ae",
    b"/v1/jobs/%ff",
    b"/v1/jobs/%ed%a0%80",
    b"/git/jobs.git/%2e%2e/config",
    b"/v1/pipelines/%2e%2e",
    b"/v1/resources/..%00/logs",
]


@pytest.mark.parametrize("raw", REFUSED)
def test_a01_a_path_that_leaves_its_folder_or_hides_something_is_refused(raw):
    scope = {"path": "/x", "raw_path": raw}
    assert settle_path(scope)
    assert scope["path"] == "/x"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/jobs/a%2Fb", "/v1/jobs/a__b"),
        (b"/v1/jobs/a%2fb%2Fc/files/d%2Fe/f", "/v1/jobs/a__b__c/files/d/e/f"),
        (b"/v1/jobs/a/files/..%252f..%252fetc", "/v1/jobs/a/files/..%2f..%2fetc"),
        (b"/v1/jobs/a/files/%C3%A4", "/v1/jobs/a/files/ä"),
        (b"/v1/pipelines/a%2Fb", "/v1/pipelines/a/b"),
        (b"/v1/jobs", "/v1/jobs"),
        (b"/", "/"),
    ],
)
def test_a01_a_path_is_decoded_once(raw, path):
    scope = {"path": "?", "raw_path": raw}
    assert settle_path(scope) is None
    assert scope["path"] == path


@given(st.binary(max_size=60))
def test_a01_no_path_breaks_the_edge(raw):
    scope = {"path": "/", "raw_path": b"/" + raw}
    if settle_path(scope) is None:
        assert ".." not in scope["path"].split("/")
        assert "\0" not in scope["path"]


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("Odin.Example:9003", "odin.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:9003", "::1"),
        ("[::1]", "::1"),
        ("odin.example.", "odin.example"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(given_, name):
    assert host_name(given_) == name


def test_a76_what_a_terminal_would_act_on_is_shown_escaped():
    assert printable("a\x1b[31m\r\u202eb\u009b") == "a\\x1b[31m\\r\\u202eb\\x9b"
    assert printable("grün 😀") == "grün 😀"
