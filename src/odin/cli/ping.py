"""``odin-ping``: is the server there, which version, how far away. Needs no sign-in and never asks for one."""

from __future__ import annotations

import time

from odin.cli.options import Parser, connected
from odin.cli.session import Session
from odin.cli.text import clean
from odin.client.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (("", "the usual server"), ("--host odin.example.com", "another one"))


def parser(prog: str) -> Parser:
    return connected(Parser(prog, "Say whether the server answers, its version, and how long that took.", EXAMPLES))


def main(options: Namespace) -> int:
    session = Session(options, anonymous=True)
    began = time.perf_counter()
    reply = session.server.ask("/v1/ping")
    took_ms = (time.perf_counter() - began) * 1000
    url = session.server.address.url
    if reply.body.strip() != b'"pong"':
        raise Unreachable(f"{url} does not answer like an Odin server")
    version = reply.fields.get("odin-version")
    if options.json:
        session.screen.json({"url": url, "version": version, "roundTripMs": round(took_ms, 2)})
    else:
        session.screen.say(f"{url} answers: Odin{' ' + clean(version) if version else ''}, {took_ms:.1f} ms")
    return 0
