from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.model import names
from odin.model.errors import InvalidInput
from odin.model.ids import JobPath


def accepted(check, name: str) -> bool:
    try:
        check(name)
    except InvalidInput:
        return False
    return True


TRICKS = [
    "",
    "/",
    "/etc/passwd",
    "//etc",
    "..",
    ".",
    "../x",
    "a/..",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "C:\\x",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "\ud800",
    "a\u202eb",
    "a\u2066b",
    "a\u200fb",
    "e\u0301",  # not in NFC
    "\u212b",  # the Angstrom sign, not in NFC
    ".git",
    ".GIT",
    ".Git/config",
    "a/.git/hooks/post-receive",
    "git~1",
    "GIT~1",
    ".git.",
    ".git ",
    ".git . .",
    ".git::$INDEX_ALLOCATION",
    ".g\u200cit",
    ".gi\ufefft/config",
    ".\uff47\uff49\uff54",  # fullwidth letters
    "-rf",
    "--upload-pack=x",
    "a/-x",
    "a ",
    " a",
    "a.",
    "...",
    "a" * 256,
    "ü" * 128,
    "/".join("a" * 33),
    "/".join(["a" * 200] * 6),
]


@pytest.mark.parametrize("name", TRICKS)
def test_a01_a_file_name_that_could_leave_or_mislead_is_refused(name):
    assert not accepted(names.file_path, name)


@pytest.mark.parametrize("name", TRICKS)
def test_a01_no_trick_is_a_job_or_a_user(name):
    assert not accepted(names.check_job_path, name)
    assert not accepted(names.job_path, name)
    assert name == "a." or not accepted(names.user_name, name)


@pytest.mark.parametrize(
    "name",
    [
        "main.yml",
        "__init__.py",
        "src/model/train.py",
        ".gitignore",
        ".gitattributes",
        ".env",
        "x.git",
        "git",
        "daten/größe.csv",
        "数据/训练.txt",
        "with space.txt",
        "a;b",
        "%2e%2e",  # decoded once before: a harmless name
        "'quoted'",
        "$HOME",
        "CON",
        "a" * 255,
        "ü" * 127,
        "/".join("a" * 32),
        "👩\u200d🔬.txt",
    ],
)
def test_a01_an_ordinary_file_name_is_accepted_as_it_is(name):
    assert names.file_path(name) == name


@pytest.mark.parametrize(
    "path", ["sst2", "nlp/sst2", "NLP/sst-2.v1", "a_b", "a/b/c/d/e/f/g/h", "a" * 255, "0", "x.git"]
)
def test_a_job_path_is_accepted_in_both_forms(path):
    assert names.check_job_path(path) == path
    assert names.job_path(path) == path
    assert names.job_path(names.encode(JobPath(path))) == path


@pytest.mark.parametrize(
    "path", ["a__b", "a/b__c", "_a", "a_", "a/_b", "a_/b", ".a", "a.", "-a", "a-", "ä", "a b", "a/b/c/d/e/f/g/h/i"]
)
def test_a02_what_could_not_be_decoded_is_no_job(path):
    assert not accepted(names.check_job_path, path)


def test_a02_the_refusal_of_a_double_underscore_says_the_rule():
    with pytest.raises(InvalidInput, match="stands for / in URLs"):
        names.check_job_path("nlp/a__b")


def test_a02_every_short_job_path_is_decoded_to_itself_and_no_two_look_alike():
    short = ("".join(letters) for length in range(1, 8) for letters in itertools.product("a_/.-", repeat=length))
    paths = [path for path in short if accepted(names.check_job_path, path)]
    words = {names.encode(JobPath(path)) for path in paths}
    assert len(paths) > 1000
    assert len(words) == len(paths)
    assert all(names.decode(names.encode(JobPath(path))) == path for path in paths)


@given(st.text(max_size=30))
def test_a02_any_accepted_job_path_is_decoded_to_itself(text):
    if accepted(names.check_job_path, text):
        assert names.job_path(names.encode(JobPath(text))) == text


@given(st.text(alphabet=st.sampled_from("aA.-_/\\ g~1it\u200c\u202e\0é\u0301:"), max_size=20))
def test_a01_an_accepted_file_stays_in_its_job(text):
    if accepted(names.file_path, text):
        segments = text.split("/")
        assert not {"", ".", "..", ".git"} & set(segments)
        assert unicodedata.normalize("NFC", text) == text
        assert "\0" not in text


def test_a02_names_that_differ_in_case_alone_clash():
    paths = ["A/x", "a/y", "README.md", "readme.md", "b/straße", "b/STRASSE", "c/d", "c/e"]
    assert names.clashes(paths) == [("A", "a"), ("README.md", "readme.md"), ("b/straße", "b/STRASSE")]


def test_a03_a_hostile_name_is_shown_without_its_power():
    shown = names.shown("a\x1b[2J\u202eb\n" + "x" * 5000)
    assert shown.startswith('"a\\u{1b}[2J\\u{202e}b\\u{a}x')
    assert len(shown) < 120
    assert shown.isprintable()


def test_a03_errors_show_names_escaped():
    with pytest.raises(InvalidInput) as raised:
        names.file_path("a\x1b[2J")
    assert "\x1b" not in raised.value.detail


@pytest.mark.parametrize("name", ["a", "ada", "ada.lovelace", "0x", "a" * 64])
def test_a_user_name_is_accepted(name):
    assert names.user_name(name) == name


@pytest.mark.parametrize("name", ["Ada", "_a", "a" * 65, "ada lovelace", "ä", ""])
def test_a_user_name_is_refused_with_the_rule(name):
    with pytest.raises(InvalidInput, match="lower-case"):
        names.user_name(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [("fetsh", "fetch"), ("comand", "command"), ("numGpu", "num_gpus"), ("tiemout", "timeout"), ("Depends", "depends")],
)
def test_the_nearest_name_is_found(name, near):
    assert names.nearest(name, ["fetch", "command", "num_gpus", "timeout", "depends", "env"])[0] == near


def test_nothing_near_gives_no_names():
    assert names.nearest("zzz", ["fetch", "train"]) == ()
    assert names.nearest("x" * 10_000, ["x" * 9_999]) == ()


@given(st.text(alphabet="abc", min_size=1, max_size=8), st.data())
def test_one_letter_off_is_one_edit_or_one_swap(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    edits = {name[:at] + name[at + 1 :], name[:at] + "x" + name[at:], name[:at] + "x" + name[at + 1 :]}
    swapped = name[:at] + name[at : at + 2][::-1] + name[at + 2 :]
    assert all(names.one_off(edit, name) for edit in edits)
    assert names.one_off(swapped, name) == (swapped != name)
    assert not names.one_off(name, name)
    assert not names.one_off(name + "xy", name)
    assert not names.one_off("x" + name + "y", name)
