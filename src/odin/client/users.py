"""Users, and signing in."""

from __future__ import annotations

from odin.client.calls import Calls, given
from odin.client.encoding import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from odin.client.tokens import Token
    from odin.client.user import User, Users


def path_of(username: str) -> str:
    return f"/v1/users/{quote(username)}"


class UserCalls(Calls):
    """The routes under ``/v1/users``, and ``/v1/auth``."""

    __slots__ = ()

    def sign_in(self, *, renew: bool = False) -> Token:
        """A token that the server takes: the one at hand if it still does, else a new one for the password.

        Its user is the one of this machine's commands from now on, where this client keeps tokens. ``renew`` asks for
        a new one in any case. Raises NotAllowed when there is no password to be had.
        """
        token = None if renew else self.token()
        if token is None or not self.server.accepts(token):
            token = self.server.sign_in.renew()
        return self.server.sign_in.stay(token)

    def signed_in(self) -> Token:
        """A token that may work, without asking the server about the one at hand. Raises NotAllowed."""
        return self.server.sign_in.obtain()

    def token(self) -> Token | None:
        """The token at hand, which may still work; nobody is asked for it."""
        return self.server.sign_in.kept()

    def users(self, q: str | None = None) -> Users:
        """The users whose names contain ``q``."""
        from odin.client.user import User, Users

        return Users(User(raw) for raw in self.server.get("/v1/users", q=q)["users"])

    def user(self, username: str) -> User:
        """One user; without a token its names only. Raises NotFound."""
        from odin.client.user import User

        return User(self.server.get(path_of(username))["user"])

    def create_user(
        self,
        username: str,
        password: str,
        *,
        firstname: str | None = None,
        lastname: str | None = None,
        role: str | None = None,
    ) -> User:
        """Make a user; the role is viewer unless given. Raises Conflict when there is one of that name."""
        from odin.client.user import User

        fields = given(username=username, password=password, firstname=firstname, lastname=lastname, role=role)
        return User(self.server.post("/v1/users", {"user": fields})["user"])

    def update_user(
        self,
        username: str,
        *,
        firstname: str | None = None,
        lastname: str | None = None,
        role: str | None = None,
        password: str | None = None,
        current_password: str | None = None,
    ) -> User:
        """Change what is given. One's own password needs the current one, or a sign-in at most five minutes old."""
        from odin.client.user import User

        fields = given(
            firstname=firstname, lastname=lastname, role=role, password=password, currentPassword=current_password
        )
        return User(self.server.put(path_of(username), {"user": fields})["user"])

    def delete_user(self, username: str) -> None:
        """Delete a user and end its tokens; what it made stays."""
        self.server.delete(path_of(username))
