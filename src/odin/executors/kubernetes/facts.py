"""What the cluster says of an attempt, as ``odin-data`` shows it: kind, nodes, pods, images. Kept beside its log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from odin.executors.kubernetes import strands
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.conditions import part
from odin.executors.kubernetes.kind import Kind, Object
from odin.executors.logs import log_path
from odin.model.ids import AttemptId

Facts = Mapping[str, Any]


def pods_of(body: Body) -> list[Object]:
    """All pods that were seen of an attempt."""
    own = [body.object] if body.object.get("kind") == "Pod" else []
    return list({part(pod, "metadata").get("uid"): pod for pod in (*body.pods.values(), *own)}.values())


def nodes(body: Body) -> list[str]:
    """Where its pods are, or were, sorted."""
    return sorted({node for pod in pods_of(body) if (node := part(pod, "spec").get("nodeName"))})


def facts(body: Body) -> Facts:
    """Empty before its object was seen. ``containers`` are the names that a log can be asked for by."""
    if body.kind is None or not body.object:
        return {}
    metadata, pods = part(body.object, "metadata"), pods_of(body)
    return {
        "kind": body.object.get("kind"),
        "api_version": body.object.get("apiVersion"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "nodes": nodes(body),
        "pods": [_pod(body.attempt, body.kind, pod) for pod in pods],
        "containers": strands.names(body.attempt, body.kind, pods),
    }


def keep(data: Path, attempt: AttemptId, known: Facts) -> None:
    """Beside the log, for the time after the pods; nothing where there is no folder of logs."""
    path = facts_path(data, attempt)
    if known and path.parent.is_dir():
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(known))
        fresh.replace(path)


def kept(data: Path, attempt: AttemptId) -> Facts:
    """What was kept; empty if nothing was."""
    with suppress(OSError, ValueError):
        found: Facts = json.loads(facts_path(data, attempt).read_text())
        return found
    return {}


def facts_path(data: Path, attempt: AttemptId) -> Path:
    return log_path(data, attempt).with_suffix(".json")


def _pod(attempt: str, kind: Kind, pod: Object) -> dict[str, Any]:
    metadata, status = part(pod, "metadata"), part(pod, "status")
    alone = strands.is_alone(kind)
    return {
        "name": metadata.get("name"),
        "role": "" if alone else strands.pod_name(attempt, pod),
        "uid": metadata.get("uid"),
        "node": part(pod, "spec").get("nodeName"),
        "ip": status.get("podIP"),
        "phase": status.get("phase"),
        "containers": list(_containers(pod)),
    }


def _containers(pod: Object) -> Iterator[dict[str, Any]]:
    for status in ("initContainerStatuses", "containerStatuses"):
        for each in part(pod, "status").get(status) or ():
            state = part(each, "state")
            yield {
                "name": each.get("name"),
                "image": each.get("image"),
                "image_id": each.get("imageID"),
                "restarts": each.get("restartCount") or 0,
                "state": next(iter(state), None),
                "exit_code": part(state, "terminated").get("exitCode"),
            }
