"""An error as one line on standard error and an exit code; of refused input, one line for each place."""

from __future__ import annotations

import sys

from odin.cli.text import clean
from odin.client.errors import ClientError

INTERNAL = 9
# What may help, in the words of a command line, after what went wrong. Keys: odin.client.errors.REMEDIES.
REMEDIES = {
    "start": "; start it with odin-serve, or name another one with --host or ODIN_URL",
    "url": "; name the server with --host or ODIN_URL",
    "scheme": "; try --scheme http",
    "username": "; use --username",
    "who": "; with -u NAME as somebody else (the first user of a new server is whoever started it, or ODIN_ROOT_USER)",
    "password": ", and there is no terminal to ask on; run odin-auth, or set ODIN_TOKEN or ODIN_PASSWORD",
}


def report(prog: str, error: Exception) -> int:
    if isinstance(error, ClientError):
        for line in lines(error):
            print(f"{prog}: {line}", file=sys.stderr)
        return error.code
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: {clean(place + (error.strerror or str(error)).lower())}", file=sys.stderr)
        return INTERNAL
    shown = "--verbose" in sys.argv or prog.endswith("serve")  # whoever runs a server needs to know where
    if shown:
        import traceback

        traceback.print_exception(error)
    hint = "" if shown else " (--verbose shows where)"
    print(f"{prog}: a bug in Odin: {type(error).__name__}: {clean(str(error))}{hint}", file=sys.stderr)
    return INTERNAL


def lines(error: ClientError) -> list[str]:
    """The error itself, or if it only sums up places, ``file:line:column: message`` of each."""
    told = error.detail + REMEDIES.get(error.remedy, "")
    places = [str(problem) for problem in error.problems]
    summary = any(str(problem.message) in error.detail for problem in error.problems)
    return [clean(line) for line in (places if summary else [told, *places])]
