"""Client addresses: which count as one, which are this machine's, which belong to a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=1024)
def parse(address: str) -> Address | None:
    """The address without zone, IPv4 in IPv6 as IPv4; None for what is none, such as a socket's path."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def block(address: str) -> str:
    """What counts as one address: IPv4 as it is, IPv6 by its /64, loopback (shared by all local users) as none."""
    found = parse(address)
    if found is None:
        return address
    if found.is_loopback:
        return ""
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def is_loopback(host: str) -> bool:
    found = parse(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def within(address: str, networks: Iterable[str]) -> bool:
    """Whether the address is one of these addresses or lies in one of these networks."""
    found = parse(address)
    return found is not None and any(found in ipaddress.ip_network(one, strict=False) for one in networks)
