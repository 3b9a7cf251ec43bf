"""Every error that may cross a room's border.

    OdinError
    ├── InvalidInput         malformed or badly named
    │   ├── TooLarge         over a documented limit
    │   └── ValidationFailed readable, but breaks a rule; ``problems`` has every place
    │       └── NotSupported what the file can say and Odin cannot do yet; names the feature
    ├── NotSignedIn          no valid token, or a wrong user or password
    ├── NotAllowed           signed in, without the role
    ├── NotFound             no such thing; ``near`` has the nearest names
    │   └── NoContainer      a task is there, and has no container or pod of that name
    ├── Conflict             exists already, or the state forbids it
    ├── TooManyRequests      asked too often; ``retry_after_s``
    ├── Unavailable          cannot now, may later; ``retry_after_s``
    │   └── OutcomeUnknown   the store went away in the middle of a commit, which may have happened
    ├── NoSpace              a disk is full
    └── IllegalMove          a move that the state machine does not have: a bug in Odin

One table in ``odin.api.problems`` maps them to HTTP, the command line maps HTTP to exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One place that is wrong, and how to mend it.

    ``path`` is the place in the document (``tasks[2].depends``), ``line`` and ``column`` count from 1 and are
    None where the input has no lines.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part not in (None, ""))
        where = f" (at {self.path})" if self.path else ""
        return f"{place}: {self.message}{where}" if place else f"{self.message}{where}"


class OdinError(Exception):
    """The root. ``str(error)`` is one sentence for people that names the thing and the remedy."""

    title = "The request failed"
    problems: Sequence[Problem] = ()
    retry_after_s: int | None = None

    def __init__(self, detail: str, *, problems: Sequence[Problem] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class InvalidInput(OdinError):
    title = "The input is not valid"


class TooLarge(InvalidInput):
    title = "The input is too large"


class ValidationFailed(InvalidInput):
    title = "The input breaks a rule"


class NotSupported(ValidationFailed):
    title = "Odin cannot do this yet"


class NotSignedIn(OdinError):
    title = "Sign in first"


class NotAllowed(OdinError):
    title = "Not allowed"


class NotFound(OdinError):
    """``near`` lists the nearest existing names, best first."""

    title = "Not found"

    def __init__(self, detail: str, *, near: Sequence[str] = ()) -> None:
        self.near = tuple(near)
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(detail + hint)


class NoContainer(NotFound):
    """As NotFound; names what there is."""


class Conflict(OdinError):
    title = "The state forbids it"


class TooManyRequests(OdinError):
    title = "Too many requests"
    retry_after_s = 60


class Unavailable(OdinError):
    title = "Not available now"
    retry_after_s = 5


class OutcomeUnknown(Unavailable):
    """Look before it is done again."""


class NoSpace(OdinError):
    title = "No space left"


class IllegalMove(OdinError):
    title = "Illegal move"
