"""Where a remote lies, taken apart and built again, with its password kept apart.

Only ssh, https and paths of this machine; whatever could be an option to git or ssh is refused.
Source: reliability.md, A-31 and A-36.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from odin.model.errors import InvalidInput

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
SHORT = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^:-].*)")
WAYS = "an ssh or https URL, or an absolute path"


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` is what git gets and people see; ``settings`` hold the password, for git's environment alone."""

    url: str
    settings: dict[str, str] = field(default_factory=dict, repr=False)


def parse(text: str) -> Address:
    """Raises InvalidInput for what is none of the three, without repeating a password."""
    if any(ord(character) < 0x21 or ord(character) == 0x7F for character in text):
        raise InvalidInput("the remote has a space or control character in it")
    if text.startswith("/"):
        return Address(f"file://{text}")
    if "://" in text:
        return _url(text)
    short = SHORT.fullmatch(text)
    if short is None:
        raise InvalidInput(f"the remote must be {WAYS}")
    return Address(f"{_login(short['user'])}{_host(short['host'])}:{short['path']}")


def _url(text: str) -> Address:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidInput(f"the remote must be {WAYS}") from error
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return Address(f"file://{parts.path}")
    if parts.scheme not in ("ssh", "https") or parts.hostname is None or parts.query or parts.fragment:
        raise InvalidInput(f"the remote must be {WAYS}")
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise InvalidInput("the remote's port is no number") from error
    raw = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{_host(raw)}{port}{parts.path}"
    if parts.scheme == "ssh":
        if parts.password:
            raise InvalidInput("ssh takes a key, not a password in the remote's URL")
        return Address(f"ssh://{_login(parts.username)}{place}")
    return Address(f"https://{place}", _secret(parts.username, parts.password))


def _host(host: str) -> str:
    if not HOST.fullmatch(host):
        raise InvalidInput("the remote's host is no host name")
    return host


def _login(user: str | None) -> str:
    if user is not None and not USER.fullmatch(user):
        raise InvalidInput("the remote's user is no user name")
    return f"{user}@" if user else ""


def _secret(user: str | None, password: str | None) -> dict[str, str]:
    """A header in place of a URL with a password, which would show in the process list."""
    if not user and not password:
        return {}
    pair = f"{unquote(user or '')}:{unquote(password or '')}".encode()
    header = f"Authorization: Basic {base64.b64encode(pair).decode()}"
    return {"http.extraHeader": header, "http.followRedirects": "false"}
