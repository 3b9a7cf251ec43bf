"""Every file of tests/broken says in its first lines what is wrong with it: ``# expect: line:column words``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from odin.model.errors import ValidationFailed
from odin.model.ids import JobPath
from odin.model.jobfile import parse

FILES = sorted((Path(__file__).parents[2] / "broken").glob("*.yml"))
EXPECT = re.compile(rb"^# expect: (\d+):(\d+) (.+)$", re.MULTILINE)


def test_there_are_thirty_broken_files():
    assert len(FILES) >= 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_file_gives_every_place_and_remedy(file: Path):
    text = file.read_bytes()
    expected = [(int(line), int(column), words.decode()) for line, column, words in EXPECT.findall(text)]
    with pytest.raises(ValidationFailed) as raised:
        parse(text, path=JobPath("nlp/sst2"))
    found = [(problem.line, problem.column, problem.message) for problem in raised.value.problems]
    assert [place[:2] for place in found] == [place[:2] for place in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message
