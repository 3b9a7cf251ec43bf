"""Whose pages may open a socket: those of this very server. A browser says where a page is from, nobody else does.

Source: RFC 6455, section 10.2; RFC 6454, section 7; reliability.md, A-60.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
PORTS = {"http": 80, "https": 443}


def is_own(origins: Sequence[str], hosts: Sequence[str]) -> bool:
    """Whether a request with these ``Origin`` and ``Host`` headers is of no page, or of one of the server it names."""
    if not origins:
        return True
    origin = ORIGIN.fullmatch(origins[0])
    host = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if len(origins) > 1 or origin is None or host is None:
        return False
    usual = PORTS[origin[1].lower()]
    ports = [int(port) if port else usual for port in (origin[3], host[2])]
    return _name(origin[2]) == _name(host[1]) and ports[0] == ports[1]


def _name(text: str) -> str:
    return text.lower().removesuffix(".")
