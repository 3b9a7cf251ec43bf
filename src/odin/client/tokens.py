"""Tokens on this machine: one for each user of each server, in a file that only its owner can read.

``~/.config/odin/tokens.json`` holds ``{"<server's url>": {"token", "username", "others": {"<username>": token}}}``: the
token of whoever signed in there last, and below ``others``, which older files do not have, those of users who are
named to be used. ``~/.odin.token`` holds the bare token of the usual server, for older clients. Files are made with
``O_EXCL`` and mode 0600 in a folder of mode 0700 and moved into place; one that others can read, or a link, is not
used. Source: cli.md; reliability.md, A-73.
"""

from __future__ import annotations

import json
import os
import stat
import time
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable

MARGIN_S = 5.0  # a token is over so long before its end, for the way to the server
LONGEST = 1 << 20  # bytes of a token file


class Token:
    """A JWT as its holder can read it, unverified. ``expires_at`` and ``issued_at`` are POSIX seconds.

    ``fresh`` says that a password was just given for it.
    """

    __slots__ = ("expires_at", "fresh", "issued_at", "text", "username")

    def __init__(self, text: str, username: str = "", *, fresh: bool = False) -> None:
        claims = read_claims(text)
        self.text = text
        self.fresh = fresh
        self.username = username or str(claims.get("sub") or "")
        self.expires_at = moment(claims.get("exp"), float("inf"))
        self.issued_at = moment(claims.get("iat"), 0.0)

    def __repr__(self) -> str:
        return f"<Token of {self.username}>"

    @property
    def ends(self) -> bool:
        return self.expires_at != float("inf")

    def valid_at(self, now: float) -> bool:
        return now < self.expires_at - MARGIN_S


def moment(value: object, fallback: float) -> float:
    return float(value) if isinstance(value, int | float) else fallback


def read_claims(text: str) -> dict[str, object]:
    """What the token says of itself; empty when it is no JWT. Only the server can tell whether it is true."""
    part = text.split(".")[1] if text.count(".") == 2 else ""
    try:
        claims = json.loads(a2b_base64(part.translate({45: "+", 95: "/"}) + "=" * (-len(part) % 4)))
    except (NotBase64, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class Unsafe(Exception):
    """A file that may not be used; the text says which and why."""


def read_private(path: str) -> str | None:
    """The file's text, None if there is none. Raises Unsafe when someone else could read or write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unsafe(f"{path} cannot be read, or is a link ({(error.strerror or '').lower()})") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in (os.getuid(), 0):
            raise Unsafe(f"{path} is not a file of yours")
        if facts.st_mode & 0o077:
            raise Unsafe(f"other users can read {path}; chmod 600 {path}")
        return file.read(LONGEST).decode("utf-8", "replace")


def write_private(path: str, text: str) -> None:
    """Put the text there in one step, readable by the owner alone whatever the umask."""
    fresh = f"{path}.{os.urandom(6).hex()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
        os.rename(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def no_warning(_text: str) -> None:
    """For callers that have nobody to tell."""


class TokenFile:
    """One file that holds one bare token: ``--token FILE``, ``ODIN_TOKEN_FILE``, ``~/.odin.token``."""

    def __init__(self, path: str) -> None:
        self.path = os.path.expanduser(path)

    def read(self) -> Token | None:
        text = (read_private(self.path) or "").strip()
        return Token(text) if text else None

    def write(self, token: Token) -> None:
        """Without an end of line: older clients send all that stands in the file."""
        write_private(self.path, token.text)


class TokenStore:
    """The tokens of all servers. ``home`` is the user's; ``warn`` is told in a sentence what is not used, and why."""

    def __init__(self, home: str, warn: Callable[[str], None] = no_warning) -> None:
        self.folder = os.path.join(home, ".config", "odin")
        self.path = os.path.join(self.folder, "tokens.json")
        self.older = TokenFile(os.path.join(home, ".odin.token"))
        self._warn = warn

    def read(self, server: str, *, usual: bool, username: str | None = None) -> Token | None:
        """The token that this server gave to the user, None being whoever signed in last.

        ``usual`` servers may also use the older clients' file.
        """
        kept = Kept(self._all().get(server))
        if kept.last is not None or not usual:
            return kept.of(username)
        try:
            token = self.older.read()
        except Unsafe as error:
            self._warn(f"not used: {error}")
            return None
        return token if token is None or username is None or token.username in ("", username) else None

    def write(self, server: str, token: Token, *, usual: bool, last: bool = True) -> None:
        """Keep the token; with ``last`` it is what commands use that name no user.

        A home that cannot be written is a warning: the command itself can go on.
        """
        try:
            with self._locked():
                tokens = self._all()
                kept = Kept(tokens.get(server))
                is_last = kept.add(token, last=last)
                tokens[server] = kept.record()
                write_private(self.path, json.dumps(tokens, indent=1) + "\n")
            if usual and is_last:
                self.older.write(token)
        except OSError as error:
            self._warn(f"the token could not be kept in {self.path} ({(error.strerror or '').lower()})")

    def _all(self) -> dict[str, object]:
        try:
            text = read_private(self.path)
        except Unsafe as error:
            self._warn(f"not used: {error}")
            return {}
        try:
            tokens = json.loads(text or "{}")
        except ValueError:
            return {}
        return tokens if isinstance(tokens, dict) else {}

    def _locked(self) -> Lock:
        os.makedirs(os.path.dirname(self.folder), exist_ok=True)
        if not os.path.isdir(self.folder):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        return Lock(os.path.join(self.folder, "lock"))


class Kept:
    """The tokens of one server: that of ``last``, who signed in last, and those of the other users."""

    def __init__(self, record: object) -> None:
        facts = record if isinstance(record, dict) else {}
        others = facts.get("others")
        found = others if isinstance(others, dict) else {}
        self._tokens = {name: Token(text, name) for name, text in found.items() if isinstance(text, str)}
        self.last: Token | None = None
        if isinstance(facts.get("token"), str):
            self.last = Token(facts["token"], str(facts.get("username") or ""))

    def of(self, username: str | None) -> Token | None:
        if username is None or (self.last is not None and self.last.username in ("", username)):
            return self.last
        return self._tokens.get(username)

    def add(self, token: Token, *, last: bool) -> bool:
        """Whether it is now the last user's, as the first one's is in any case."""
        self._tokens.pop(token.username, None)
        if last or self.last is None or self.last.username == token.username:
            if self.last is not None and self.last.username != token.username:
                self._tokens[self.last.username] = self.last
            self.last = token
        else:
            self._tokens[token.username] = token
        return self.last is token

    def record(self) -> dict[str, object]:
        """What the file holds; tokens that are over are left out."""
        if self.last is None:
            return {}
        now = time.time()
        others = {name: token.text for name, token in self._tokens.items() if name and token.valid_at(now)}
        return {"token": self.last.text, "username": self.last.username, **({"others": others} if others else {})}


class Lock:
    """Two commands that sign in at once keep both tokens."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> None:
        import fcntl

        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
