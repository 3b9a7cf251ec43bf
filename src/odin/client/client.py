"""``Client``: every route of a server as a method."""

from __future__ import annotations

import os

from odin.client.address import Address, resolve
from odin.client.cluster import ClusterCalls
from odin.client.jobs import JobCalls
from odin.client.pipelines import PipelineCalls
from odin.client.resources import ResourceCalls
from odin.client.server import Server
from odin.client.signin import SignIn
from odin.client.tokens import TokenFile, TokenStore
from odin.client.users import UserCalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Client(PipelineCalls, ResourceCalls, JobCalls, UserCalls, ClusterCalls):
    """One Odin server.

        >>> from odin import Client
        >>> client = Client()
        >>> pipeline = client.run("hello").wait()
        >>> pipeline.outcome
        'succeeded'

    ``url`` is a host name or a whole URL; None is the commands' own: ``ODIN_URL``, ``ODIN_PORT``, ``ODIN_SCHEME``, or
    ``http://localhost:9003``. So is the token: ``ODIN_TOKEN``, ``ODIN_TOKEN_FILE``, or the one that ``odin-auth`` got
    here. ``token`` is another one, as text or as a file. With ``username`` and ``password`` the client signs in for
    itself when it needs to; no token of this machine is used or written then, unless ``keep`` says so. ``ask`` is
    asked for a password where none is known, as ``getpass.getpass`` does; without it nobody is. ``warn`` gets
    sentences for people, ``trace`` a line for each request.

    Every method raises ``ClientError`` with the server's own words. A GET, and a POST, is sent again when its answer
    was lost or the server is busy or restarting; PUT and DELETE are not. A client holds no connection and may be used
    by many threads at once; an iterator belongs to the thread that reads it.
    """

    __slots__ = ("server",)

    def __init__(
        self,
        url: str | Address | None = None,
        *,
        token: str | TokenFile | None = None,
        username: str | None = None,
        password: str | None = None,
        ask: Callable[[str], str | None] | None = None,
        warn: Callable[[str], None] | None = None,
        trace: Callable[[str], None] | None = None,
        keep: bool | None = None,
    ) -> None:
        address = url if isinstance(url, Address) else resolve(os.environ, host=url)
        keep = (password is None or isinstance(token, TokenFile)) if keep is None else keep
        self.server = Server(address, warn=warn or nothing, trace=trace or nothing)
        self.server.sign_in = SignIn(
            address,
            TokenStore(os.path.expanduser("~"), self.server.warn),
            self.server.authenticate,
            ask=ask or nobody,
            fallback=os.environ.get("LOGNAME") or os.environ.get("USER") or machine_user(),
            username=username or os.environ.get("ODIN_USERNAME"),
            password=password if password is not None else os.environ.get("ODIN_PASSWORD"),
            keep=keep,
            **at_hand(token, keep),
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return self.server.address.url

    def __repr__(self) -> str:
        return f"<Client {self.url}>"


def at_hand(token: str | TokenFile | None, keep: bool) -> dict[str, Any]:
    """The token that was given, or that the environment has, as ``SignIn`` takes it."""
    if isinstance(token, str):
        return {"given": token, "source": "Client(token=...)"}
    if token is not None or not keep:
        return {"file": token}
    file = os.environ.get("ODIN_TOKEN_FILE")
    return {"given": os.environ.get("ODIN_TOKEN"), "file": TokenFile(file) if file else None}


def machine_user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def nothing(_text: str) -> None:
    """For callers that want to hear nothing."""


def nobody(_prompt: str) -> None:
    """There is nobody to ask."""
