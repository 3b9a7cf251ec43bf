"""Pod: one pod, read by itself."""

from __future__ import annotations

from odin.executors.kubernetes import kueue, podstatus
from odin.executors.kubernetes.kind import Api, Kind, Object, Order
from odin.executors.kubernetes.kinds import parts
from odin.model.job import TaskSpec
from odin.model.rules import longest_object

API = Api("", "v1", "Pod", "pods")


def build(order: Order) -> list[Object]:
    return [parts.top(order, parts.template(order)["spec"]) | {"metadata": metadata(order)}]


def metadata(order: Order) -> Object:
    """That of the object and that of the template in one: the pod is both."""
    inner = order.pod.get("metadata", {})
    merged = {key: {**inner.get(key, {}), **order.metadata.get(key, {})} for key in ("labels", "annotations")}
    merged["labels"] |= kueue.labels(order.launch.spec)
    return {**order.metadata, **{key: value for key, value in merged.items() if value}}


def one_worker(spec: TaskSpec) -> str | None:
    if spec.num_workers == 1:
        return None
    return (
        f"a {spec.resource_type} is one worker and num_workers is {spec.num_workers}; "
        f"resource_type gang runs several that know one another"
    )


POD = Kind(
    "Pod",
    (API,),
    longest_object("Pod"),
    build,
    podstatus.read,
    main=lambda _pod: True,
    lacks=one_worker,
    suspend=(),
)
