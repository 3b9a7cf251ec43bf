"""Who may use Odin: users, their roles, and the rules for names and for changing a user.

    viewer   reads
    editor   also writes jobs, runs pipelines, cancels and cleans up its own
    admin    does all and manages users

Source: api.md, "Authentication and users"; reliability.md, A-52, A-54, A-55.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from odin.model.errors import NotAllowed, Problem, ValidationFailed
from odin.model.names import user_name

LONGEST_NAME = 200  # characters of a first or last name
# Words that routes, clients or people use with another meaning.
RESERVED = frozenset({"me", "null", "none", "undefined", "anonymous"})


class Role(StrEnum):
    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do all that ``other`` may."""
        return _RANK[self] >= _RANK[other]


_RANK: Mapping[Role, int] = {Role.VIEWER: 0, Role.EDITOR: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class User:
    """One user. ``uid`` is never given twice, ``username`` is lower case."""

    uid: int
    username: str
    role: Role
    firstname: str = ""
    lastname: str = ""


class By(StrEnum):
    """Who asks for a change of a user."""

    SELF = "self"  # without being an admin
    ADMIN_SELF = "admin, of oneself"
    ADMIN = "admin, of another"
    OTHER = "other"


# Which fields each may change; whoever changes their own password must also prove who they are.
FIELDS: Mapping[By, frozenset[str]] = {
    By.SELF: frozenset({"firstname", "lastname", "password"}),
    By.ADMIN_SELF: frozenset({"firstname", "lastname", "password", "role"}),
    By.ADMIN: frozenset({"firstname", "lastname", "password", "role"}),
    By.OTHER: frozenset(),
}


def relation(actor: User, username: str) -> By:
    """In which capacity ``actor`` changes the user of that name."""
    own = actor.username == username
    if actor.role is Role.ADMIN:
        return By.ADMIN_SELF if own else By.ADMIN
    return By.SELF if own else By.OTHER


def check_change(actor: User, username: str, fields: Collection[str]) -> None:
    """Raise NotAllowed, naming the fields, unless ``actor`` may change them."""
    by = relation(actor, username)
    if by is By.OTHER:
        raise NotAllowed(f'only an admin may change the user "{username}"')
    refused = sorted(set(fields) - FIELDS[by])
    if refused:
        raise NotAllowed(f"only an admin may change {' and '.join(refused)}")


def check_username(name: str) -> str:
    """The name as it is kept: in lower case. Raises InvalidInput for one that breaks the rule."""
    folded = user_name(name.lower() if name.isascii() else name)
    if folded in RESERVED:
        _refuse("username", f'"{folded}" is reserved; take another user name')
    return folded


def check_person(field: str, name: str) -> str:
    """A first or last name: one line of at most 200 printable characters."""
    if len(name) > LONGEST_NAME or not all(letter.isprintable() for letter in name) or set(name) & set("<>"):
        _refuse(field, f"{field} must be one line of at most {LONGEST_NAME} printable characters without < and >")
    return name.strip()


def check_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        _refuse("role", f"role must be one of {', '.join(Role)}")
        raise


def _refuse(field: str, sentence: str) -> None:
    raise ValidationFailed(sentence, problems=[Problem(sentence, path=field)])
