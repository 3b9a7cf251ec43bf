"""Who may change what of a user, and what users may be called."""

from itertools import product

import pytest

from odin.model.errors import InvalidInput, NotAllowed, ValidationFailed
from odin.model.users import Role, User, check_change, check_person, check_username

FIELDS = ("firstname", "lastname", "password", "role", "uid", "username", "password_hash", "not_before")
OWN = {"firstname", "lastname", "password"}
ALLOWED = {
    (Role.VIEWER, "self"): OWN,
    (Role.VIEWER, "other"): set(),
    (Role.EDITOR, "self"): OWN,
    (Role.EDITOR, "other"): set(),
    (Role.ADMIN, "self"): OWN | {"role"},
    (Role.ADMIN, "other"): OWN | {"role"},
}


@pytest.mark.parametrize(("role", "target", "field"), [*product(Role, ("self", "other"), FIELDS)])
def test_a54_each_field_may_be_changed_by_those_whom_the_table_names(role, target, field):
    actor = User(1, "ada", role)
    name = "ada" if target == "self" else "bob"
    if field in ALLOWED[role, target]:
        check_change(actor, name, [field])
    else:
        with pytest.raises(NotAllowed):
            check_change(actor, name, [field])


def test_roles_include_those_below_them():
    assert [[a.includes(b) for b in Role] for a in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        "..",
        "a\n",
        "a\0",
        "ä",
        "аda",
        "a" * 65,
        "a" * 10_000,
        "a<b>",
        "a\u202eb",
        "ａda",
        "\u212a",
    ],
)
def test_a55_other_names_are_refused(name):
    with pytest.raises(InvalidInput):
        check_username(name)


@pytest.mark.parametrize("name", ["me", "null", "NONE", "anonymous"])
def test_a55_words_with_another_meaning_are_refused(name):
    with pytest.raises(ValidationFailed):
        check_username(name)


def test_a55_names_are_kept_in_lower_case():
    assert check_username("Ada.L-1_x") == "ada.l-1_x"


@pytest.mark.parametrize("name", ["a\nb", "a <b@c>", "\u202ecba", "x" * 201, "\x1b[31m"])
def test_a55_a_persons_name_is_one_plain_line(name):
    with pytest.raises(ValidationFailed):
        check_person("firstname", name)
    assert check_person("firstname", " Ærøskøbing O'Neill 李 ") == "Ærøskøbing O'Neill 李"
