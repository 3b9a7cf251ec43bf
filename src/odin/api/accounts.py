"""Signing in, and whether a token still counts: the user behind it, with the role of this moment.

What the store says of a user is kept for at most two seconds, and forgotten at once when this server changes it;
so a password change, a role change or a deletion ends tokens here at once and on other servers soon.
Source: reliability.md, A-47, A-50, A-51.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import anyio.to_thread

from odin.api.gathering import Gathering
from odin.api.passwords import LONGEST_BYTES, Passwords, check_password
from odin.api.rates import Rates
from odin.api.tokens import INVALID, SKEW_S, Token, Tokens
from odin.model.errors import NotSignedIn, OdinError, ValidationFailed
from odin.model.users import User
from odin.store.users import Account, Users

FRESH_S = 2.0
KEPT = 10_000
RECENT_SIGN_IN_S = 300.0
WRONG = "the user name or the password is wrong"


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user and the token, None where a password came with the request itself."""

    user: User
    token: Token | None = None


class Accounts:
    """One for a server; used from the event loop only."""

    def __init__(self, users: Users, tokens: Tokens, clock: Callable[[], float] = time.time) -> None:
        self.users = users
        self.passwords = Passwords()
        self.rates = Rates()
        self._tokens = tokens
        self._clock = clock
        # Signatures that were right once stay so; whether a token still counts is asked of its holder every time.
        self._read: dict[str, Token] = {}
        self._known: dict[int, tuple[float, Account | None]] = {}
        self._changes = 0
        self._reading = Gathering(self._accounts_of)

    async def session(self, token: str) -> Session:
        """Who holds the token; raises NotSignedIn."""
        found = self._read.get(token)
        if found is None:
            found = self._tokens.read(token)
            if len(self._read) >= KEPT:
                self._read.clear()
            self._read[token] = found
        return Session(await self.holder(found), found)

    async def holder(self, token: Token) -> User:
        """The user of a token, as of now; raises NotSignedIn once it has expired or was ended."""
        account = await self._account(token.uid)
        if account is None or account.user.username != token.username or token.issued_at < account.not_before:
            raise NotSignedIn(INVALID)
        if token.expires_at + SKEW_S <= self._clock():
            raise NotSignedIn("the token has expired; sign in again")
        return account.user

    async def counts(self, session: Session) -> bool:
        """Whether a session still holds; while the store is away, what was known of it does."""
        try:
            return session.token is None or bool(await self.holder(session.token))
        except NotSignedIn:
            return False
        except OdinError:
            return True

    async def sign_in(self, username: str, password: str, address: str) -> User:
        """The user of that name and password.

        Raises NotSignedIn, the same way and after the same work whichever is wrong, and TooManyRequests.
        """
        if len(password.encode(errors="surrogatepass")) > LONGEST_BYTES:
            raise ValidationFailed(f"a password has at most {LONGEST_BYTES} bytes")
        name = username.lower()[:LONGEST_BYTES]
        self.rates.check(name, address)
        account = await anyio.to_thread.run_sync(self.users.account, name)
        # Many may have waited for their turn: the failures of those before count by now.
        async with self.passwords.turn():
            self.rates.check(name, address)
            right = await self.passwords.matches(account.password_hash if account else None, password)
            if account is None or not right:
                self.rates.failed(name, address)
                raise NotSignedIn(WRONG)
        self.rates.succeeded(name, address)
        await self._upgrade(account, password)
        return account.user

    async def new_password(self, password: str, username: str) -> str:
        """The hash of a password that may be taken; raises ValidationFailed for a weak one."""
        check_password(password, username)
        async with self.passwords.turn():
            return await self.passwords.hash(password)

    def forget(self, uid: int) -> None:
        """Something of this user changed: the next request reads it anew."""
        self._changes += 1
        self._known.pop(uid, None)

    def recent(self, session: Session) -> bool:
        """Whether the token was given at most five minutes ago."""
        return session.token is not None and self._clock() - session.token.issued_at <= RECENT_SIGN_IN_S

    async def _upgrade(self, account: Account, password: str) -> None:
        if self.passwords.outdated(account.password_hash):
            async with self.passwords.turn():
                better = await self.passwords.hash(password)
            await anyio.to_thread.run_sync(self.users.upgrade_hash, account, better)

    async def _account(self, uid: int) -> Account | None:
        at, account = self._known.get(uid, (-FRESH_S, None))
        now = time.monotonic()
        if now - at < FRESH_S:
            return account
        changes = self._changes
        account = await self._reading.get(uid)
        if changes != self._changes:  # what was read may be old already
            return account
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[uid] = (now, account)
        return account

    def _accounts_of(self, uids: Collection[int]) -> dict[int, Account]:
        return {uid: account for uid in uids if (account := self.users.account_of(uid)) is not None}
