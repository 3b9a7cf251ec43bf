"""Users: listing, showing, making, changing and deleting them. Which field who may change: ``odin.model.users``."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.requests import Request
from starlette.responses import Response

from odin.api.accounts import Session
from odin.api.answers import answer
from odin.api.routes.auth import client
from odin.api.routing import router
from odin.api.services import Actor, Context, Ctx, Who
from odin.model.errors import NotAllowed, NotFound, NotSignedIn, Problem, ValidationFailed
from odin.model.names import shown
from odin.model.users import Role, User, check_change, check_person, check_role, check_username
from odin.store.users import Change, NewUser

routes = router()


class UserFields(BaseModel):
    """What a client says of a user; a field that is null or missing is not said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    role: str | None = None
    password: str | None = None
    currentPassword: str | None = None  # noqa: N815 - the contract's name

    @model_validator(mode="before")
    @classmethod
    def unwrap(cls, given: Any) -> Any:
        """The fields may be wrapped in ``user``."""
        return given["user"] if isinstance(given, dict) and given.keys() == {"user"} else given


def shape(user: User) -> dict[str, Any]:
    return {
        "username": user.username,
        "firstname": user.firstname,
        "lastname": user.lastname,
        "role": user.role,
    }


@routes.get("/v1/users")
async def list_users(odin: Ctx, q: str = "") -> Response:
    """Users whose names contain ``q``."""
    found = await run_sync(odin.services.users.list, q)
    return answer({"users": [shape(user) for user in found]})


@routes.get("/v1/users/{username}")
async def show_user(username: str, odin: Ctx, who: Who) -> Response:
    """One user; without a token its names only."""
    name = username.lower()
    if who is not None:
        return answer({"user": shape(await run_sync(odin.services.users.get, name))})
    account = await run_sync(odin.services.users.account, name)
    if account is None:
        raise NotFound(f"there is no user {shown(name)}")
    public = shape(account.user)
    del public["role"]
    return answer({"user": public})


@routes.post("/v1/users")
async def create_user(given: UserFields, request: Request, odin: Ctx, actor: Actor) -> Response:
    """Make a user; only an admin may."""

    async def act() -> Response:
        return answer({"user": shape(await _create(given, odin))})

    asked = odin.once.identify(request, actor, [await request.body()])
    return await odin.once.answer(asked, act)


async def _create(given: UserFields, odin: Context) -> User:
    if given.username is None or given.password is None:
        missing = "username" if given.username is None else "password"
        raise ValidationFailed(f"{missing} is missing", problems=[Problem("is missing", path=missing)])
    username = check_username(given.username)
    new = NewUser(
        username,
        check_role(given.role) if given.role is not None else Role.VIEWER,
        await odin.accounts.new_password(given.password, username),
        check_person("firstname", given.firstname or ""),
        check_person("lastname", given.lastname or ""),
    )
    return await run_sync(odin.services.users.create, new)


@routes.put("/v1/users/{username}")
async def change_user(username: str, given: UserFields, request: Request, odin: Ctx, who: Who) -> Response:
    """Change a user; one's own password needs the current one, or a sign-in at most five minutes old."""
    assert who is not None
    name = username.lower()
    if given.username is not None and given.username.lower() != name:
        raise ValidationFailed(
            "a user name cannot be changed", problems=[Problem("cannot be changed", path="username")]
        )
    before = await _seen(name, odin, who.user)
    said = _differing(given, before)
    check_change(who.user, name, said)
    change = Change(
        firstname=check_person("firstname", said["firstname"]) if "firstname" in said else None,
        lastname=check_person("lastname", said["lastname"]) if "lastname" in said else None,
        role=check_role(said["role"]) if "role" in said else None,
        password_hash=await _new_hash(said.get("password"), given, name, odin, who, client(request)),
    )
    after = await run_sync(odin.services.users.change, name, change)
    odin.accounts.forget(after.uid)
    return answer({"user": shape(after)})


async def _seen(name: str, odin: Context, actor: User) -> User:
    if actor.role is not Role.ADMIN and name != actor.username:
        raise NotAllowed("only an admin may change other users")
    return await run_sync(odin.services.users.get, name)


def _differing(given: UserFields, before: User) -> dict[str, str]:
    """The fields that would change: a client may send back what it read."""
    said = given.model_dump(exclude_none=True, exclude={"username", "currentPassword"})
    return {name: value for name, value in said.items() if value != getattr(before, name, None)}


async def _new_hash(
    password: str | None, given: UserFields, name: str, odin: Context, who: Session, address: str
) -> str | None:
    if password is None:
        return None
    if who.user.username == name:
        await _prove(given.currentPassword, odin, who, address)
    return await odin.accounts.new_password(password, name)


async def _prove(current: str | None, odin: Context, who: Session, address: str) -> None:
    """Raise NotAllowed unless the one who asks is at the keyboard, and not just in possession of a token."""
    if current is None:
        if not odin.accounts.recent(who):
            raise NotAllowed(
                "to change your own password give currentPassword too, or sign in again and do it within 5 minutes"
            )
        return
    try:
        await odin.accounts.sign_in(who.user.username, current, address)
    except NotSignedIn as error:
        raise NotAllowed("currentPassword is wrong") from error


@routes.delete("/v1/users/{username}")
async def delete_user(username: str, odin: Ctx) -> Response:
    """Delete a user and end its tokens; what it made stays."""
    gone = await run_sync(odin.services.users.delete, username.lower())
    odin.accounts.forget(gone.uid)
    return answer({"user": {"username": gone.username}})
