"""An answer that says no, as a ClientError with the exit code of its kind. Source: api.md, "Errors" (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from odin.client.address import Address
from odin.client.errors import OF_STATUS, ClientError, ServerFailed, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AGAIN = "; try again"  # how many a sentence of the server ends; when is said by the header


class Reply:
    """A whole answer."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, status: int, fields: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    @property
    def retry_after_s(self) -> float | None:
        """How long a busy server asks to wait; None when it is not busy or does not say."""
        after = self.fields.get("retry-after", "")
        return float(after) if self.status in (429, 503) and after.isascii() and after.isdigit() else None


def failure(address: Address, reply: Reply) -> ClientError:
    """What this answer, which is no success, means."""
    if 300 <= reply.status < 400:
        place = reply.fields.get("location", "elsewhere")
        return Unreachable(f"{address.url} redirects to {place}, where no token is sent", remedy="url")
    problem = read(reply)
    if problem is None:
        return foreign(address, reply)
    kind = OF_STATUS.get(reply.status, ServerFailed)
    text = str(problem.get("detail") or problem.get("title") or f"the server answered {reply.status}")
    if reply.retry_after_s is not None:
        text = text.removesuffix(AGAIN)
    errors = problem.get("errors")
    places = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else []
    return kind(
        text + later(reply),
        title=str(problem.get("title") or ""),
        problems=places,
        status=reply.status,
        retry_after_s=reply.retry_after_s,
    )


def why(reply: Reply) -> str:
    """What keeps a server from answering, in its own words if it has some."""
    return str((read(reply) or {}).get("detail") or "the server is busy").removesuffix(AGAIN)


def read(reply: Reply) -> dict[str, Any] | None:
    if "json" not in reply.fields.get("content-type", ""):
        return None
    try:
        problem = json.loads(reply.body)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and ("detail" in problem or "title" in problem) else None


def later(reply: Reply) -> str:
    return "" if reply.retry_after_s is None else f"; try again in {reply.retry_after_s:.0f} s"


def foreign(address: Address, reply: Reply) -> ClientError:
    """An error that Odin did not write: a proxy's, or another program's."""
    if reply.status >= 500:
        return ServerFailed(f"{address.url} failed with {reply.status}{later(reply)}", status=reply.status)
    kind = reply.fields.get("content-type", "no type")
    return Unreachable(
        f"{address.url} does not answer like an Odin server ({reply.status}, {kind})", status=reply.status
    )
