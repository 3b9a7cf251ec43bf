from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.model.errors import InvalidInput
from odin.model.quantities import cpu_m, memory_bytes, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5h", 5400),
    ],
)
def test_a_duration_is_read_in_seconds(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1", "1 h", "1w", "1h30m", "1e3", "inf", "nan", "٣s", "9" * 40, "10000d"])
def test_no_duration_is_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match=r"15m|longest"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500m", 500),
        ("2", 2000),
        ("1.5", 1500),
        ("0.1", 100),
        ("0.0001", 1),
        ("100u", 1),
        ("1e1", 10_000),
        ("1k", 1_000_000),
    ],
)
def test_cpu_is_read_in_thousandths_rounded_up(text, expected):
    assert cpu_m(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2Gi", 2 * 1024**3),
        ("512M", 512 * 1000**2),
        ("512Mi", 512 * 1024**2),
        ("1000000", 1_000_000),
        ("1.5Ki", 1536),
        ("0.3", 1),
        ("1e3", 1000),
        ("1E", 1000**6),
        ("1E3", 1000),
        (".5Ki", 512),
    ],
)
def test_memory_is_read_in_bytes_rounded_up(text, expected):
    assert memory_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "2x", "two", "-1", "1e999999999", "1.2.3", "1 Gi", "9" * 50, "0x10", "2000000"])
def test_no_amount_of_cpu_is_refused(text):
    with pytest.raises(InvalidInput):
        cpu_m(text)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("1GB", "did you mean 1G"), ("512m", "did you mean 512Mi"), ("1gib", "2Gi"), ("lots", "2Gi"), ("99E", "more")],
)
def test_no_amount_of_memory_is_refused_with_a_remedy(text, remedy):
    with pytest.raises(InvalidInput, match=remedy):
        memory_bytes(text)


@given(st.text(alphabet="0123456789.eEmkKMGi+-", max_size=12))
def test_any_amount_is_a_whole_number_or_refused(text):
    for read in (cpu_m, memory_bytes):
        with suppress(InvalidInput):
            assert read(text) >= 0
