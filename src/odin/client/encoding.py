"""Text into URLs and bodies; urllib.parse would cost more than a whole request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode ``text`` (RFC 3986, 2.1)."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in PLAIN or byte in safe else f"%{byte:02X}" for byte in raw)


def query(values: Mapping[str, object]) -> str:
    """``?a=1&b=x``; what is None or False is left out, True is ``true``."""
    pairs = [(name, "true" if value is True else str(value)) for name, value in values.items() if asked(value)]
    return ("?" + "&".join(f"{name}={quote(value)}" for name, value in pairs)) if pairs else ""


def asked(value: object) -> bool:
    return value is not None and value is not False


def job_path(job: str) -> str:
    """A job as one piece of a URL: ``nlp/sst2`` is ``nlp__sst2`` there (api.md)."""
    return quote(job.strip("/").replace("/", "__"))


def multipart(files: Iterable[tuple[str, bytes]]) -> tuple[bytes, str]:
    """Files by name as ``(body, content type)`` of multipart/form-data (RFC 7578)."""
    boundary = "odin" + os.urandom(16).hex()
    pieces = []
    for name, content in files:
        shown = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = f'Content-Disposition: form-data; name="file"; filename="{shown}"'
        kind = "Content-Type: application/octet-stream"
        pieces.append(f"--{boundary}\r\n{head}\r\n{kind}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
