"""What a command talks to: the server that the options and the environment name, and the screen."""

from __future__ import annotations

import os
import sys

from odin.cli.screen import Screen
from odin.cli.text import clean
from odin.client.address import Address, resolve
from odin.client.server import Server
from odin.client.signin import SignIn
from odin.client.tokens import TokenFile, TokenStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any


class Session:
    """One run of one client command."""

    def __init__(self, options: Namespace, *, anonymous: bool = False) -> None:
        self.options = options
        self.screen = Screen(plain=options.no_color)
        self.server = Server(address(options), warn=self.note, trace=self._trace)
        self.sign_in = sign_in(options, self.server, self.note)
        if not anonymous:
            self.server.sign_in = self.sign_in

    def note(self, text: str) -> None:
        """A sentence for people; on standard error, so that results stay clean."""
        print(clean(text), file=sys.stderr, flush=True)

    def show(self, answer: dict[str, Any]) -> bool:
        """Print the answer if JSON is asked for; says whether it was."""
        if self.options.json:
            self.screen.json(answer)
        return bool(self.options.json)

    def _trace(self, text: str) -> None:
        if self.options.verbose:
            self.note(text)


def address(options: Namespace) -> Address:
    return resolve(os.environ, host=options.host, port=options.port, scheme=options.scheme)


def sign_in(options: Namespace, server: Server, warn: Said) -> SignIn:
    environ = os.environ
    file = options.token or environ.get("ODIN_TOKEN_FILE")
    from_flags = user_options(options)
    return SignIn(
        server.address,
        TokenStore(os.path.expanduser("~"), warn),
        server.authenticate,
        ask=ask,
        fallback=environ.get("LOGNAME") or environ.get("USER") or machine_user(),
        username=from_flags[0] or environ.get("ODIN_USERNAME"),
        password=from_flags[1] if from_flags[1] is not None else environ.get("ODIN_PASSWORD"),
        given=None if options.token else environ.get("ODIN_TOKEN"),
        file=TokenFile(file) if file else None,
    )


def user_options(options: Namespace) -> tuple[str | None, str | None]:
    """Who signs in by the flags; ``odin-user`` uses the same flags for the user that it makes or changes."""
    if getattr(options, "flags_name_the_subject", False):
        return None, None
    return options.username, options.password


def machine_user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def ask(prompt: str) -> str | None:
    from odin.cli.password import ask_masked

    return ask_masked(prompt)


if TYPE_CHECKING:
    from collections.abc import Callable

    Said = Callable[[str], None]
