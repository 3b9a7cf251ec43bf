"""gang: workers that know one another, with no operator: an Indexed Job and a headless Service.

Where the API server has no Indexed Jobs, the workers are plain pods; then Odin ends all when one fails.
A TFJob that is translated to a gang gets the ``TF_CONFIG`` that its operator would give.
"""

from __future__ import annotations

import json

from odin.executors.kubernetes import podstatus
from odin.executors.kubernetes.kind import Kind, Object, Order
from odin.executors.kubernetes.kinds import job, parts, pod
from odin.model.rules import longest_object

TF_PORT = 2222


def build(order: Order) -> list[Object]:
    name, spec = str(order.metadata["name"]), order.launch.spec
    env = _env(order, f"{name}-0.{name}", parts.index_field())
    template = parts.template(order, env=env)
    template["spec"]["subdomain"] = name
    return [_service(order), parts.top(order, parts.indexed(template, parts.pods(spec)))]


def build_pods(order: Order) -> list[Object]:
    """The pod of rank 0 is the top object; the others are called ``<name>.1`` and so on, as no task can be."""
    name = str(order.metadata["name"])
    others = [_pod(order, rank, f"{name}.{rank}") for rank in range(1, parts.pods(order.launch.spec))]
    first = _pod(order, 0, name) | {"metadata": pod.metadata(order)}
    return [_service(order), *others, first]


def _pod(order: Order, rank: int, name: str) -> Object:
    service = str(order.metadata["name"])
    env = _env(order, f"{service}-0.{service}", {"value": str(rank)})
    spec = parts.template(order, env=env)["spec"]
    spec |= {"hostname": f"{service}-{rank}", "subdomain": service}
    made = parts.beside(order, "v1", "Pod", spec, name=name)
    inner = order.pod.get("metadata", {})
    for key in ("labels", "annotations"):
        if merged := {**inner.get(key, {}), **made["metadata"].get(key, {})}:
            made["metadata"][key] = merged
    return made


def _service(order: Order) -> Object:
    """Gives each worker a name, before it is ready too: they look for one another to become ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": dict(order.metadata["labels"]),
    }
    return parts.beside(order, "v1", "Service", spec)


def _env(order: Order, master: str, rank: parts.Env) -> list[parts.Env]:
    spec = order.launch.spec
    env = parts.rendezvous(spec, master, rank)
    if spec.resource_type == "TFJob" and spec.num_workers > 1:
        env.append({"name": "TF_CONFIG", "value": _tf_config(str(order.metadata["name"]), spec.num_workers)})
    return env


def _tf_config(name: str, count: int) -> str:
    """Kubernetes itself puts the rank in: a variable may refer to one before it."""
    hosts = [f"{name}-{rank}.{name}:{TF_PORT}" for rank in range(count)]
    text = json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 0}, "environment": "cloud"})
    return text.replace('"index": 0', '"index": $(PET_NODE_RANK)')


def _is_first(seen: Object) -> bool:
    return parts.rank_of(seen) == "0"


def _is_top(seen: Object) -> bool:
    spec = seen.get("spec") or {}
    return str(spec.get("hostname")) == f"{spec.get('subdomain')}-0"


GANG = Kind(
    "gang",
    (job.API,),
    longest_object("gang"),
    build,
    job.read,
    main=_is_first,
    lacks=parts.anything,
    since=parts.INDEXED_SINCE,
    remedy="it needs Indexed Jobs: Kubernetes 1.22 or newer",
)

GANG_OF_PODS = Kind(
    "gang",
    (pod.API,),
    longest_object("gang"),
    build_pods,
    podstatus.read,
    main=_is_top,
    lacks=parts.anything,
    suspend=(),
    judged=False,
)
