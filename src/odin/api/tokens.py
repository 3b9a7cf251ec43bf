"""Tokens: JWTs signed with HS256 that say who signed in, and when. Roles are never read from a token.

Stricter than the library where that costs nothing: known header fields only, one algorithm, one type, one issuer,
numbers as numbers, and a lifetime never longer than the setting. Source: RFC 8725; reliability.md, A-40 to A-48.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from odin.model.errors import NotSignedIn, ValidationFailed
from odin.model.users import User

ALGORITHM = "HS256"
TYPE = "odin-access+jwt"
HEADERS = frozenset({"alg", "typ", "kid"})
CLAIMS = ["iss", "sub", "uid", "iat", "exp", "jti"]
LONGEST = 8 * 1024
SKEW_S = 30
FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
SECRET_BYTES = 32
INVALID = "the token is not valid; sign in again"


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says; moments are POSIX seconds."""

    uid: int
    username: str
    issued_at: float
    expires_at: float
    id: str


class Tokens:
    """Signs and checks tokens of one issuer with one secret of at least 32 bytes."""

    def __init__(self, secret: bytes, issuer: str, duration_s: int, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValidationFailed(f"the signing secret has fewer than {SECRET_BYTES} bytes")
        self._secret = secret
        self._issuer = issuer
        self._duration_s = duration_s
        self._clock = clock
        self._kid = hashlib.sha256(b"odin key id" + secret).hexdigest()[:16]

    def issue(self, user: User) -> tuple[str, float]:
        """A token for the user, and when it expires."""
        now = round(self._clock(), 3)
        expires_at = int(now) + self._duration_s
        claims = {
            "iss": self._issuer,
            "sub": user.username,
            "uid": user.uid,
            "iat": now,
            "exp": expires_at,
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"typ": TYPE, "kid": self._kid}), expires_at

    def read(self, text: str) -> Token:
        """Raises NotSignedIn for all that this server did not sign for now."""
        if len(text) > LONGEST or not FORM.fullmatch(text):
            raise NotSignedIn(INVALID)
        try:
            self._check_header(jwt.get_unverified_header(text))
            claims = jwt.decode(
                text, self._secret, [ALGORITHM], issuer=self._issuer, leeway=SKEW_S, options={"require": CLAIMS}
            )
            return self._token(claims)
        except jwt.ExpiredSignatureError as error:
            raise NotSignedIn("the token has expired; sign in again") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotSignedIn(INVALID) from error

    def derive(self, purpose: str) -> bytes:
        """A key for another purpose, from which the secret cannot be found."""
        return hmac.digest(self._secret, f"odin {purpose}".encode(), "sha256")

    def _check_header(self, header: dict[str, Any]) -> None:
        known = header.keys() <= HEADERS and header.get("alg") == ALGORITHM and header.get("typ") == TYPE
        if not known or header.get("kid", self._kid) != self._kid:
            raise NotSignedIn(INVALID)

    def _token(self, claims: dict[str, Any]) -> Token:
        issued_at, expires_at = claims["iat"], claims["exp"]
        whole = (type(claims["uid"]), type(claims["sub"]), type(expires_at)) == (int, str, int)
        if not whole or type(issued_at) not in (int, float):
            raise NotSignedIn(INVALID)
        if expires_at - issued_at > self._duration_s + 1:
            raise NotSignedIn("the token lives longer than this server allows; sign in again")
        return Token(claims["uid"], claims["sub"], float(issued_at), float(expires_at), claims["jti"])


def load_secret(folder: Path, given: str | None) -> bytes:
    """The signing secret: the one given, else 256 bits kept in ``folder``, made on first start.

    Raises ValidationFailed for one that is too short, or whose file others can read.
    """
    if given is not None:
        if len(given.encode()) < SECRET_BYTES:
            raise ValidationFailed(f"ODIN_SECRET has fewer than {SECRET_BYTES} bytes; leave it out and Odin makes one")
        return given.encode()
    path = folder / "signing.key"
    if not path.exists():
        write_secret(path, secrets.token_bytes(SECRET_BYTES).hex())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ValidationFailed(f"others can read {path}; run: chmod 600 {path}")
    try:
        kept = bytes.fromhex(path.read_text())
    except ValueError:
        kept = b""
    if len(kept) < SECRET_BYTES:
        raise ValidationFailed(f"{path} is no signing secret; remove it and Odin makes one (all sign in again then)")
    return kept


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all; one that exists is left alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
