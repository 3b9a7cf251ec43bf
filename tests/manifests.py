"""The manifests of deploy/kubernetes as kustomize renders them, and what published schemas and standards say of them."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy/kubernetes"
RELEASE = "1.37"  # of the schemas in lightkube-models
COMPONENTS = sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml"))
PLACES = (".", "base", "overlays/kind")
Object = dict[str, Any]
Right = tuple[str, str, str]  # group, resource, verb


def kustomize(folder: Path) -> str:
    """What ``kubectl apply -k`` would send. Components need kubectl 1.21."""
    program = os.environ.get("KUBECTL") or shutil.which("kubectl")
    if program is None:
        pytest.skip("not run here: rendering of deploy/kubernetes, there is no kubectl")
    done = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode and "unknown field" in done.stderr:
        pytest.skip(f"not run here: rendering of {folder.name}, kubectl is older than 1.21")
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def render(place: str) -> tuple[Object, ...]:
    """The objects of a folder of deploy/kubernetes."""
    return objects(kustomize(DEPLOY / place))


def overlay(folder: Path, place: str, *components: str, **fields: Any) -> tuple[Object, ...]:
    """The objects of an overlay as an operator would write it, kept beside a copy of deploy/kubernetes in ``folder``."""
    if not (folder / "kubernetes").exists():
        shutil.copytree(DEPLOY, folder / "kubernetes")
    own = folder / "own"
    own.mkdir(exist_ok=True)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.normpath(f"../kubernetes/{place}")],
        "components": [f"../kubernetes/components/{name}" for name in components],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(content | fields))
    return objects(kustomize(own))


def objects(text: str) -> tuple[Object, ...]:
    return tuple(item for item in yaml.safe_load_all(text) if item)


def named(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def find(items: tuple[Object, ...], kind: str, name: str) -> Object:
    return next(item for item in items if item["kind"] == kind and item["metadata"]["name"] == name)


def pods(items: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """The spec of every pod that the objects would start."""
    for item in items:
        if "template" in item.get("spec", {}):
            yield named(item), item["spec"]["template"]["spec"]


def rights(rules: Iterable[Object]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# ---- the schema of a current release ----------------------------------------------------------------------------


def faults(item: Object) -> list[str]:
    """What the published schema of ``RELEASE`` does not know or does not allow."""
    group, _, version = item["apiVersion"].rpartition("/")
    module = f"lightkube.models.{group.partition('.')[0] or 'core'}_{version}"
    try:
        model = getattr(importlib.import_module(module), item["kind"])
        known = msgspec.to_builtins(msgspec.convert(item, model))
    except (ImportError, AttributeError):
        return [f"{item['apiVersion']} {item['kind']} is not in Kubernetes {RELEASE}"]
    except msgspec.ValidationError as error:
        return [str(error)]
    return list(_unknown(item, known, "$"))


def _unknown(given: Any, known: Any, path: str) -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            if known is None or key not in known:
                yield f"Object contains unknown field `{key}` - at `{path}`"
            else:
                yield from _unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, (ours, theirs) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(ours, theirs, f"{path}[{index}]")


# ---- Pod Security Standards, restricted -------------------------------------------------------------------------

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# What baseline forbids beyond what restricted names, wherever it may stand in a pod.
FORBIDDEN = {"hostNetwork", "hostPID", "hostIPC", "hostPort", "privileged", "procMount", "sysctls", "windowsOptions",
             "seLinuxOptions", "appArmorProfile", "hostProcess"}  # fmt: skip


def breaches(pod: Object) -> Iterator[str]:
    """Where a pod's spec does not meet the restricted standard (kubernetes.io, "Pod Security Standards")."""
    yield from (f"{key} is set" for key in _keys(pod) & FORBIDDEN)
    whole = pod.get("securityContext", {})
    if whole.get("runAsNonRoot") is not True or not whole.get("runAsUser"):
        yield "it may run as root"
    if whole.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    yield from (f"volume {each['name']}" for each in pod.get("volumes", ()) if not (set(each) - {"name"}) <= VOLUMES)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain privileges"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} keeps capabilities"
        if {"runAsUser", "runAsNonRoot", "seccompProfile"} & set(own):
            yield f"{container['name']} departs from what its pod says"


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()
