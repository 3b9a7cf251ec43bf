"""Whole lines out of pieces, and which line looks like an error."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.cli import loglines
from odin.cli.firsterror import AFTER, LAST, excerpt, is_error
from odin.cli.loglines import Line, Pattern, Splitter
from odin.client.errors import Usage


def lines_of(data: bytes, *cuts: int) -> list[str]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    splitter = Splitter()
    found = [line for begin, end in pairwise(places) for line in splitter.feed(data[begin:end])]
    return found + splitter.feed(b"", final=True)


@given(st.text(alphabet="ab\r\nü😀").map(str.encode) | st.binary(), st.lists(st.integers(0, 60)))
def test_lines_are_whole_wherever_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    assert lines_of(data, *cuts) == lines_of(data)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"1%\r2%\r\n", ["1%", "2%"]),
        (b"\xff\xc3\n", ["\\xff\\xc3"]),
        (b"a\r", ["a"]),
    ],
)
def test_lines_lose_their_ends_and_nothing_else(data: bytes, lines: list[str]) -> None:
    assert lines_of(data) == lines


def test_a_line_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "LONGEST", 1000)
    splitter = Splitter()
    found = [line for _ in range(100) for line in splitter.feed(b"x" * 100)] + splitter.feed(b"", final=True)
    assert "".join(found) == "x" * 10_000
    assert max(map(len, found)) <= 1100


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):",
        "ValueError: no labels",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "java.lang.NullPointerException",
        "KeyboardInterrupt" + "Error",
        "error: unknown option",
        "main.c:3:1: error: expected ';'",
        "make: *** [all] Error: 2 problems",
        "2026-11-22 10:00:00 ERROR trainer: gave up",
        "[error]: cannot open",
        "FATAL could not connect",
        "Killed",
        "Segmentation fault (core dumped)",
        "sh: 1: frobnicate: not found",
        "cat: x: No such file or directory",
        "RuntimeError: CUDA error: device-side assert triggered",
        "\x1b[31mERROR\x1b[0m bad",
        "panic: runtime error",
    ],
)
def test_this_looks_like_an_error(text: str) -> None:
    assert is_error(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch 3 error: 0.25",
        "0 errors, 2 warnings",
        "MeanSquaredError: 0.013",
        "error rate 3 %",
        "ERROR: 0.5",
        "no error so far",
        "training on ErrorBench",
        "terror: none",
        "Exceptional result",
    ],
)
def test_this_does_not(text: str) -> None:
    assert not is_error(text)


def excerpt_of(*texts: str, after: int = AFTER) -> tuple[int, list[str]]:
    number, lines = excerpt(iter([[Line(text, 1, None)] for text in texts]), after)
    return number, [line.text for line in lines]


def test_the_first_error_comes_with_what_is_around_it() -> None:
    texts = [f"line {number}" for number in range(10)] + ["ValueError: x", *map(str, range(100))]
    number, found = excerpt_of(*texts)
    assert number == 11
    assert found[:4] == ["line 7", "line 8", "line 9", "ValueError: x"]
    assert len(found) == 3 + AFTER
    assert excerpt_of("Killed", "a", "b", after=2) == (1, ["Killed", "a"])


def test_without_an_error_it_is_the_last_lines() -> None:
    texts = [str(number) for number in range(100)]
    assert excerpt_of(*texts) == (0, texts[-LAST:])
    assert excerpt_of() == (0, [])


def test_a_pattern_that_is_none_says_why() -> None:
    with pytest.raises(Usage, match=r'"\(" is no regular expression: .*position 0'):
        Pattern("(")
