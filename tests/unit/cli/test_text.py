from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.cli.moments import age, duration, local, posix, since, span
from odin.cli.table import render
from odin.cli.text import SGR, LogText, clean, clean_log


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    shown = clean(text)
    assert all(sign.isprintable() or sign == "\u00a0" or sign.isspace() for sign in shown)
    assert not set(shown) & set("\n\r\t\x1b\u2028\u202e")


@given(st.text(alphabet="ab\x1b[]0;m\n\r\t\x9bü"), st.booleans())
def test_a_cleaned_log_holds_no_control_but_colours(text: str, colour: bool) -> None:
    shown = clean_log(text, colour=colour)
    left = SGR.sub("", shown) if colour else shown
    assert all(sign.isprintable() or sign in "\n\t" for sign in left)


@given(st.text(alphabet="ab\x1b[31m\r\nü😀"), st.lists(st.integers(0, 60)))
def test_a_log_looks_the_same_wherever_its_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    log = LogText(colour=False)
    pieces = [log.feed(data[begin:end]) for begin, end in pairwise(places)]
    assert "".join(pieces) + log.feed(b"", final=True) == clean_log(text, colour=False)


def test_progress_bars_become_lines_and_bad_bytes_are_shown() -> None:
    assert LogText(colour=False).feed(b"10%\r20%\r\n\xff|", final=True) == "10%\n20%\n\\xff|"


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2000-02-29T12:00:00.5Z", 951_825_600.5),
        ("2026-11-22T18:20:01+00:00", 1_795_371_601.0),
        (None, None),
        ("yesterday", None),
        ("2026-11-22Tx8:20:01Z", None),
    ],
)
def test_moments_are_read(moment: str | None, seconds: float | None) -> None:
    assert posix(moment) == seconds


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.00s"),
        (0.04, "0.04s"),
        (0.996, "1.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (187, "3m07s"),
        (7500, "2h05m"),
        (273_700, "3d04h"),
    ],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_span_runs_up_to_now_until_it_has_ended() -> None:
    began, ended = "2026-11-22T18:20:00Z", "2026-11-22T18:20:05Z"
    assert span(began, ended, 0.0) == "5.0s"
    assert span(began, None, 1_795_371_600.0 + 60) == "1m00s"
    assert span(None, None, 0.0) == ""
    assert local(None) == "-"


def test_an_age_changes_once_a_second() -> None:
    began = "2026-11-22T18:20:00Z"
    shown = [age(began, 1_795_371_600.0 + seconds) for seconds in (-5, 0, 0.9, 1.2, 59.9, 61, 7500)]
    assert shown == ["0s", "0s", "0s", "1s", "59s", "1m01s", "2h05m"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", 910.0),
        ("10m", 400.0),
        ("1h", -2600.0),
        ("1970-01-01T00:10:00Z", 600.0),
        ("10", None),
        ("m", None),
        ("-3m", None),
        ("yesterday", None),
        ("2026-13-01", None),
        ("0001-01-01", None),
    ],
)
def test_a_moment_may_be_so_long_ago_or_itself(text: str, moment: float | None) -> None:
    found = since(text, 1000.0)
    assert found == moment or (text == "0001-01-01" and (found is None or found < 0))


def test_a_moment_without_a_zone_is_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert since("1970-01-01 02:10", 0.0) == since("1970-01-01T02:10:00", 0.0) == 600.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_are_aligned_and_cells_made_safe() -> None:
    lines = render(("name", "n"), [["a", "1"], ["b\n", "1000"]], lambda _name, _cell, padded: padded, right="n")
    assert lines == ["name      n", "a         1", "b\\x0a  1000"]


def test_columns_are_aligned_also_beside_wide_letters() -> None:
    lines = render(("name", "n"), [["日本", "1"], ["e\u0301", "2"]], lambda _name, _cell, padded: padded)
    assert lines == ["name  n", "日本  1", "e\u0301     2"]
