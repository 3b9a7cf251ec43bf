"""Of a line that is written over, the last state; and how that looks while it goes on."""

from __future__ import annotations

from itertools import pairwise

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.cli.loglines import Splitter
from odin.cli.overwriting import Overwriting, last_state, pending
from odin.cli.screen import Screen


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("", ""),
        ("no bar", "no bar"),
        ("no bar\r", "no bar"),  # the end of a line as Windows has it
        (" 10%|#  |\r 50%|## |\r100%|###|", "100%|###|"),
        (" 10%|#  |\r 50%|## |\r", " 50%|## |"),
        (" 99%|###|\r         \rsaved", "saved"),  # a bar that was wiped
        ("\r\x1b[K 50%\r\x1b[2K\x1b[32m100%\x1b[0m", "\x1b[32m100%\x1b[0m"),
        ("\r\r", ""),
    ],
)
def test_the_last_state_counts(line: str, state: str) -> None:
    assert last_state(line) == state


@given(st.text(alphabet="ab\r"), st.text(alphabet="ab\r"))
def test_earlier_states_are_not_kept(line: str, more: str) -> None:
    assert last_state(pending(line) + more) == last_state(line + more)
    assert pending(line).count("\r") <= 1


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(st.text(alphabet="ab\r\nü").map(str.encode), st.lists(st.integers(0, 60)))
def test_folded_lines_are_the_same_wherever_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    splitter = Splitter(fold=True)
    found = [line for piece in cut(data, cuts) for line in splitter.feed(piece)] + splitter.feed(b"", final=True)
    assert found == [last_state(line) for line in data.decode().removesuffix("\n").split("\n") if data]


class Terminal(pyte.Screen):
    """Wraps before a wide character that does not fit, as real ones do."""

    def draw(self, data: str) -> None:
        for sign in data:
            if sign == "日" and self.cursor.x == self.columns - 1:
                super().draw(" ")
            super().draw(sign)


def shown(pieces: list[bytes], columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """On a terminal of so many columns."""
    screen = Screen(plain=True)
    monkeypatch.setattr(screen, "size", lambda: (columns, 100))
    text, terminal = Overwriting(screen), Terminal(columns, 100)
    stream = pyte.Stream(terminal)
    for piece in [*pieces, b""]:
        stream.feed(text.feed(piece, final=not piece).replace("\n", "\r\n"))
    return [line.rstrip() for line in terminal.display]


@given(st.text(alphabet="ab \r\nü日", max_size=60).map(str.encode), st.lists(st.integers(0, 60)))
def test_a_terminal_shows_last_states_only_also_of_lines_that_wrap(data: bytes, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        states = "\n".join(map(last_state, data.decode().split("\n"))).encode()
        for columns in (7, 80):
            assert shown(cut(data, cuts), columns, patch) == shown([states], columns, patch)


def test_a_line_that_goes_on_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Overwriting(Screen(plain=True))
    assert [text.feed(piece) for piece in (b"epoch", b" 1", b"\nepoch", b" 2\n")] == ["epoch", " 1", "\nepoch", " 2\n"]
    assert [text.feed(piece) for piece in (b"\x1b[3", b"1mred\n")] == ["", "red\n"]
    assert [text.feed(piece) for piece in (b" 10%\r", b" 20%\r", b"\n")] == [" 10%", "\r\x1b[J 20%", "\n"]
