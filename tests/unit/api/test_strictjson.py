import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.api.strictjson import loads
from odin.model.errors import InvalidInput

REFUSED = {
    "nothing": b"",
    "words": b"hello",
    "two values": b"{} {}",
    "open": b'{"a": 1',
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // no',
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"-Infinity",
    "beyond a double": b'{"a": 1e999}',
    "five thousand digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"a": 1, "b": 2, "a": 3}',
    "a key twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "a key twice, deep": b'[{"x": {"a": 1, "a": 1}}]',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a lone surrogate in a key": b'{"\\udfff": 1}',
    "a lone surrogate in a list": b'["ok", ["\\udc00"]]',
    "a lone surrogate alone": b'"\\ud83d"',
    "control character": b'"\x01"',
    "not UTF-8": b'{"a": "\xff"}',
    "overlong": b'{"a": "\xc0\xaf"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "deep lists": b"[" * 65 + b"]" * 65,
    "deep objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "very deep": b"[" * 100_000,
    "deep behind a text": b'{"x": "\\"]", "a": ' + b"[" * 70 + b"]" * 70 + b"}",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_a22_json_with_no_or_two_meanings_is_refused(data):
    with pytest.raises(InvalidInput):
        loads(data)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        '"é😀\\ud83d\\ude00"',
        "1e308",
        "-0",
        "123456789012345678901234567890",
        '{"a":{"a":1}}',
        "[" * 64 + "]" * 64,
    ],
)
def test_a22_json_with_one_meaning_is_read_as_it_is(text):
    assert loads(text.encode()) == json.loads(text)


def test_a22_brackets_in_texts_are_no_depth():
    value = {"a": "[" * 1000 + '\\"{' * 1000}
    assert loads(json.dumps(value).encode()) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_a22_what_json_writes_is_read_back(value):
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_a22_no_bytes_break_the_reader(data):
    with contextlib.suppress(InvalidInput):
        loads(data)


def test_a22_a_mebibyte_of_brackets_is_refused_without_building_anything():
    with pytest.raises(InvalidInput):
        loads(b"[" * 2**20)
