"""What the groups of a client's methods share: the server that they ask."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from odin.client.client import Client
    from odin.client.server import Server

    T = TypeVar("T")


class Calls:
    """A group of methods of ``Client``. ``server`` is the layer below, for a request that no method makes."""

    __slots__ = ()
    server: Server

    def _whole(self) -> Client:
        """This object as what it is: every group is a part of one client."""
        return self  # type: ignore[return-value]


def given(**values: T | None) -> dict[str, T]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}
