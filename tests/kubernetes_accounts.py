"""The server's account as deploy/kubernetes makes it: in a namespace of a real cluster, and a kubeconfig that is it."""

from __future__ import annotations

import base64
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from manifests import ROOT

PATIENCE_S = 60.0
ACCOUNT = "odin-server"
Kubectl = Callable[..., str]


def install(kubectl: Kubectl, namespace: str) -> None:
    """Make the account and its Role in a namespace that is there."""
    kubectl("-n", namespace, "apply", "-f", str(ROOT / "deploy/kubernetes/base/rights.yaml"))


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
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(secret, file)
        file.flush()
        kubectl("-n", namespace, "apply", "-f", file.name)
    until = time.monotonic() + PATIENCE_S
    while True:
        made = json.loads(kubectl("-n", namespace, "get", "secret", f"{ACCOUNT}-token", "-o", "json"))
        if token := made.get("data", {}).get("token"):
            return base64.b64decode(token).decode()
        assert time.monotonic() < until, "the cluster makes no token"
        time.sleep(0.1)
