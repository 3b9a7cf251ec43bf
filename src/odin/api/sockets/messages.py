"""What is said on a socket: one request, and replies that carry its further fields back.

    {"command": C, "request": R, …}  →  {"status": "OK" | "ERROR" | "END", "response": …, …}

Source: api.md, "WebSocket tier".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from odin.api.access import COMMANDS
from odin.api.answers import ENCODER
from odin.api.problems import printable
from odin.api.strictjson import loads
from odin.model.errors import InvalidInput, OdinError
from odin.model.names import nearest, shown

OK, ERROR, END = "OK", "ERROR", "END"
OWN = frozenset({"command", "request", "token"})  # what a reply does not carry back
EXTRA_BYTES = 8 * 1024  # each reply carries them: a log of 100,000 lines as often
FORM = '{"command": "PING", "request": "…"}'


@dataclass(frozen=True, slots=True)
class Reply:
    """``more`` are fields beside the response, such as the position after a line; the client's own come before.

    ``bookmark`` says how a client that is cut off after this reply goes on; None where that is as before.
    """

    status: str
    response: Any
    more: Mapping[str, Any] = field(default_factory=dict)
    bookmark: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``token`` is never sent back."""

    command: str = ""
    request: Any = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None

    def encode(self, reply: Reply) -> bytes:
        said = {"status": reply.status, "response": reply.response}
        return ENCODER.encode({**reply.more, **self.extras, **said})


def read(data: bytes) -> Asked:
    """The request; raises InvalidInput."""
    given = loads(data)
    if not isinstance(given, dict):
        raise InvalidInput(f"a request is an object: {FORM}")
    token = given.get("token")
    if token is not None and not isinstance(token, str):
        raise InvalidInput("token must be a text")
    extras = {key: value for key, value in given.items() if key not in OWN}
    if len(ENCODER.encode(extras)) > EXTRA_BYTES:
        raise InvalidInput(f"the fields beside command and request are larger than {EXTRA_BYTES} bytes")
    command = given.get("command", "")
    return Asked(command if isinstance(command, str) else "", given.get("request"), extras, token)


def check_command(asked: Asked) -> None:
    """Raises InvalidInput, with the nearest name, for a command that there is not."""
    if asked.command in COMMANDS:
        return
    if not asked.command:
        raise InvalidInput(f"command is missing, or no text: {FORM}; there are {', '.join(COMMANDS)}")
    near = nearest(asked.command, COMMANDS, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
    raise InvalidInput(f"there is no command {shown(asked.command)}; {hint}")


def failure(error: OdinError) -> Reply:
    """An error as a reply: the sentence, or one line for each place that is wrong."""
    return Reply(ERROR, printable("\n".join(str(one) for one in error.problems) or str(error)))


# What a command may be asked


def text(request: Any, what: str) -> str:
    """A request, or a field of one, that must be a text."""
    if not isinstance(request, str) or not request.strip():
        raise InvalidInput(f"{what} must be a text that is not empty")
    return request.strip()


@dataclass(frozen=True, slots=True)
class Fields:
    """A request that must be an object; fields that nobody asks for are ignored, null stands for a missing one."""

    of: Mapping[str, Any]

    @classmethod
    def read(cls, request: Any, example: str) -> Fields:
        if not isinstance(request, dict):
            raise InvalidInput(f"the request must be an object, such as {example}")
        return cls(request)

    def text(self, name: str) -> str:
        return text(self.of.get(name), name)

    def optional(self, name: str) -> str | None:
        return None if self.of.get(name) is None else text(self.of[name], name)

    def flag(self, name: str) -> bool:
        value = self.of.get(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidInput(f"{name} must be true or false")
        return bool(value)

    def number(self, name: str, least: int, most: int) -> int | None:
        value = self.of.get(name)
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise InvalidInput(f"{name} must be a whole number from {least} to {most}")
        return value
