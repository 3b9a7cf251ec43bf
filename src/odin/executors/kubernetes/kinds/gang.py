"""gang: workers that know one another, with no operator: an Indexed Job and a headless Service.

A TFJob that is translated to a gang gets the ``TF_CONFIG`` that its operator would give.
"""

from __future__ import annotations

import json

from odin.executors.kubernetes.kind import Kind, Object, Order
from odin.executors.kubernetes.kinds import job, parts
from odin.model.rules import longest_object

TF_PORT = 2222


def build(order: Order) -> list[Object]:
    name, spec = str(order.metadata["name"]), order.launch.spec
    env = parts.rendezvous(spec, f"{name}-0.{name}", parts.index_field())
    if spec.resource_type == "TFJob" and spec.num_workers > 1:
        env.append({"name": "TF_CONFIG", "value": _tf_config(name, spec.num_workers)})
    template = parts.template(order, env=env)
    template["spec"]["subdomain"] = name
    return [_service(order), parts.top(order, parts.indexed(template, parts.pods(spec)))]


def _service(order: Order) -> Object:
    """Gives each worker a name, before it is ready too: they look for one another to become ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": dict(order.metadata["labels"]),
    }
    return parts.beside(order, "v1", "Service", spec)


def _tf_config(name: str, count: int) -> str:
    """Kubernetes itself puts the rank in: a variable may refer to one before it."""
    hosts = [f"{name}-{rank}.{name}:{TF_PORT}" for rank in range(count)]
    text = json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 0}, "environment": "cloud"})
    return text.replace('"index": 0', '"index": $(PET_NODE_RANK)')


def _is_first(seen: Object) -> bool:
    return parts.rank_of(seen) == "0"


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
