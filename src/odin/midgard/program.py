"""``odin-midgard``: what it is told to do, and the doing."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import ExitStack

from odin import machine
from odin.cli.entry import guarded
from odin.cli.options import Parser
from odin.client.address import resolve
from odin.client.errors import Usage
from odin.midgard.cards import Cards
from odin.midgard.listener import Listener, listen
from odin.midgard.parties import attend
from odin.midgard.report import report
from odin.midgard.reporter import Post, Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from odin.midgard.parties import Party

DESCRIPTION = """\
Report this machine and its GPUs to the Odin server, every few seconds, until it is told to stop. It listens nowhere
unless --listen says so. The token is the server's ODIN_MIDGARD_TOKEN; reporting is all that it allows."""
EXAMPLES = (
    ("--once", "print a report and send nothing"),
    ("--url http://odin.odin:9003 --token-file /run/secrets/midgard/token", "report"),
    ("--listen 29999", "report, and serve GET /v1/gpus to this machine (in a pod: on $POD_IP)"),
)
ENVIRONMENT = """\
environment: ODIN_URL, ODIN_MIDGARD_TOKEN, ODIN_MIDGARD_TOKEN_FILE; in a pod also NODE_NAME, HOST_IP, POD_IP"""
SHORTEST_S, LONGEST_S = 1.0, 3600.0
PLACE = re.compile(r"(\[[0-9A-Fa-f:]+\]:|[0-9.]+:)?[0-9]{1,5}")


class Words(Parser):
    """With the agent's own environment below its examples."""

    def format_help(self) -> str:
        return f"{super().format_help().rstrip()}\n\n{ENVIRONMENT}\n"


def parser(prog: str) -> Parser:
    made = Words(prog, DESCRIPTION, EXAMPLES, environment=False)
    made.add_argument("--url", metavar="URL", help="the server (default: $ODIN_URL, else http://localhost:9003)")
    made.add_argument("--token-file", metavar="FILE", help="read anew for each report")
    made.add_argument("--node", metavar="NAME", help="this machine's name (default: $NODE_NAME, else its host name)")
    made.add_argument("--interval", metavar="SECONDS", type=float, default=5.0, help="(default: 5)")
    made.add_argument("--listen", metavar="[ADDRESS:]PORT", help="also serve GET /v1/gpus, to read alone")
    made.add_argument("--once", action="store_true", help="print a report as JSON; send nothing")
    return made


def command() -> int:
    return guarded("odin-midgard", lambda: main(parser("odin-midgard").parse_args(sys.argv[1:])))


def main(options: Namespace) -> int:
    """Raises Usage for options that make no sense."""
    if not SHORTEST_S <= options.interval <= LONGEST_S:
        raise Usage(f"--interval is from {SHORTEST_S:g} to {LONGEST_S:g} seconds")
    signal.signal(signal.SIGTERM, _stop)
    with ExitStack() as stack:
        cards = Cards(options.interval)
        stack.callback(cards.close)
        if options.once:
            attend([cards], lambda: cards.reading > 0)
            print(json.dumps({"node": node(options), **report(cards, options.interval)}, indent=2))
            return 0
        attend(_parties(options, cards, stack))
    return 0


def node(options: Namespace) -> str:
    name = options.node or os.environ.get("NODE_NAME") or machine.host()
    if not machine.is_name(name):
        raise Usage(f'"{name}" is no name of a node; say --node NAME')
    return str(name)


def _parties(options: Namespace, cards: Cards, stack: ExitStack) -> Sequence[Party]:
    parties: list[Party] = [cards]
    token = _token(options)
    if token is not None:
        reporter = Reporter(cards, Post(resolve(os.environ, host=options.url), node(options), token), options.interval)
        stack.callback(reporter.close)
        parties.append(reporter)
    if options.listen:
        listener = Listener(listen(_place(options.listen)), lambda: _gpus(cards))
        stack.callback(listener.close)
        parties.append(listener)
    if len(parties) == 1:
        raise Usage("there is no token to report with; name its file with --token-file or ODIN_MIDGARD_TOKEN_FILE")
    return parties


def _token(options: Namespace) -> Callable[[], str] | None:
    """Where the token is read, None if it is not said."""
    path = options.token_file or os.environ.get("ODIN_MIDGARD_TOKEN_FILE")
    given = os.environ.get("ODIN_MIDGARD_TOKEN")
    if path:
        _read(path)
        return lambda: _read(path)
    return (lambda: given) if given else None


def _read(path: str) -> str:
    with open(path) as file:
        return file.read(4096).strip()


def _place(given: str) -> str:
    if not PLACE.fullmatch(given) or int(given.rpartition(":")[2]) > 65_535:
        raise Usage(f'"{given}" is no place to listen; write 29999 or 10.0.0.7:29999')
    return given if ":" in given else f"{os.environ.get('POD_IP') or '127.0.0.1'}:{given}"


def _gpus(cards: Cards) -> bytes:
    return json.dumps({"gpus": cards.gpus, "valuesAgeS": round(cards.age_s(), 1), "trouble": cards.trouble}).encode()


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)
