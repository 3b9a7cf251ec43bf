"""The first start: an admin, if there is no user yet. Source: reliability.md, A-46, A-53."""

from __future__ import annotations

import secrets
from pathlib import Path

from odin.api.passwords import check_password, hasher
from odin.api.tokens import write_secret
from odin.model.users import Role, check_username
from odin.store.users import NewUser, Users

PASSWORD_FILE = "first-admin-password"  # noqa: S105 - a file's name


def bootstrap(users: Users, folder: Path, root_user: str, root_pass: str | None) -> str | None:
    """Make the first admin while there is no user; the random password to show once, None if there is none.

    A random password is also kept in ``folder`` in a file that only this user can read. Raises ValidationFailed
    for a name or password that breaks the rules. Of two servers that start at once one makes the admin.
    """
    if users.count():
        return None
    username = check_username(root_user)
    password = root_pass if root_pass is not None else secrets.token_hex(12)
    check_password(password, username)
    made = users.create_first(NewUser(username, Role.ADMIN, hasher().hash(password)))
    if made is None or root_pass is not None:
        return None
    path = folder / PASSWORD_FILE
    path.unlink(missing_ok=True)  # of an earlier, now empty, database
    write_secret(path, password)
    return password
