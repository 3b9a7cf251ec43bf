from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.cli.live import View, cut, picture
from odin.cli.moments import duration, local, posix, span
from odin.cli.screen import Screen
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


def test_columns_are_aligned_and_cells_made_safe() -> None:
    lines = render(("name", "n"), [["a", "1"], ["b\n", "1000"]], lambda _name, _cell, padded: padded, right="n")
    assert lines == ["name      n", "a         1", "b\\x0a  1000"]


@given(st.text(alphabet="abc"), st.integers(0, 10))
def test_a_line_is_cut_to_a_width_without_counting_colours(text: str, width: int) -> None:
    painted = f"\x1b[31m{text}\x1b[0m"
    assert SGR.sub("", cut(painted, width)) == (text if len(painted) <= width else text[:width])
    assert "\x1b[0m" in cut(painted, width)


def test_a_view_tells_what_is_new() -> None:
    view = View()
    first = {"id": "p--a", "name": "a", "status": "executing", "attempt": 1}
    assert view.take("pipeline", {"id": "p", "outcome": None, "tasks": [first]}) == [first]
    assert view.take("task", {**first, "exitCode": None}) == []
    second = {**first, "attempt": 2}
    assert view.take("task", second) == [second]
    assert view.whole() == {"id": "p", "outcome": None, "tasks": [second]}


def test_the_picture_is_never_taller_than_its_room() -> None:
    view = View()
    tasks = [{"id": f"p--{n}", "name": str(n), "status": "failed"} for n in range(50)]
    view.take(
        "end", {"id": "p", "job": "j", "outcome": "failed", "errorMessage": "x", "warnings": ["y"], "tasks": tasks}
    )
    screen = Screen(stream=io.StringIO())
    for room in (3, 8, 20, 60):
        assert len(picture(screen, view, room)) <= room
