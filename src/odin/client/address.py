"""Which server: ``--host``, ``--port`` and ``--scheme`` over ``ODIN_URL``, ``ODIN_PORT`` and ``ODIN_SCHEME``.

A host may be a bare name or a whole URL. A flag goes over the environment, and at the same level the port or the
scheme of its own goes over the one inside the URL. ``ws`` and ``wss`` mean ``http`` and ``https``.
Source: cli.md, "Options of all client commands".
"""

from __future__ import annotations

from collections.abc import Mapping

from odin.client.errors import Usage

HOST = "localhost"
PORT = 9003
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Address:
    """Where one server answers. ``prefix`` is the path that a proxy puts it under, often empty."""

    __slots__ = ("host", "port", "prefix", "scheme")

    def __init__(self, scheme: str, host: str, port: int, prefix: str = "") -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.prefix = prefix

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The one spelling of this server; tokens are kept by it."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def usual(self) -> bool:
        """The server of a command without any setting."""
        return (self.scheme, self.host, self.port, self.prefix) == ("http", HOST, PORT, "")


def is_loopback(host: str) -> bool:
    if host in ("localhost", "::1") or host.endswith(".localhost"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)


def resolve(
    environ: Mapping[str, str], *, host: str | None = None, port: str | None = None, scheme: str | None = None
) -> Address:
    """The server that the flags and the environment name. Raises Usage."""
    place = host or environ.get("ODIN_URL") or HOST
    own_scheme, name, own_port, prefix = split(place)
    if host:
        scheme = scheme or own_scheme or environ.get("ODIN_SCHEME")
        port = port or own_port or (environ.get("ODIN_PORT") if not own_scheme else None)
    else:
        scheme = scheme or environ.get("ODIN_SCHEME") or own_scheme
        port = port or environ.get("ODIN_PORT") or own_port
    scheme = known_scheme(scheme or ("http" if is_loopback(name) else "https"))
    usual_port = 443 if own_scheme and scheme == "https" else PORT
    return Address(scheme, name, number(port) if port else usual_port, prefix)


def split(place: str) -> tuple[str | None, str, str | None, str]:
    """Take a host name or a URL apart: ``(scheme, host, port, prefix)``, None where it does not say."""
    scheme, separator, rest = place.strip().rpartition("://")
    netloc, slash, path = rest.partition("/")
    if "@" in netloc:
        raise Usage("leave the user name out of the server's URL", remedy="username")
    host, port = split_port(netloc)
    if not host or not printable(host) or any(sign in path for sign in "?#") or not printable(path):
        raise Usage(f'"{place}" is not a host name or a URL such as https://odin.example.com:9003')
    prefix = (slash + path).rstrip("/")
    return (scheme.lower() if separator else None), host.lower(), port, prefix


def split_port(netloc: str) -> tuple[str, str | None]:
    if netloc.startswith("["):
        host, _, rest = netloc[1:].partition("]")
        return host, rest[1:] or None
    if netloc.count(":") > 1:  # a bare IPv6 address
        return netloc, None
    host, _, port = netloc.partition(":")
    return host, port or None


def printable(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and "\\" not in text


def known_scheme(scheme: str) -> str:
    try:
        return SCHEMES[scheme.lower()]
    except KeyError:
        raise Usage(f'the scheme "{scheme}" is none of {", ".join(SCHEMES)}') from None


def number(port: str) -> int:
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise Usage(f'"{port}" is not a port; it is a number from 1 to 65535')
    return int(port)
