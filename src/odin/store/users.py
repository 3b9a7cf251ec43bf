"""Users as they are kept. Every change is one transaction; there is always an admin once there was one.

Password hashes come in and go out as text; making and checking them is not done here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from odin.faults import reach
from odin.model.errors import Conflict, NotFound
from odin.model.names import nearest, shown
from odin.model.users import Role, User
from odin.store.database import Database
from odin.store.functions import Position, only_one
from odin.store.schema import users


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what signing in needs. Tokens issued before ``not_before`` (POSIX seconds) are dead."""

    user: User
    password_hash: str
    not_before: float


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be made; ``username`` is lower case already."""

    username: str
    role: Role
    password_hash: str
    firstname: str = ""
    lastname: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None leaves a field as it is."""

    firstname: str | None = None
    lastname: str | None = None
    role: Role | None = None
    password_hash: str | None = None


class Users:
    """The table of users; may be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, query: str = "") -> list[User]:
        """Users whose user name, first or last name contains ``query``, by user name."""
        statement = select(users).order_by(users.c.username)
        if query:
            columns = (users.c.username, users.c.firstname, users.c.lastname)
            statement = statement.where(or_(*(Position(column, query) > 0 for column in columns)))
        with self._database.reader() as connection:
            return [_user(row) for row in connection.execute(statement)]

    def account(self, username: str) -> Account | None:
        """The account of that name (lower case), None if there is none."""
        with self._database.reader() as connection:
            row = connection.execute(select(users).where(users.c.username == username)).one_or_none()
        return _account(row) if row is not None else None

    def account_of(self, uid: int) -> Account | None:
        """The account with that uid, None once it is deleted."""
        with self._database.reader() as connection:
            row = connection.execute(select(users).where(users.c.uid == uid)).one_or_none()
        return _account(row) if row is not None else None

    def get(self, username: str) -> User:
        """Raises NotFound, with the nearest names."""
        found = self.account(username)
        if found is None:
            raise NotFound(f"there is no user {shown(username)}", near=self._nearest(username))
        return found.user

    def count(self) -> int:
        with self._database.reader() as connection:
            return int(connection.execute(select(func.count()).select_from(users)).scalar_one())

    def create(self, new: NewUser) -> User:
        """Raises Conflict if the name is taken."""
        made = self._database.write(lambda connection: _insert(connection, new))
        reach("users:committed-not-answered")
        return made

    def create_first(self, new: NewUser) -> User | None:
        """Make the first user, or None if there is any already: two servers that start at once make one."""

        def create(connection: Connection) -> User | None:
            only_one(connection, users)
            if connection.execute(select(users.c.uid).limit(1)).first() is not None:
                return None
            return _insert(connection, new)

        return self._database.write(create)

    def change(self, username: str, change: Change) -> User:
        """Change a user; another password or role ends the user's tokens.

        Raises NotFound, and Conflict when the last admin would be no admin any more.
        """

        def act(connection: Connection) -> User:
            before = self._locked(connection, username)
            if change.role is not None and change.role is not Role.ADMIN:
                _keep_an_admin(connection, before.user)
            values = _values(before, change)
            if values:
                connection.execute(update(users).where(users.c.uid == before.user.uid).values(values))
            return _user(connection.execute(select(users).where(users.c.uid == before.user.uid)).one())

        return self._database.write(act)

    def upgrade_hash(self, account: Account, password_hash: str) -> None:
        """Replace a hash of the same password; tokens live on. Does nothing if the password changed meanwhile."""
        same = (users.c.uid == account.user.uid) & (users.c.password_hash == account.password_hash)
        upgraded = update(users).where(same).values(password_hash=password_hash)
        self._database.write(lambda connection: connection.execute(upgraded))

    def delete(self, username: str) -> User:
        """Raises NotFound, and Conflict for the last admin."""

        def act(connection: Connection) -> User:
            found = self._locked(connection, username).user
            _keep_an_admin(connection, found)
            connection.execute(delete(users).where(users.c.uid == found.uid))
            return found

        return self._database.write(act)

    def _locked(self, connection: Connection, username: str) -> Account:
        # Admins are locked too, in one order, so that two who delete each other wait for one another.
        wanted = select(users).where(or_(users.c.username == username, users.c.role == Role.ADMIN))
        rows = connection.execute(wanted.order_by(users.c.uid).with_for_update()).all()
        found = next((row for row in rows if row.username == username), None)
        if found is None:
            raise NotFound(f"there is no user {shown(username)}", near=self._nearest(username))
        return _account(found)

    def _nearest(self, username: str) -> tuple[str, ...]:
        with self._database.reader() as connection:
            return nearest(username, connection.execute(select(users.c.username).limit(10_000)).scalars())


def _insert(connection: Connection, new: NewUser) -> User:
    values = {
        "username": new.username,
        "firstname": new.firstname,
        "lastname": new.lastname,
        "role": new.role.value,
        "password_hash": new.password_hash,
        "not_before": 0.0,
        "created_at": time.time(),
    }
    try:
        uid = connection.execute(insert(users).returning(users.c.uid).values(values)).scalar_one()
    except IntegrityError as error:
        raise Conflict(f'there is a user "{new.username}" already') from error
    return User(uid, new.username, new.role, new.firstname, new.lastname)


def _values(before: Account, change: Change) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value
        for name in ("firstname", "lastname", "password_hash")
        if (value := getattr(change, name)) is not None
    }
    if change.role is not None:
        values["role"] = change.role.value
    if change.password_hash is not None or change.role not in (None, before.user.role):
        # Never earlier than before: a clock that was set back must not bring tokens to life again.
        values["not_before"] = max(time.time(), before.not_before)
    return values


def _keep_an_admin(connection: Connection, leaving: User) -> None:
    if leaving.role is not Role.ADMIN:
        return
    others = select(func.count()).where(users.c.role == Role.ADMIN.value, users.c.uid != leaving.uid)
    if not connection.execute(others).scalar_one():
        raise Conflict(f'"{leaving.username}" is the last admin; make another user admin first')


def _user(row: Row[Any]) -> User:
    return User(row.uid, row.username, Role(row.role), row.firstname, row.lastname)


def _account(row: Row[Any]) -> Account:
    return Account(_user(row), row.password_hash, row.not_before)
