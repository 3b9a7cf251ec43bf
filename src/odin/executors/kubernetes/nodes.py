"""The nodes of a cluster as the API server knows them: what they have, and what the pods on them asked for.

Utilisation comes from the nodes' agents (``odin.executors.nodereports``). Lists are kept for some seconds, so that
many who look cost the API server no more than one. Quantities are told as numbers: cores, bytes, pieces.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/, /docs/concepts/workloads/pods/init-containers/
("Resource sharing within containers").
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.replies import ApiFault, Forbidden
from odin.executors.protocol import Machines
from odin.model.errors import InvalidInput
from odin.model.quantities import amount

NODES = Api("", "v1", "Node", "nodes")
PODS = Api("", "v1", "Pod", "pods")
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
GPU = "nvidia.com/gpu"
FRESH_S = 5.0
PATIENCE_S = 5.0

Amounts = Mapping[str, Fraction]
Number = int | float


class Lists(Protocol):
    """What is asked of the API server; raises ApiFault. ``everywhere`` leaves the namespace out."""

    async def listed(self, api: Api, *, fields: str = "", everywhere: bool = False) -> Sequence[Object]: ...


class ClusterNodes:
    """``Nodes`` of a cluster. What may not be read, or cannot now, is missing and the notice says so."""

    def __init__(self, cluster: Lists, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._asked: asyncio.Task[Machines] | None = None
        self._ask_from = 0.0
        self._known: Machines | None = None
        self._known_at = 0.0
        self._fault = ""

    async def nodes(self) -> Machines:
        """At most one question at a time; what was known before when it takes too long or fails."""
        if self._asked is None and self._clock() >= self._ask_from:
            self._asked = asyncio.create_task(self._ask())
            self._asked.add_done_callback(_heard)
        if self._asked is not None:
            await asyncio.wait([self._asked], timeout=PATIENCE_S)
            self._take()
        if self._known is not None and self._asked is None and not self._fault:
            return self._known
        return self._late()

    def _take(self) -> None:
        """The answer, if it has come; everybody who waits for it may find it taken."""
        if self._asked is None or not self._asked.done():
            return
        asked, self._asked, now = self._asked, None, self._clock()
        self._ask_from = now + FRESH_S
        try:
            self._known, self._known_at, self._fault = asked.result(), now, ""
        except ApiFault as fault:
            self._fault = str(fault)

    def _late(self) -> Machines:
        why = f": {self._fault}" if self._fault else ""
        if self._known is None:
            return Machines((), f"the cluster does not answer{why}; only nodes that report are shown")
        age_s = self._clock() - self._known_at
        return Machines(
            self._known.nodes, f"the cluster does not answer{why}; its nodes are shown as they were {age_s:.0f} s ago"
        )

    async def _ask(self) -> Machines:
        try:
            nodes = await self._cluster.listed(NODES, everywhere=True)
        except Forbidden:
            return Machines((), "the server may not list the cluster's nodes: only those that report are shown")
        pods, notice = await self._pods()
        requested = None if pods is None else await asyncio.to_thread(requests_by_node, pods)
        shapes = [shape(node, requested) for node in nodes]
        return Machines(tuple(sorted(shapes, key=lambda node: str(node["host"]))), notice)

    async def _pods(self) -> tuple[Sequence[Object] | None, str]:
        try:
            return await self._cluster.listed(PODS, fields=UNFINISHED, everywhere=True), ""
        except Forbidden:
            notice = "the server may list the pods of its own namespace alone: what others requested is not counted"
        try:
            return await self._cluster.listed(PODS, fields=UNFINISHED), notice
        except Forbidden:
            return None, "the server may not list pods: what is requested is not known"


def shape(node: Object, requested: Mapping[str, Amounts] | None) -> dict[str, Any]:
    """A node as GET /v1/nodes answers it; ``requested`` by node, None if it is not known."""
    name, spec, status = node["metadata"]["name"], node.get("spec") or {}, node.get("status") or {}
    capacity = amounts(status.get("capacity") or {})
    found = [one for one in status.get("addresses") or () if one["type"] == "InternalIP"]
    conditions = status.get("conditions") or ()
    return {
        "host": name,
        "internalIP": found[0]["address"] if found else "",
        "cpu": number(capacity.get("cpu", Fraction())),
        "memory": (status.get("capacity") or {}).get("memory", "0"),
        "pods": number(capacity.get("pods", Fraction())),
        GPU: number(capacity.get(GPU, Fraction())),
        "gpus": [],
        "capacity": numbers(capacity),
        "allocatable": numbers(amounts(status.get("allocatable") or {})),
        "requested": None if requested is None else numbers(requested.get(name, {})),
        "ready": any(one["type"] == "Ready" and one["status"] == "True" for one in conditions),
        "schedulable": not spec.get("unschedulable", False),
        "conditions": [_only(one, "type", "status", "reason", "message", "lastTransitionTime") for one in conditions],
        "taints": [_only(one, "key", "value", "effect") for one in spec.get("taints") or ()],
        "report": None,
    }


def requests_by_node(pods: Iterable[Object]) -> dict[str, Amounts]:
    """What the pods that are placed and not over asked for, by node and resource; ``pods`` counts them."""
    found: dict[str, Amounts] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            found[node] = _sum(found.get(node, {}), {**requests(pod["spec"]), "pods": Fraction(1)})
    return found


def requests(spec: Mapping[str, Any]) -> Amounts:
    """What the scheduler reckons with for a pod.

    The containers and the sidecars together, or an init container and the sidecars before it where that is more;
    what the pod asks for as a whole stands above its containers; the runtime's overhead comes on top.
    """
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, asked)
            highest = _most(highest, sidecars)
        else:
            highest = _most(highest, _sum(sidecars, asked))
    for container in spec.get("containers") or ():
        sidecars = _sum(sidecars, _asked(container))
    return _sum({**_most(highest, sidecars), **_asked(spec)}, amounts(spec.get("overhead") or {}))


def amounts(quantities: Mapping[str, str]) -> Amounts:
    return {name: _amount(str(quantity)) for name, quantity in quantities.items()}


def number(value: Fraction) -> Number:
    return int(value) if value.denominator == 1 else float(value)


def numbers(values: Amounts) -> dict[str, Number]:
    return {name: number(value) for name, value in sorted(values.items())}


@lru_cache(maxsize=4096)
def _amount(quantity: str) -> Fraction:
    """0 for what no API server should say."""
    try:
        return amount(quantity)
    except InvalidInput:
        return Fraction()


def _heard(task: asyncio.Task[Machines]) -> None:
    """A fault that comes when nobody waits any more is no error of the program."""
    if not task.cancelled():
        task.exception()


def _asked(container: Mapping[str, Any]) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests") or {})


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, Fraction()) + other.get(name, Fraction()) for name in one.keys() | other.keys()}


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Fraction()), other.get(name, Fraction())) for name in one.keys() | other.keys()}


def _only(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given.get(name) or "" for name in names}
