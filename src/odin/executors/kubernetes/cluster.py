"""The API server of a cluster, asked in plain JSON: the only module that knows its client library.

The library reads kubeconfigs and service accounts, renews credentials and makes the connections. Its own calls leave
out what Odin relies on (bookmarks, uid preconditions, logs byte for byte), so requests are written here.
Source: kubernetes.md; reliability.md, F-27 to F-31; decision 12.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube.config.client_adapter import ConnectionParams, user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.pacing import Limiter
from odin.executors.kubernetes.replies import ApiFault, Expired, Missing, Unreachable, Unserved, fault
from odin.executors.kubernetes.transport import Transport
from odin.model.errors import Unavailable

IN_FLIGHT = 32
STREAMS = 1_000  # watches and logs that are followed
CALL_S = 15.0
WRITE_S = 3.0
CONNECT_S = 5.0
SILENCE_S = 70.0  # bookmarks come each minute: a watch that says less is dead
WATCH_S = 300
PAGE = 500
CORE = ("pods", "services", "configmaps", "secrets")
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Cluster:
    """One API server and a namespace of it. Belongs to the event loop it is first used in."""

    def __init__(self, config: SingleConfig, namespace: str, *, calls_per_s: float) -> None:
        self.namespace = namespace
        self.server = str(config.cluster.server)
        self._limiter = Limiter(calls_per_s, 2 * calls_per_s)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._calls = _client(config, IN_FLIGHT)
        self._streams = _client(config, STREAMS)
        self.calls = 0

    async def close(self) -> None:
        await self._calls.aclose()
        await self._streams.aclose()

    # Objects

    async def get(self, api: Api, name: str, *, everywhere: bool = False) -> Object:
        """A quorum read; raises Missing, Forbidden, Unreachable. ``everywhere``: it is of no namespace."""
        path = f"{api.path}/{api.plural}/{name}" if everywhere else self._path(api, name)
        found: Object = await self._call("GET", path, {})
        return found

    async def listed(
        self, api: Api, *, selector: str = "", fields: str = "", everywhere: bool = False
    ) -> tuple[list[Object], str]:
        """Every object in a quorum read, and the version to watch from; in one piece if pages take too long."""
        path = f"{api.path}/{api.plural}" if everywhere else self._path(api)
        params = {"limit": str(PAGE), "labelSelector": selector, "fieldSelector": fields}
        found: list[Object] = []
        more = ""
        while True:
            try:
                page = await self._call("GET", path, params | {"continue": more})
            except Expired:
                if not more:
                    raise
                found, more = [], ""
                del params["limit"]
                continue
            # Items of a list do not say what they are.
            typed = {"apiVersion": api.api_version, "kind": api.kind}
            found += [typed | each for each in page.get("items") or ()]
            more = page["metadata"].get("continue", "")
            if not more:
                return found, str(page["metadata"]["resourceVersion"])

    async def create(self, api: Api, body: Object) -> Object:
        """Raises Exists, Refused, OverQuota, Forbidden, Unreachable (it may exist all the same)."""
        made: Object = await self._call("POST", self._path(api), {}, body, timeout_s=WRITE_S)
        return made

    async def patch(self, api: Api, name: str, body: Any, *, how: str = MERGE, part: str = "") -> Object:
        """Raises Missing, Changed, Refused. ``part`` is a subresource, such as status."""
        path = self._path(api, name) + (f"/{part}" if part else "")
        patched: Object = await self._call("PATCH", path, {}, body, how=how, timeout_s=WRITE_S)
        return patched

    async def delete(self, api: Api, name: str, *, uid: str | None = None, grace_s: float | None = None) -> None:
        """Ask for removal; it is over when the object is gone. Raises Missing, Changed (another uid)."""
        # In the background the pods of an object run on until its last finalizer, Odin's own, is gone.
        body: Object = {"propagationPolicy": "Foreground" if api.group else "Background"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = max(0, round(grace_s))
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        await self._call("DELETE", self._path(api, name), {}, body, timeout_s=WRITE_S)

    # Streams

    async def watch(
        self, api: Api, version: str, *, selector: str = "", begun: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[tuple[str, Object]]:
        """What happens after ``version``, until the API server closes the watch; ``begun`` is called once it stands.

        Raises Expired, Unreachable.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "labelSelector": selector,
            "timeoutSeconds": str(random.randint(WATCH_S // 2, WATCH_S)),  # noqa: S311 - spreads the load
        }
        async with self._stream(self._path(api), params, SILENCE_S) as answer:
            begun()
            async for line in _lines(answer):
                event = _event(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise fault(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                yield event["type"], event["object"]

    async def log(
        self, pod: str, container: str, *, follow: bool = False, previous: bool = False, lines: int | None = None
    ) -> AsyncGenerator[bytes]:
        """A container's log as it is, or its last lines, in pieces; with ``follow`` until the container ends.

        Raises Missing, Refused.
        """
        params = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        params |= {} if lines is None else {"tailLines": str(lines)}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        async with self._stream(path, params, None if follow else CALL_S) as answer:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            except httpx2.HTTPError as error:
                raise Unreachable(_said(error)) from error

    # What it serves

    async def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        told = await self._call("GET", "/version", {})
        return int(told["major"]), int("".join(filter(str.isdecimal, told["minor"])))

    async def served(self, groups: Collection[str]) -> tuple[set[tuple[str, str, str]], dict[str, str]]:
        """Group, version and plural of every resource that is served, of these groups: others may be out of order.

        And of the groups that do not tell now what they have, why: each may have a server of its own behind it.
        """
        told = (await self._call("GET", "/apis", {}))["groups"]
        found = {("", "v1", name) for name in CORE}
        silent = {}
        for group in (each for each in told if each["name"] in groups):
            try:
                found |= await self._of_group(group)
            except Missing:  # its last definition was removed just now
                continue
            except ApiFault as fault:
                silent[group["name"]] = str(fault)
        return found, silent

    async def _of_group(self, group: Object) -> set[tuple[str, str, str]]:
        found = set()
        for version in group["versions"]:
            answer = await self._call("GET", f"/apis/{version['groupVersion']}", {})
            found |= {(group["name"], version["version"], each["name"]) for each in answer.get("resources", ())}
        return found

    # Requests

    def _path(self, api: Api, name: str = "") -> str:
        path = f"{api.path}/namespaces/{self.namespace}/{api.plural}"
        return f"{path}/{name}" if name else path

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Any = None,
        *,
        how: str = "application/json",
        timeout_s: float = CALL_S,
    ) -> Any:
        await self._limiter.turn()
        async with self._slots:
            self.calls += 1
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await self._calls.request(
                        method,
                        path,
                        params={name: value for name, value in params.items() if value},
                        content=None if body is None else _encode(body),
                        headers={} if body is None else {"Content-Type": how},
                    )
            except TimeoutError as error:
                raise Unreachable(f"the API server did not answer within {timeout_s:g} s") from error
            except (httpx2.HTTPError, ConfigError) as error:
                raise Unreachable(_said(error)) from error
        if answer.is_success:
            told = _read(answer.content)
            if isinstance(told, dict):
                return told
            raise Unreachable("what answered is not an API server")
        raise self._fault(answer, answer.content)

    @asynccontextmanager
    async def _stream(
        self, path: str, params: Mapping[str, str], silence_s: float | None
    ) -> AsyncIterator[httpx2.Response]:
        await self._limiter.turn()
        self.calls += 1
        timeout = httpx2.Timeout(CONNECT_S, read=silence_s)
        given = {name: value for name, value in params.items() if value}
        try:
            async with self._streams.stream("GET", path, params=given, timeout=timeout) as answer:
                if not answer.is_success:
                    raise self._fault(answer, await answer.aread())
                yield answer
        except (httpx2.HTTPError, ConfigError) as error:
            raise Unreachable(_said(error)) from error

    def _fault(self, answer: httpx2.Response, content: bytes) -> Exception:
        status = _read(content)
        if not isinstance(status, dict):
            status = {"message": content[:200].decode(errors="replace").strip()}
        found = fault(
            answer.status_code,
            status.get("reason") or "",
            status.get("message") or f"the API server answered {answer.status_code}",
            answer.headers.get("retry-after", ""),
        )
        if isinstance(found, Missing) and not (status.get("details") or {}).get("name"):
            return Unserved(found.message, found.status)
        if isinstance(found, Unreachable):
            self._limiter.pause(found.retry_after_s)
        return found


def configuration(kubeconfig: Path | None, context: str | None) -> SingleConfig:
    """A kubeconfig's context, or the service account of the pod that this runs in. Raises Unavailable."""
    try:
        if kubeconfig is not None:
            found = KubeConfig.from_file(kubeconfig).get(context)
        else:
            found = KubeConfig.from_env().get(context)
    except (ConfigError, KeyError, ValueError, OSError) as error:
        raise Unavailable(
            f"no cluster: {error}; name a kubeconfig with KUBECONFIG, or run inside the cluster"
        ) from error
    if found is None:
        raise Unavailable("no cluster: the kubeconfig has no current context; name one with ODIN_KUBE_CONTEXT")
    return found


def own_namespace(config: SingleConfig) -> str:
    """The context's namespace; inside a cluster that of the server's own pod."""
    return config.namespace


def _client(config: SingleConfig, connections: int) -> httpx2.AsyncClient:
    user = config.user
    assert user is not None, "a context without a user has no rights"
    verify = verify_cluster(config.cluster, user, config.abs_file, trust_env=ConnectionParams().trust_env)
    return httpx2.AsyncClient(
        base_url=config.cluster.server,
        transport=Transport(config.cluster.server, verify, connections),
        auth=user_auth(user),
        timeout=httpx2.Timeout(CALL_S, connect=CONNECT_S, pool=None),
        headers={"User-Agent": "odin"},
    )


async def _lines(answer: httpx2.Response) -> AsyncGenerator[bytes]:
    part = b""
    async with aclosing(answer.aiter_bytes()) as pieces:
        async for piece in pieces:
            *lines, part = (part + piece).split(b"\n")
            for line in filter(None, lines):
                yield line


def _event(line: bytes) -> Any:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise Unreachable(f"the watch told what is no event: {error}") from error


def _read(content: bytes) -> Any:
    try:
        return _decode(content)
    except msgspec.DecodeError:
        return None


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
