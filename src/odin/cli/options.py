"""The options that all commands share, and a parser that answers a mistake in one line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from odin.client.address import SCHEMES

ENVIRONMENT = """\
environment: ODIN_URL, ODIN_PORT, ODIN_SCHEME, ODIN_TOKEN, ODIN_TOKEN_FILE, ODIN_USERNAME, ODIN_PASSWORD"""

# argparse looks for translations of its words and loads tables of locales for that, a millisecond at each start;
# Odin's own words are English, so those are too.
vars(argparse)["_"] = str


class Formatter(argparse.RawDescriptionHelpFormatter):
    """With a width of its own: argparse makes one for each option, and would import shutil to ask the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=WIDTH)


def help_width() -> int:
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size().columns
    except (OSError, ValueError):
        columns = 80
    return max(20, min(columns, 100) - 2)


WIDTH = help_width()


class Parser(argparse.ArgumentParser):
    """``examples`` are ``(arguments, what it does)``; the command's own name is put before them."""

    def __init__(
        self, prog: str, description: str, examples: Sequence[tuple[str, str]], *, environment: bool = True
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        self.examples = examples
        self.environment = environment

    def format_help(self) -> str:
        width = max((len(arguments) for arguments, _ in self.examples), default=0)
        lines = [f"  {self.prog} {arguments:<{width}}  {meaning}" for arguments, meaning in self.examples]
        self.epilog = "\n".join(["examples:", *(line.rstrip() for line in lines)])
        self.usage = " ".join([self.prog, "[options]", *self._shown_positionals()])
        if self.environment:
            self.epilog += "\n\n" + ENVIRONMENT
        return super().format_help()

    def parse_args(self, argv: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """An unknown option is named before its value can be taken for something else."""
        for item in argv:
            if item == "--":
                break
            if item.startswith("--") and item.partition("=")[0] not in self._option_string_actions:
                self.error(f"unrecognized arguments: {item}")
        return super().parse_args(argv)

    def _shown_positionals(self) -> list[str]:
        shapes = {None: "{}", "?": "[{}]", "+": "{}..."}
        return [
            shapes[action.nargs if isinstance(action.nargs, str) else None].format(
                action.metavar or "|".join(action.choices or ())
            )
            for action in self._get_positional_actions()
        ]

    def error(self, message: str) -> Stop:
        from odin.cli.nearest import suggestion

        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0]
        near = suggestion(unknown, self._option_string_actions) if unknown.startswith("-") else ""
        self.exit(2, f"{self.prog}: {message}{near}; see {self.prog} --help\n")


def connected(parser: Parser, *, short_user: bool = True) -> Parser:
    """Add the options of all client commands. Without ``short_user`` the caller has its own user options."""
    server = parser.add_argument_group("server")
    server.add_argument("--host", metavar="HOST", help="a host name or a whole URL (default: localhost)")
    server.add_argument("--port", metavar="PORT", help="(default: 9003)")
    server.add_argument("--scheme", choices=tuple(SCHEMES), help="(default: http for this machine, else https)")
    server.add_argument("--token", metavar="FILE", help="keep the token in this file")
    if short_user:
        server.add_argument("--username", "-u", metavar="NAME", help="(default: the machine's user)")
        server.add_argument("--password", "-p", metavar="PASSWORD", help="better left out: it is asked for")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the server's answer as JSON")
    output.add_argument("--no-color", action="store_true", help="no colours (also: NO_COLOR=1)")
    output.add_argument("--verbose", action="store_true", help="tell each request on standard error")
    return parser


def name(text: str) -> str:
    """An id, a job or a user name: not empty, and nothing that could reach another place of the API."""
    if not text.strip("/. ") or "\0" in text:
        raise argparse.ArgumentTypeError(f'"{text}" is no name')
    return text


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 1 up')
    return int(text)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn as Stop
