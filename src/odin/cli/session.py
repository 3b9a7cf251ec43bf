"""What a command talks to: the server that the options and the environment name, and the screen."""

from __future__ import annotations

import os
import sys

from odin.cli.screen import Screen
from odin.cli.text import clean
from odin.client.address import resolve
from odin.client.client import Client, nobody, nothing
from odin.client.tokens import TokenFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any

    from odin.client.signin import Asking

SERVER = ("host", "port", "scheme", "token")  # options that name it


class Session:
    """One run of one client command."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.screen = Screen(plain=options.no_color)
        self.known: tuple[str, ...] = ()  # what the server says that has been shown already
        self.client = self._connected(ask, self._warn)

    def quiet(self) -> Client:
        """The same server for a thread in the background: it asks for no password and says nothing."""
        return self._connected(nobody, nothing)

    def _connected(self, asking: Asking, warn: Callable[[str], None]) -> Client:
        options = self.options
        username, password = user_options(options)
        return Client(
            resolve(os.environ, host=options.host, port=options.port, scheme=options.scheme),
            token=TokenFile(options.token) if options.token else None,
            username=username,
            password=password,
            ask=asking,
            warn=warn,
            trace=self._trace,
            keep=True,
        )

    def note(self, text: str) -> None:
        """A sentence for people; on standard error, so that results stay clean."""
        print(clean(text), file=sys.stderr, flush=True)

    def _warn(self, text: str) -> None:
        if text not in self.known:
            self.note(text)

    def typed(self, program: str, *words: str) -> str:
        """What to type next: a command for the server that this one's options name."""
        from shlex import quote

        given = [(name, getattr(self.options, name)) for name in SERVER]
        named = [word for name, value in given if value for word in (f"--{name}", quote(clean(str(value))))]
        return " ".join([program, *(clean(word) for word in words), *named])

    def show(self, answer: dict[str, Any]) -> bool:
        """Print the answer if JSON is asked for; says whether it was."""
        if self.options.json:
            self.screen.json(answer)
        return bool(self.options.json)

    def _trace(self, text: str) -> None:
        if self.options.verbose:
            self.note(text)


def user_options(options: Namespace) -> tuple[str | None, str | None]:
    """Who signs in by the flags; ``odin-user`` uses the same flags for the user that it makes or changes."""
    if getattr(options, "flags_name_the_subject", False):
        return None, None
    return options.username, options.password


def ask(prompt: str) -> str | None:
    from odin.cli.password import ask_masked

    return ask_masked(prompt)
