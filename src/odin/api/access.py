"""Who may use which route, or command of a WebSocket: one row for each. What has no row is refused to all.

Rows are looked up by the route that was matched, never by the text of the path.
Source: api.md, "Authentication and users"; reliability.md, A-41, A-56.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

from odin.model.errors import NotAllowed, NotSignedIn
from odin.model.users import Role, User


class Access(StrEnum):
    OPEN = "open"  # no token, and none is looked at
    READ = "read"  # any user; without a token where anonymous reads are on
    USER = "user"  # any user; what they may do there is decided by the rules of the thing
    EDITOR = "editor"
    ADMIN = "admin"
    NODE = "node"  # the node agents with their own token, and no user


ROUTES: Mapping[tuple[str, str], Access] = {
    ("POST", "/v1/auth"): Access.OPEN,
    ("GET", "/v1/ping"): Access.OPEN,
    ("GET", "/healthz"): Access.OPEN,
    ("GET", "/readyz"): Access.OPEN,
    ("GET", "/v1/openapi.json"): Access.OPEN,
    ("GET", "/metrics"): Access.USER,
    ("GET", "/v1/app"): Access.READ,
    ("GET", "/v1/nodes"): Access.READ,
    ("POST", "/v1/nodes/{node}/report"): Access.NODE,
    ("GET", "/v1/users"): Access.USER,
    ("GET", "/v1/users/{username}"): Access.READ,
    ("POST", "/v1/users"): Access.ADMIN,
    ("PUT", "/v1/users/{username}"): Access.USER,
    ("DELETE", "/v1/users/{username}"): Access.ADMIN,
    ("GET", "/v1/jobs"): Access.READ,
    ("GET", "/v1/jobs/{job}"): Access.READ,
    ("POST", "/v1/jobs"): Access.EDITOR,
    ("PUT", "/v1/jobs/{job}"): Access.EDITOR,
    ("DELETE", "/v1/jobs/{job}"): Access.EDITOR,
    ("GET", "/v1/jobs/{job}/files/{file:path}"): Access.READ,
    ("POST", "/v1/jobs/{job}/files/{file:path}"): Access.EDITOR,
    ("DELETE", "/v1/jobs/{job}/files/{file:path}"): Access.EDITOR,
    ("POST", "/v1/jobs/{job}/files"): Access.EDITOR,
    ("GET", "/v1/pipelines"): Access.READ,
    ("GET", "/v1/pipelines/{pipeline}"): Access.READ,
    ("GET", "/v1/pipelines/{pipeline}/stream"): Access.READ,
    ("GET", "/v1/stream"): Access.READ,
    ("GET", "/v1/pipelines/{pipeline}/files"): Access.READ,
    ("GET", "/v1/pipelines/{pipeline}/files/{file:path}"): Access.READ,
    ("POST", "/v1/pipelines"): Access.EDITOR,
    ("DELETE", "/v1/pipelines/{pipeline}"): Access.EDITOR,
    ("POST", "/v1/pipelines/{pipeline}/cancel"): Access.EDITOR,
    ("POST", "/v1/pipelines/{pipeline}/rerun"): Access.EDITOR,
    ("GET", "/v1/resources/{resource:path}/data"): Access.READ,
    ("GET", "/v1/resources/{resource:path}/events"): Access.READ,
    ("GET", "/v1/resources/{resource:path}/logs"): Access.READ,
    ("GET", "/v1/ws"): Access.OPEN,  # says only that this is for WebSockets
}
# Where WebSockets are, and what may be asked there: one row for each command.
SOCKETS = ("/", "/v1/ws")
COMMANDS: Mapping[str, Access] = {
    "PING": Access.OPEN,
    "START": Access.EDITOR,
    "STATUS": Access.READ,
    "SHOW": Access.READ,
    "DATA": Access.READ,
    "EVENTS": Access.READ,
    "LOGS": Access.READ,
    "CLEANUP": Access.EDITOR,
    "GENERATE": Access.EDITOR,
}
# The git backend is mounted, not routed; it is asked for these rows by what git wants.
GIT_FETCH = Access.USER
GIT_PUSH = Access.EDITOR

LEAST: Mapping[Access, Role] = {Access.EDITOR: Role.EDITOR, Access.ADMIN: Role.ADMIN}


def is_agents(token: str, expected: str | None) -> bool:
    """Whether this is the token of the node agents; compared in a time that tells nothing of it."""
    if expected is None:
        return False
    given, wanted = (sha256(text.encode()).digest() for text in (token, expected))
    return compare_digest(given, wanted)


def admit(access: Access | None, user: User | None, *, anonymous_reads: bool) -> None:
    """Raise NotSignedIn or NotAllowed unless the user, None for nobody, may use a route with this access."""
    if access is None:
        raise NotAllowed("nobody may use this route")
    if access is Access.OPEN or (user is None and access is Access.READ and anonymous_reads):
        return
    if access is Access.NODE:
        raise (NotSignedIn if user is None else NotAllowed)("only node agents report, with ODIN_MIDGARD_TOKEN")
    if user is None:
        raise NotSignedIn("this needs a token; sign in with POST /v1/auth (odin-auth)")
    least = LEAST.get(access, Role.VIEWER)
    if not user.role.includes(least):
        raise NotAllowed(f'this needs the role {least}; "{user.username}" is {user.role}: ask an admin')
