"""``odin-user``: list, make, change and delete users."""

from __future__ import annotations

import sys

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean
from odin.client.errors import NotAllowed, NotFound, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from odin.client.user import User

    Json = dict[str, Any]

ROLES = ("viewer", "editor", "admin")
COLUMNS = ("username", "firstname", "lastname", "role")
EXAMPLES = (
    ("", "all users"),
    ("ana --role editor -f Ana -l Lee", "make ana, or change her; a new user's password is asked for"),
    ("ana", "a new password for ana"),
    ("ana --delete", ""),
)
DESCRIPTION = """\
List the users, or make, change or delete one. -u and -p name that user and the password it gets;
who does it is the machine's user or ODIN_USERNAME, with the token of odin-auth."""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("subject", nargs="?", type=name, metavar="USERNAME")
    made.add_argument("--username", "-u", type=name, metavar="NAME", help="the same, as older clients have it")
    made.add_argument("--password", "-p", metavar="PASSWORD", help="better left out: it is asked for")
    made.add_argument("--firstname", "-f", metavar="NAME")
    made.add_argument("--lastname", "-l", metavar="NAME")
    made.add_argument("--role", choices=ROLES)
    made.add_argument("--delete", action="store_true", help="delete the user; the tokens end at once")
    made.set_defaults(flags_name_the_subject=True)
    return connected(made, short_user=False)


def main(options: Namespace) -> int:
    session = Session(options)
    username = options.subject or options.username
    if username is None:
        if options.delete or changes(options):
            raise Usage("name the user: odin-user USERNAME ...")
        list_users(session)
    elif options.delete:
        session.client.delete_user(username)
        tell(session, {"username": username}, f"deleted {username}")
    else:
        create_or_update(session, username)
    return 0


def changes(options: Namespace) -> Json:
    """The fields that the flags set."""
    given = {key: getattr(options, key) for key in ("firstname", "lastname", "role", "password")}
    return {key: value for key, value in given.items() if value is not None}


def list_users(session: Session) -> None:
    users = session.client.users()
    if session.show({"users": [user.raw for user in users]}):
        return
    rows = [[str(getattr(user, column) or "") for column in COLUMNS] for user in users]
    session.screen.say("\n".join(session.screen.table(COLUMNS, rows)))


def create_or_update(session: Session, username: str) -> None:
    session.client.signed_in()  # before the new user's password is asked for, so that the two are not mixed up
    fields = changes(session.options)
    if exists(session, username):
        if not fields:
            fields["password"] = asked(f"new password for {username}: ")
        tell(session, update(session, username, fields).raw, f"changed {username}")
        return
    if "password" not in fields:
        fields["password"] = asked(f"password for {username}: ")
    tell(session, session.client.create_user(username, **fields).raw, f"made {username}")


def exists(session: Session, username: str) -> bool:
    try:
        session.client.user(username)
    except NotFound:
        return False
    return True


def update(session: Session, username: str, fields: Json) -> User:
    """One's own password needs the current one, unless the sign-in is fresh (api.md)."""
    try:
        return session.client.update_user(username, **fields)
    except NotAllowed as error:
        token = session.client.token()
        own = token is not None and token.username == username
        if error.status != 403 or not own or "password" not in fields:
            raise
        current = ask("current odin password: ")
        if current is None:
            raise
        return session.client.update_user(username, **fields, current_password=current)


def asked(prompt: str) -> str:
    """A new password, typed twice. Raises NotAllowed without a terminal, Usage when the two differ."""
    password = ask(prompt)
    if password is None:
        raise NotAllowed("there is no terminal to ask for the new password; give it with --password")
    if ask("once more: ") != password:
        raise Usage("the two passwords differ; nothing was changed")
    return password


def ask(prompt: str) -> str | None:
    from odin.cli.password import ask_masked

    return ask_masked(prompt)


def tell(session: Session, user: Json, done: str) -> None:
    if session.show({"user": user}):
        return
    role = user.get("role")
    session.screen.say(clean(done + (f" ({role})" if role else "")))
    sys.stdout.flush()
