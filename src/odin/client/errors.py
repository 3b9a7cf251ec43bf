"""What can go wrong between a client and the server, and the exit code that a command ends with.

    ClientError
    ├── Usage         2  the command line, the environment or an argument makes no sense
    ├── NotFound      3  no such user, job, file, pipeline or task
    ├── NotAllowed    4  not signed in, or without the role
    ├── Unreachable   5  no answer, or not one of Odin
    ├── Conflict      6  exists already, or the state forbids it
    ├── Refused       8  the server read the input and refuses it; ``problems`` has every place
    └── ServerFailed  9  the server failed or stayed overloaded

Source of the codes: cli.md. ``OF_STATUS`` maps HTTP to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from odin.client.record import Record


class Problem(Record):
    """One place that is wrong. ``str(problem)`` is ``file:line:column: message``."""

    __slots__ = ()
    path: str | None  # of a field: tasks.0.command
    message: str
    file: str | None
    line: int | None  # from 1, as column
    column: int | None

    def __str__(self) -> str:
        parts = [str(part) for part in (self.file, self.line, self.column) if part not in (None, "")]
        where = ":".join(parts) or str(self.path or "")
        return f"{where}: {self.message}" if where else str(self.message)

    def __repr__(self) -> str:
        return f"<Problem {self}>"


# What may help, in the words of a program, after what went wrong; the commands have words of their own.
REMEDIES: Mapping[str, str] = {
    "start": "; start it with odin-serve, or name another one with url or ODIN_URL",
    "url": "; name the server with url or ODIN_URL",
    "scheme": "; if it is meant to speak plain HTTP, its url begins with http://",
    "username": "; give username",
    "who": "; give username (the first user of a new server is whoever started it, or ODIN_ROOT_USER)",
    "password": ", and there is nobody to ask; run odin-auth, set ODIN_TOKEN, or give password or ask",
}


class ClientError(Exception):
    """What a call raises. ``str(error)`` is one line for people, and a line for each place that it does not name.

    From an answer of the server (RFC 9457): ``status`` is HTTP's number, 0 without an answer; ``title`` the kind of
    problem; ``detail`` what happened and what to do; ``problems`` the places in a file or a body. ``retry_after_s`` is
    how long a busy server asks to wait. ``remedy`` is a key of ``REMEDIES``.
    """

    code = 9

    def __init__(
        self,
        detail: str,
        *,
        title: str = "",
        problems: Sequence[Mapping[str, object]] = (),
        status: int = 0,
        retry_after_s: float | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title
        self.problems = tuple(Problem(dict(problem)) for problem in problems)
        self.status = status
        self.retry_after_s = retry_after_s
        self.remedy = remedy

    def __str__(self) -> str:
        told = self.detail + REMEDIES.get(self.remedy, "")
        return "\n".join([told, *(f"  {place}" for place in self.problems if place.message not in self.detail)])


class Usage(ClientError):
    code = 2


class NotFound(ClientError):
    code = 3


class NotAllowed(ClientError):
    code = 4


class Unreachable(ClientError):
    code = 5


class Conflict(ClientError):
    code = 6


class Refused(ClientError):
    code = 8


class ServerFailed(ClientError):
    code = 9


OF_STATUS: Mapping[int, type[ClientError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    400: Refused,
    413: Refused,
    415: Refused,
    421: Refused,
    422: Refused,
    431: Refused,
}
