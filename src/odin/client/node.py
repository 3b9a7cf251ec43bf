"""The machines where tasks run, and what the server says of itself."""

from __future__ import annotations

from odin.client.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node(Record):
    """One machine."""

    __slots__ = ()
    host: str
    cpu: Any
    memory: Any
    pods: Any

    @property
    def internal_ip(self) -> str:
        return str(self.raw.get("internalIP") or "")

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """Its cards, with the driver's figures under the names that the API gives them."""
        return list(self.raw.get("gpus") or ())

    @property
    def gpu_count(self) -> int:
        """How many it has, as the cluster counts them; it may tell nothing more of them."""
        return int(self.raw.get("nvidia.com/gpu") or 0)

    @property
    def requested(self) -> dict[str, float] | None:
        """What the pods on it asked for: cores, bytes, pieces. None where that is not known."""
        return self.raw.get("requested")

    @property
    def report(self) -> dict[str, Any] | None:
        """How old (``ageS``) and how ``fresh`` the last report of the node's agent is. None without one."""
        return self.raw.get("report")

    def __repr__(self) -> str:
        return f"<Node {self.host} {len(self.gpus)} GPUs>"


class Nodes(list[Node]):
    """The machines of the cluster. ``notice`` is a sentence if something of them could not be told, else empty."""

    __slots__ = ("notice",)
    notice: str

    def _repr_html_(self) -> str:
        from odin.client.html import nodes

        return nodes(self)


class Ping(Record):
    """The server answered. ``version`` is Odin's, None when it does not say; ``round_trip_ms`` how long it took."""

    __slots__ = ()
    url: str
    version: str | None
    round_trip_ms: float

    def __repr__(self) -> str:
        return f"<Ping {self.url} {self.version or ''} {self.round_trip_ms} ms>"
