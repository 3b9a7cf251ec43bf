"""The server and its machines."""

from __future__ import annotations

from odin.client.calls import Calls
from odin.client.errors import ServerFailed, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.client.node import Nodes, Ping


class ClusterCalls(Calls):
    """The routes that speak of the server and its machines."""

    __slots__ = ()

    def nodes(self) -> Nodes:
        """The machines where tasks run, and their GPUs; ``notice`` says what could not be told."""
        from odin.client.node import Node, Nodes

        answer = self.server.get("/v1/nodes")
        found = Nodes(Node(raw) for raw in answer["nodes"])
        found.notice = str(answer.get("notice") or "")
        return found

    def app(self) -> dict[str, Any]:
        """What this server is: version, executor, database, where it keeps pipelines."""
        return self.server.get("/v1/app")

    def ping(self) -> Ping:
        """Whether it is there, which version, how far away. Needs no token and sends none. Raises Unreachable."""
        import time

        from odin.client.node import Ping

        began = time.perf_counter()
        reply = self.server.ask("/v1/ping", signed=False)
        took_ms = (time.perf_counter() - began) * 1000
        url = self.server.address.url
        if reply.body.strip() != b'"pong"':
            raise Unreachable(f"{url} does not answer like an Odin server")
        return Ping({"url": url, "version": reply.fields.get("odin-version"), "roundTripMs": round(took_ms, 2)})

    def healthy(self) -> bool:
        """Whether the server answers at all, with or without its store. Raises Unreachable."""
        return bool(self.server.get("/healthz", signed=False).get("healthy"))

    def ready(self) -> bool:
        """Whether it can do its work: the store answers and pipelines are driven. Raises Unreachable."""
        try:
            return bool(self.server.get("/readyz", signed=False, patient=False).get("ready"))
        except ServerFailed:
            return False

    def metrics(self) -> str:
        """The server's figures, for Prometheus."""
        return self.server.ask("/metrics").body.decode()

    def openapi(self) -> dict[str, Any]:
        """The API's description in OpenAPI's words."""
        return self.server.get("/v1/openapi.json", signed=False)
