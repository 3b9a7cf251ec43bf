"""``odin-ping``: is the server there, which version, how far away. Needs no sign-in and never asks for one."""

from __future__ import annotations

from odin.cli.options import Parser, connected
from odin.cli.session import Session
from odin.cli.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (("", "the usual server"), ("--host odin.example.com", "another one"))


def parser(prog: str) -> Parser:
    return connected(Parser(prog, "Say whether the server answers, its version, and how long that took.", EXAMPLES))


def main(options: Namespace) -> int:
    session = Session(options)
    ping = session.client.ping()
    if not session.show(ping.raw):
        version = f" {clean(ping.version)}" if ping.version else ""
        session.screen.say(f"{ping.url} answers: Odin{version}, {ping.round_trip_ms:.1f} ms")
    return 0
