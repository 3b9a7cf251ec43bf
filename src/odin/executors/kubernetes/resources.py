"""Other objects of the namespace, for admins, where a setting lists them: ``svc/web``, ``deploy/*``.

Never secrets and config maps, whatever the setting says. What is not listed is not there. Source: reliability.md, A-58.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.conditions import part
from odin.executors.kubernetes.executor import KubernetesExecutor
from odin.executors.kubernetes.happenings import EVENTS, read
from odin.executors.kubernetes.insight import check_container
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.merging import Merged
from odin.executors.kubernetes.replies import ApiFault, Forbidden, Missing, Refused
from odin.model.errors import NotFound, OdinError, Unavailable
from odin.model.happenings import Happening
from odin.model.ids import AttemptId
from odin.model.names import shown

APPS = ("apps", "v1")
KINDS: Mapping[Api, tuple[str, ...]] = {
    PODS: ("pod", "pods", "po"),
    Api("", "v1", "Service", "services"): ("svc", "service", "services"),
    Api(*APPS, "Deployment", "deployments"): ("deploy", "deployment", "deployments"),
    Api(*APPS, "StatefulSet", "statefulsets"): ("sts", "statefulset", "statefulsets"),
    Api(*APPS, "DaemonSet", "daemonsets"): ("ds", "daemonset", "daemonsets"),
    Api(*APPS, "ReplicaSet", "replicasets"): ("rs", "replicaset", "replicasets"),
    Api("batch", "v1", "Job", "jobs"): ("job", "jobs"),
}
MOST_PODS = 10
LINES = 10_000  # of each pod, where no number is asked for
MOST_BYTES = 10 << 20  # of all pods together
DEFAULT = "kubectl.kubernetes.io/default-container"
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
T = TypeVar("T")


class ClusterResources:
    """``Resources`` of a cluster. ``listed`` are patterns of ``kind/name``."""

    def __init__(self, place: KubernetesExecutor, listed: Collection[str]) -> None:
        self._place = place
        self._listed = [_pattern(each) for each in listed]

    async def facts(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, Mapping[str, Any]]:
        with suppress(OdinError):  # they are an addition: what they are added to is told without them
            return await self._place.consult(lambda insight: insight.facts(attempts))
        return {}

    async def data(self, resource: str) -> Mapping[str, Any]:
        api, name = self._api(resource)
        return await self._asked(resource, lambda cluster: _data(cluster, api, name))

    async def events(self, resource: str) -> Sequence[Happening]:
        api, name = self._api(resource)
        return await self._asked(resource, lambda cluster: _events(cluster, api, name))

    async def log(self, resource: str, *, container: str | None, lines: int | None) -> bytes:
        api, name = self._api(resource)
        return await self._asked(resource, lambda cluster: _log(cluster, api, name, container, lines))

    def _api(self, resource: str) -> tuple[Api, str]:
        """Raises NotFound for whatever is not listed."""
        api, name = _pattern(resource)
        listed = any(api == each and fnmatchcase(name, pattern) for each, pattern in self._listed)
        if api is None or not listed or not _NAME.fullmatch(name):
            raise _unknown(resource)
        return api, name

    async def _asked(self, resource: str, question: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
        try:
            return await self._place.on_cluster(question)
        except Missing as fault:
            raise _unknown(resource) from fault
        except Forbidden as fault:
            raise Unavailable(f"the server's own rights do not allow this: {fault}") from fault
        except ApiFault as fault:
            raise Unavailable(f"the cluster cannot be asked: {fault}") from fault


def _pattern(text: str) -> tuple[Api | None, str]:
    """The kind and the name, or names, of ``kind/name``; a kind alone stands for all of it."""
    kind, slash, name = text.partition("/")
    api = next((api for api, known in KINDS.items() if kind.lower() in known), None)
    return api, name if slash else "*"


def _unknown(resource: str) -> NotFound:
    return NotFound(f"there is no resource {shown(resource)}")


async def _data(cluster: Cluster, api: Api, name: str) -> Mapping[str, Any]:
    """The object but for who manages its fields."""
    found = await cluster.get(api, name)
    found["metadata"].pop("managedFields", None)
    (found["metadata"].get("annotations") or {}).pop(APPLIED, None)
    return found


async def _events(cluster: Cluster, api: Api, name: str) -> list[Happening]:
    """Those of the object itself, oldest first."""
    await cluster.get(api, name)
    fields = f"involvedObject.kind={api.kind},involvedObject.name={name}"
    found, _ = await cluster.listed(EVENTS, fields=fields)
    return sorted((read(each) for each in found), key=lambda told: told.at)


async def _log(cluster: Cluster, api: Api, name: str, container: str | None, lines: int | None) -> bytes:
    """The last lines of each of its pods, one after the other, behind the pods' names if there are several."""
    pods = await _pods(cluster, api, await cluster.get(api, name))
    if len(pods) == 1:
        return await _read(cluster, pods[0], container, lines, MOST_BYTES)
    merged, told = Merged(), b""
    for pod in pods:
        of = str(pod["metadata"]["name"])
        told += merged.lines(of, await _read(cluster, pod, container, lines, MOST_BYTES // len(pods)))
        told += merged.rests()
    return told


async def _pods(cluster: Cluster, api: Api, found: Object) -> list[Object]:
    if api == PODS:
        return [found]
    selector = part(found, "spec", "selector")
    labels = part(selector, "matchLabels") if api.plural != "services" else selector
    if not labels:
        return []
    pods, _ = await cluster.listed(PODS, selector=",".join(f"{key}={value}" for key, value in labels.items()))
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))[:MOST_PODS]


async def _read(cluster: Cluster, pod: Object, container: str | None, lines: int | None, most: int) -> bytes:
    """The last bytes of the last lines; nothing of a container that has not begun."""
    there = [str(each["name"]) for each in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))]
    name = str(pod["metadata"]["name"])
    check_container(name, container, there)
    chosen = container or part(pod, "metadata", "annotations").get(DEFAULT) or there[0]
    told = b""
    with suppress(Refused, Missing):
        async with aclosing(cluster.log(name, chosen, lines=LINES if lines is None else lines)) as pieces:
            async for piece in pieces:
                told = (told + piece)[-most:]
    return told
