"""What a failure of the server's own tools is to the shell: a line on standard error and an exit code of cli.md."""

from __future__ import annotations

import sys

from odin.model.errors import Conflict, InvalidInput, NotAllowed, NotFound, OdinError

DONE, DIFFERENCES, NOT_FOUND, NOT_ALLOWED, CONFLICT, REFUSED, FAILED = 0, 1, 3, 4, 6, 8, 9
CODES = ((NotFound, NOT_FOUND), (NotAllowed, NOT_ALLOWED), (Conflict, CONFLICT), (InvalidInput, REFUSED))


def told(prog: str, error: OdinError | OSError) -> int:
    """Print the error, one line for each place that is wrong; the exit code."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: {place}{error.strerror or error}", file=sys.stderr)
        return NOT_ALLOWED if isinstance(error, PermissionError) else FAILED
    for line in error.problems or (error,):
        print(f"{prog}: {line}", file=sys.stderr)
    return next((code for kind, code in CODES if isinstance(error, kind)), FAILED)
