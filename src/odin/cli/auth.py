"""``odin-auth``: sign in, keep the token, print it."""

from __future__ import annotations

import time

from odin.cli.options import Parser, connected
from odin.cli.session import Session
from odin.client.tokens import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("", "ask for the password of the machine's user"),
    ("-u ana", "of another user"),
    ("--renew", "ask again although the kept token is still good"),
)
DESCRIPTION = """\
Sign in and print the token. It is kept for this server and used until it expires;
until then nobody is asked again."""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("--renew", action="store_true", help="sign in anew even if the kept token is still good")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    token = session.client.sign_in(renew=bool(options.renew or options.password))
    if not token.fresh:
        tell(session, token)
    if not session.show({"message": token.text}):
        session.screen.say(token.text)
    return 0


def tell(session: Session, token: Token) -> None:
    """Nobody was asked for a password: why not."""
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.expires_at)) if token.ends else "it is revoked"
    session.note(f"signed in as {token.username} until {end}; odin-auth --renew asks again")
