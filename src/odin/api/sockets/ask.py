"""What a command is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from odin.api.services import Context
from odin.api.sockets.messages import Reply
from odin.model.users import User


@dataclass(frozen=True, slots=True)
class Ask:
    """``user`` is None for anonymous readers.

    ``follow`` is called once all that is left is to tell what happens: from then on the command may be cut off at any
    moment.
    """

    odin: Context
    request: Any
    user: User | None
    follow: Callable[[], None]

    @property
    def actor(self) -> User:
        assert self.user is not None, "the command's access lets nobody in without a token"
        return self.user


Replies = AsyncGenerator[Reply]
Answer = Callable[[Ask], Replies]
