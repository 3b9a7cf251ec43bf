"""What can go wrong between a command and the server, and the exit code of each.

    ClientError
    ├── Usage         2  the command line or the environment makes no sense
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


class ClientError(Exception):
    """``str(failure)`` is one line for people. ``problems`` are the API's ``{path, message, file, line, column}``."""

    code = 9

    def __init__(self, message: str, *, problems: Sequence[Mapping[str, object]] = (), status: int = 0) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.status = status


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
