from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from odin.model import document
from odin.model.document import MAX_BYTES, MAX_NODES, MAX_PROBLEMS, Map, Scalar, Seq, load, plain, read
from odin.model.errors import Problem, ValidationFailed


def values(text: str | bytes):
    return plain(load(text, file="main.yml"))


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(ValidationFailed) as raised:
        load(text, file="main.yml")
    return list(raised.value.problems)


def problems_if_any(text: str) -> list[Problem]:
    try:
        values(text)
    except ValidationFailed as error:
        return list(error.problems)
    return []


def places(text: str | bytes) -> list[tuple[int | None, int | None]]:
    return [(problem.line, problem.column) for problem in problems(text)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2026-01-02", "2026-01-02"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ('!!int "3"', 3),
        ("!!float 3", 3.0),
        ("!!bool true", True),
        ("!!null null", None),
        ("!!seq [a]", ["a"]),
        ("!!map {a: b}", {"a": "b"}),
        ('! "12"', "12"),
        ("-.inf", "-.inf"),  # JSON has no infinity
        ("1" * 5000, "1" * 5000),
    ],
)
def test_a21_scalars_mean_what_yaml_1_2_says(written, meant):
    found = values(f"key: {written}")["key"]
    assert found == meant
    assert type(found) is type(meant)


def test_a_scalar_keeps_its_source_text():
    node = load("key: 1.10", file="main.yml")
    assert isinstance(node, Map)
    scalar = node["key"]
    assert isinstance(scalar, Scalar)
    assert (scalar.value, scalar.text, scalar.place) == (1.1, "1.10", (1, 6))


def test_every_node_knows_its_place():
    root = load("a:\n  - b: c\n", file="main.yml")
    assert isinstance(root, Map)
    items = root["a"]
    assert isinstance(items, Seq)
    inner = items[0]
    assert isinstance(inner, Map)
    assert (root.place, root.keys_at["a"], items.place, inner.place) == ((1, 1), (1, 1), (2, 3), (2, 5))
    assert (inner.keys_at["b"], inner["b"].place) == ((2, 5), (2, 8))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "---\n..."])
def test_an_empty_file_is_null(text):
    assert values(text) is None


def test_a_byte_order_mark_is_left_out():
    assert values(b"\xef\xbb\xbfa: 1") == {"a": 1}


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!set", "!!binary", "!!timestamp", "!own"]
)
@pytest.mark.parametrize("value", ["x", "{a: b}", "[a]"])
def test_a21_tags_are_refused_with_their_place(tag, value):
    found = problems(f"one: 1\nkey: {tag} {value}")
    assert [(problem.line, problem.column, problem.path) for problem in found] == [(2, 6, "key")]
    assert tag in found[0].message


@pytest.mark.parametrize(
    "written", ["!!int x", "!!int 1.5", "!!bool no", "!!null a", "!!float x", "!!str [a]", "!!map [a]"]
)
def test_a21_a_core_tag_must_fit_its_value(written):
    assert places(f"key: {written}") == [(1, 6)]


def test_a21_a_key_given_twice_is_refused_in_every_place():
    found = problems("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    assert [(problem.line, problem.column) for problem in found] == [(2, 11), (3, 1), (4, 1)]
    assert "first in line 1" in found[1].message


def test_a21_a_second_document_is_refused():
    assert places("a: 1\n---\nb: 1\n") == [(2, 1)]


@pytest.mark.parametrize("key", ["1", "true", "~", "1.5", "[a]", "{a: b}"])
def test_a21_keys_must_be_strings(key):
    assert places(f"one: 1\n? {key}\n: x\n") == [(2, 3)]


def test_a21_keys_that_only_look_like_something_else_are_strings():
    assert values("no: 1\n'1': 2\n12:30: 3\n") == {"no": 1, "1": 2, "12:30": 3}


def test_a21_an_anchor_serves_in_another_field():
    assert values("a: &x {b: 1}\nc: *x\nd: [*x]\n") == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}]}


def test_an_aliased_scalar_has_the_place_of_the_alias():
    root = load("a: &x 1\nb: *x\n", file="main.yml")
    assert isinstance(root, Map)
    assert root["b"].place == (2, 4)


def test_an_alias_may_be_a_key():
    assert values("a: &x name\n*x : 1\n") == {"a": "name", "name": 1}


def test_the_latest_anchor_of_a_name_counts():
    assert values("[&a 1, *a, &a 2, *a]") == [1, 1, 2, 2]
    assert values("&a [&a 1, *a]") == [1, 1]


@pytest.mark.parametrize(("text", "place"), [("a: *b", (1, 4)), ("a: &b [*b]", (1, 8)), ("a: &b {c: *b}", (1, 11))])
def test_an_alias_without_a_finished_anchor_is_refused(text, place):
    assert places(text) == [place]


def test_merged_keys_yield_to_the_mappings_own_and_to_earlier_ones():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  c: 3\n  <<: [*x, *y]\n  d: 3\n"
    assert values(text)["z"] == {"c": 3, "d": 3, "a": 1, "b": 1}


def test_a_quoted_merge_key_is_a_plain_key():
    assert values('{"<<": 1}') == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "place"), [("<<: 1", (1, 5)), ("<<: [a, b]", (1, 6)), ("<<: {a: 1}\n<<: {b: 1}", (2, 1))]
)
def test_a_merge_takes_mappings_once(text, place):
    assert places(text)[0] == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1\nb: 2", (2, 2)),
        ("a: 'x\ny", (2, 2)),
        ("a: b: c", (1, 5)),
        ("a:\n\t- b", (2, 1)),
        ("%YAML 3.0\n---\na", (1, 1)),
    ],
)
def test_a_syntax_error_has_its_place(text, place):
    assert places(text) == [place]


def test_tabs_get_their_remedy():
    assert "spaces" in problems("a:\n\t- b")[0].message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"a: \xff", (1, 4)),
        (b"a: b\r\nc: \xc0\xaf", (2, 4)),  # overlong UTF-8
        (b"a: \xed\xa0\x80", (1, 4)),  # a surrogate
        ("a: \ud800", (1, 4)),
        ("a: b\nc: \x00", (2, 4)),
        ("a: \x1b[2J", (1, 4)),
        ("a: \ufffe", (1, 4)),
        ('a: "\\0"', (1, 4)),
        ("a: b".encode("utf-16"), (1, 1)),
    ],
)
def test_a21_what_is_no_text_is_refused(text, place):
    assert places(text) == [place]


def test_all_problems_are_found_up_to_a_limit():
    assert len(problems("".join("a: 1\n" for _ in range(50)))) == 49
    assert len(problems("".join("a: 1\n" for _ in range(500)))) == MAX_PROBLEMS


def test_problems_that_leave_a_tree_do_not_hide_it():
    found = read("a: 1\na: 2\nb: 3\n", file="main.yml")
    assert plain(found.root) == {"a": 1, "b": 3}
    assert str(found.problems[0]).startswith("main.yml:2:1: ")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: v}}\n" for i in range(1, 300)
)
REPEATED = f"a: &a {'x' * 900_000}\nb: [{', '.join(['*a'] * 30_000)}]\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("[" * 100_000, (1, 65), id="nested lists"),
        pytest.param("{a: " * 100_000, (1, 257), id="nested mappings"),
        pytest.param("- " * 100_000, (1, 129), id="nested blocks"),
        pytest.param("? " * 100_000, (1, 129), id="nested keys"),
        pytest.param(BOMB, (6, 14), id="alias bomb"),
        pytest.param("- 1\n" * (MAX_BYTES // 4), (MAX_NODES, 3), id="many values"),
        pytest.param(MERGES, (6, 45), id="merge keys"),
        pytest.param("x" * (MAX_BYTES + 1), (1, 1), id="large file"),
    ],
)
def test_a20_what_would_blow_up_is_refused_before_it_is_built(text, place):
    assert places(text) == [place]


def test_a20_aliases_cannot_multiply_a_huge_scalar():
    assert "expands to more than" in problems(REPEATED)[0].message


def test_a20_aliases_cannot_deepen_the_tree():
    text = f"a: &a {'[' * 60}{']' * 60}\nb: &b [[[*a]]]\nc: [[*b]]\n"
    assert places(text) == [(3, 6)]


def test_a20_a_long_key_is_cut_in_messages():
    found = problems(f"? {'k' * 100_000}\n: 1\n? {'k' * 100_000}\n: 2\n")
    assert len(str(found[0])) < 400


def test_a20_a_file_of_ten_thousand_tasks_is_accepted():
    entry = "  - {{name: t{0}, command: python, args: [--fold, '{0}', --out], num_gpus: 1, env: {{A: '{0}', B: c}}}}\n"
    text = "tasks:\n" + "".join(entry.format(i) for i in range(10_000))
    assert len(text) < MAX_BYTES
    assert len(values(text)["tasks"]) == 10_000


def test_a20_the_document_that_kills_libyamls_loader_is_refused_and_kills_nobody():
    program = (
        "from odin.model.document import load\n"
        "from odin.model.errors import ValidationFailed\n"
        "for text in ('[' * 60_000, '[' * 60_000 + ']' * 60_000, '- ' * 60_000):\n"
        "    try:\n        load(text, file='main.yml')\n"
        "    except ValidationFailed as error:\n        print(error.problems[0].line)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (child.returncode, child.stdout.split()) == (0, ["1", "1", "1"])


@given(st.text(max_size=200))
def test_a20_any_text_gives_a_tree_or_problems_with_places(text):
    assert all(problem.line and problem.column for problem in problems_if_any(text))


@given(st.text(alphabet="ab:-[]{}&*!<>|#'\"\n ?,1~%@`", max_size=60))
def test_a20_anything_like_yaml_gives_a_tree_or_problems(text):
    assert all(problem.line and problem.column for problem in problems_if_any(text))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a21_what_json_says_yaml_says_too(value):
    """JSON is YAML 1.2: Python's own reader of it is the second parser."""
    import json

    text = json.dumps(value)
    if "\\u0000" not in text and "\\ud" not in text:
        assert values(text) == value


def test_the_pure_loader_does_where_libyaml_is_missing(monkeypatch):
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    assert values("a: [1, {b: &x c}, *x]") == {"a": [1, {"b": "c"}, "c"]}
    assert places("a: [1\nb: 2")[0][0] == 2
    assert places("[" * 2000) == [(1, 65)]
    assert "not YAML" in problems('a: "\\Uffffffff"')[0].message
