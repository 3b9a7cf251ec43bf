"""Which token a request carries, and asking for the password when there is none that works.

In this order: ``ODIN_TOKEN``; the file of ``--token`` or ``ODIN_TOKEN_FILE``; the store of this machine's user, for the
one who is named or who signed in last. A token counts until the end that it names itself; then, or when the server
refuses it, the password is asked for once. Source: cli.md.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections.abc import Callable

from odin.client.address import Address
from odin.client.errors import NotAllowed
from odin.client.tokens import Token, TokenFile, TokenStore, Unsafe

Asking = Callable[[str], str | None]  # a prompt -> the password; None when there is nobody to ask
Authenticate = Callable[[str, str], str]  # user name, password -> token
RENEWALS = {"ODIN_TOKEN": "unset it, or put one from odin-auth in it"}


class SignIn:
    """The signing in of one command at one server.

    ``username`` and ``password`` are those given by flag or environment, None otherwise; ``fallback`` is the
    machine's user. ``given`` is the token of ``ODIN_TOKEN``, or what ``source`` calls it; ``file`` the one that
    ``--token`` names. Without ``keep`` no token is read from this machine or written to it. For any number of
    threads.
    """

    def __init__(
        self,
        address: Address,
        store: TokenStore,
        authenticate: Authenticate,
        *,
        ask: Asking,
        fallback: str,
        username: str | None = None,
        password: str | None = None,
        given: str | None = None,
        source: str = "ODIN_TOKEN",
        file: TokenFile | None = None,
        keep: bool = True,
    ) -> None:
        self._address = address
        self._store = store
        self._authenticate = authenticate
        self._ask = ask
        self._fallback = fallback
        self._username = username or None
        self._password = password
        self._given = given
        self._source = source
        self._file = file
        self._keeps = keep
        self._new: Token | None = None  # of this run: counts before what is kept, which may not be writable
        self._expired = False
        self._asking = allocate_lock()

    def kept(self) -> Token | None:
        """A token that may still work, without asking anybody. Raises NotAllowed for a file that others can read."""
        token = Token(self._given) if self._given else self._new or self._stored()
        if token is None:
            return None
        if not self._given and self._somebody_elses(token):
            return None
        if not token.valid_at(time.time()):
            self._expired = True
            return None
        return token

    def obtain(self) -> Token:
        """A token that may work; asks for the password when none is kept. Raises NotAllowed."""
        token = self.kept()
        if token is not None:
            return token
        with self._asking:
            return self.kept() or self._signed_in()

    def renew(self, *, refused: Token | None = None) -> Token:
        """Sign in with a password and keep the new token. Raises NotAllowed when there is none to be had.

        ``refused`` is the token that looked valid and that the server did not take. Of many threads one signs in.
        """
        with self._asking:
            if refused is not None and self._new is not None and self._new.text != refused.text:
                return self._new
            return self._signed_in(refused=refused is not None)

    def stay(self, token: Token) -> Token:
        """From now on this is the token of commands that name no user."""
        if self._keeps and self._file is None and not self._given:
            url, usual = self._address.url, self._address.usual
            last = self._store.read(url, usual=usual)
            if last is None or last.text != token.text:
                self._store.write(url, token, usual=usual)
        return token

    def _signed_in(self, *, refused: bool = False) -> Token:
        if self._given:
            state = "has expired" if self._expired else f"is not accepted by {self._address.url}"
            raise NotAllowed(f"the token in {self._source} {state}; {RENEWALS.get(self._source, 'give another one')}")
        password = self._password if self._password is not None else self._ask("odin password: ")
        if password is None:
            state = "your sign-in has expired" if self._expired or refused else "you are not signed in"
            raise NotAllowed(f"{state} at {self._address.url}", remedy="password")
        username = self._username or self._fallback
        try:
            text = self._authenticate(username, password)
        except NotAllowed as error:
            if self._username is None:
                error.remedy = "who"  # nobody has said who signs in: it is the machine's user
            raise
        self._new = Token(text, username, fresh=True)
        if self._keeps:
            self._keep(self._new)
        return self._new

    def _somebody_elses(self, token: Token) -> bool:
        """``--username`` says who is meant, and the kept token is another user's."""
        return bool(self._username and token.username) and self._username != token.username

    def _stored(self) -> Token | None:
        if not self._keeps:
            return None
        if self._file is None:
            return self._store.read(self._address.url, usual=self._address.usual, username=self._username)
        try:
            return self._file.read()
        except Unsafe as error:
            raise NotAllowed(str(error)) from error

    def _keep(self, token: Token) -> None:
        """A user who is named for one command does not take the place of the one who signed in here."""
        if self._file is None:
            self._store.write(self._address.url, token, usual=self._address.usual, last=self._username is None)
            return
        try:
            self._file.write(token)
        except OSError as error:
            raise NotAllowed(f"{self._file.path} cannot be written: {error.strerror}") from error
