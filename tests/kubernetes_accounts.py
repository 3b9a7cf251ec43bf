"""The server's account as deploy/kubernetes makes it: in a namespace of a real cluster, and a kubeconfig that is it."""

from __future__ import annotations

import base64
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from manifests import ROOT

PATIENCE_S = 60.0
ACCOUNT = "odin-server"
RIGHTS = ROOT / "deploy/kubernetes/base/rights.yaml"
Kubectl = Callable[..., str]


def install(kubectl: Kubectl, namespace: str) -> None:
    """Make the account and its Role in a namespace that is there."""
    kubectl("-n", namespace, "apply", "-f", str(RIGHTS))


def install_nodes(kubectl: Kubectl, namespace: str) -> None:
    """``components/nodes`` for that account, under a name of its own, since several share the cluster."""
    _send(kubectl, _nodes(namespace))


def remove_nodes(kubectl: Kubectl, namespace: str) -> None:
    """Take back what ``install_nodes`` made, if it did."""
    for each in _nodes(namespace):
        kubectl("delete", each["kind"], each["metadata"]["name"], "--ignore-not-found", "--wait=false")


def kubeconfig(kubectl: Kubectl, namespace: str, folder: Path) -> Path:
    """A file with which a client is the server's account, in its namespace; ``install`` comes first."""
    admin = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    user = {"name": ACCOUNT, "user": {"token": _token(kubectl, namespace)}}
    context = {"cluster": admin["clusters"][0]["name"], "user": ACCOUNT, "namespace": namespace}
    content = admin | {"users": [user], "contexts": [{"name": ACCOUNT, "context": context}], "current-context": ACCOUNT}
    path = folder / f"{namespace}.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return path


def _token(kubectl: Kubectl, namespace: str) -> str:
    """A Secret that Kubernetes fills: clusters before 1.24 cannot be asked for a token by kubectl."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": f"{ACCOUNT}-token", "annotations": {"kubernetes.io/service-account.name": ACCOUNT}},
    }
    _send(kubectl, [secret], "-n", namespace)
    until = time.monotonic() + PATIENCE_S
    while True:
        made = json.loads(kubectl("-n", namespace, "get", "secret", f"{ACCOUNT}-token", "-o", "json"))
        if token := made.get("data", {}).get("token"):
            return base64.b64decode(token).decode()
        assert time.monotonic() < until, "the cluster makes no token"
        time.sleep(0.1)


def _nodes(namespace: str) -> list[dict[str, Any]]:
    made = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/components/nodes/nodes.yaml").read_text()))
    name = f"{made[0]['metadata']['name']}-{namespace}"
    for each in made:
        each["metadata"]["name"] = name
        if each["kind"] == "ClusterRoleBinding":
            each["roleRef"]["name"] = name
            each["subjects"][0]["namespace"] = namespace
    return made


def _send(kubectl: Kubectl, objects: Sequence[Any], *words: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(objects, file)
        file.flush()
        kubectl(*words, "apply", "-f", file.name)
