"""A user as the API shows one."""

from __future__ import annotations

from odin.client.record import Record


class User(Record):
    """``role`` is viewer, editor or admin; None where nobody is signed in to see it."""

    __slots__ = ()
    username: str
    firstname: str
    lastname: str
    role: str | None

    def __repr__(self) -> str:
        return f"<User {self.username} {self.role or ''}>"


class Users(list[User]):
    """In order of their names."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from odin.client.html import records

        return records(("username", "firstname", "lastname", "role"), self)
