"""What the site lets a pod use: accounts, what it may mount, where it may run and ahead of whom.

Source: reliability.md, A-91, A-93, A-94.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from odin.executors.kubernetes import paths
from odin.executors.kubernetes.delivery import own_name
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.labels import PIPELINE
from odin.executors.kubernetes.site import Site
from odin.executors.kubernetes.violations import Violation, containers, each, inner, objects

# Where objects name a secret, a config map or a claim: the field, what it is, and the keys of its name.
_REFERENCES: Final = {
    "secret": ("secret", ("secretName", "name")),
    "secretKeyRef": ("secret", ("name",)),
    "secretRef": ("secret", ("name",)),
    "configMap": ("config map", ("name",)),
    "configMapKeyRef": ("config map", ("name",)),
    "configMapRef": ("config map", ("name",)),
    "persistentVolumeClaim": ("claim", ("claimName",)),
}
_SETTING: Final = {"secret": "SECRETS", "config map": "CONFIG_MAPS", "claim": "CLAIMS"}
_RANKS: Final = frozenset({"priorityClassName", "priorityClass"})
_NAMING: Final = _RANKS.union(_REFERENCES)
NOBODY: Final = "odin-"  # no scheduler is called so: what fills a name waits for it
_CHECKOUT: Final = re.compile(r"checkouts/[0-9a-f]{40}")


_VOLUMES: Final = frozenset(
    {"name", "emptyDir", "persistentVolumeClaim", "secret", "configMap", "downwardAPI", "projected"}
)


def judge(pod: Object, path: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    """What a pod's spec uses without leave."""
    yield from _volumes(pod, path)
    yield from _shared(pod, path, site, marks)
    for place, node in objects(pod, path):
        yield from judge_references(node, place, site, marks)
    yield from _account(pod, path, site)
    yield from _pull_secrets(pod, path, site)
    yield from _nodes(pod, path, site)
    yield from _rank(pod, path)


def judge_references(node: Object, path: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    """What one object, inside of a pod or not, names of secrets, config maps, claims and priority classes."""
    for field in _NAMING.intersection(node):
        if field in _RANKS:
            if node[field] and not site.lets_rank(str(node[field])):
                yield _unlisted(f"{path}.{field}", "priority class", node[field], "PRIORITY_CLASSES")
        elif isinstance(node[field], dict):
            what, keys = _REFERENCES[field]
            yield from _reference(f"{path}.{field}", what, _name(node[field], keys), site, marks)


def _volumes(pod: Object, path: str) -> Iterator[Violation]:
    """Other kinds of volume lead to places that no list of the site names; hostPath is Pod Security's."""
    for place, volume in each(pod, "volumes", path):
        for kind in sorted(volume.keys() - _VOLUMES - {"hostPath"}):
            yield Violation(f"{place}.{kind}", "a volume of a kind that Odin does not mount", "mount a claim")


def _shared(pod: Object, path: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    """The data claim holds the folders of all pipelines: a pod sees its commit, its run folder, or all runs."""
    shared = {
        volume.get("name")
        for _, volume in each(pod, "volumes", path)
        if site.data_claim and inner(volume, "persistentVolumeClaim").get("claimName") == site.data_claim
    }
    if not shared:
        return
    for place, container in containers(pod, path):
        for at, mount in each(container, "volumeMounts", place):
            if mount.get("name") in shared and not _is_own_part(mount, marks.get(PIPELINE, "")):
                yield Violation(
                    at, f"the data claim {site.data_claim} is Odin's own", "use ${RUN_PATH}, or another claim"
                )


def _is_own_part(mount: Object, pipeline: str) -> bool:
    part, run = str(mount.get("subPath", "")), f"runs/{pipeline}"
    if _CHECKOUT.fullmatch(part):
        return mount.get("readOnly") is True
    if part == "runs":
        return mount.get("mountPath") == paths.DATA
    return bool(pipeline) and (part == run or re.fullmatch(rf"{re.escape(run)}/[a-z][-a-z0-9]*", part) is not None)


def _account(pod: Object, path: str, site: Site) -> Iterator[Violation]:
    listed = True
    for field in ("serviceAccountName", "serviceAccount"):
        if field in pod and not site.lets_use(site.service_accounts, str(pod[field])):
            listed = False
            yield _unlisted(f"{path}.{field}", "service account", pod[field], "SERVICE_ACCOUNTS")
    if listed and "serviceAccountName" in pod:
        return
    if pod.get("automountServiceAccountToken") is not False:
        yield Violation(
            f"{path}.automountServiceAccountToken", "the token of an account that is not listed", "set it to false"
        )
    for place, volume in each(pod, "volumes", path):
        for at, source in each(inner(volume, "projected"), "sources", f"{place}.projected"):
            if "serviceAccountToken" in source:
                yield Violation(f"{at}.serviceAccountToken", "the token of an account that is not listed", "remove it")


def _pull_secrets(pod: Object, path: str, site: Site) -> Iterator[Violation]:
    for place, secret in each(pod, "imagePullSecrets", path):
        if secret.get("name") not in site.pull_secrets:
            yield _unlisted(f"{place}.name", "pull secret", secret.get("name"), "PULL_SECRETS")


def _nodes(pod: Object, path: str, site: Site) -> Iterator[Violation]:
    if pod.get("nodeName"):
        yield Violation(f"{path}.nodeName", "this goes past the scheduler", "use a node selector")
    if not str(pod.get("schedulerName", NOBODY)).startswith(NOBODY):
        yield Violation(f"{path}.schedulerName", "a scheduler that Odin does not choose", "remove it")
    for key in inner(pod, "nodeSelector"):
        if not site.lets_reach(site.node_selectors, key):
            yield _unlisted(f"{path}.nodeSelector", "node label", key, "NODE_SELECTORS")
    for place, toleration in each(pod, "tolerations", path):
        key = str(toleration.get("key") or "")
        if not key:
            yield Violation(place, "a toleration without a key tolerates every taint", "name the taint's key")
        elif not site.lets_reach(site.tolerations, key):
            yield _unlisted(f"{place}.key", "taint", key, "TOLERATIONS")


def _rank(pod: Object, path: str) -> Iterator[Violation]:
    if "priority" in pod:
        yield Violation(f"{path}.priority", "Kubernetes works a pod's priority out itself", "use a priority class")


def _name(named: Object, keys: tuple[str, ...]) -> str:
    return next((str(named[key]) for key in keys if named.get(key)), "")


def _reference(path: str, what: str, name: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    listed = {"secret": site.secrets, "config map": site.config_maps, "claim": site.claims}[what]
    pipeline = marks.get(PIPELINE)
    is_own = what != "claim" and pipeline is not None and name.startswith(own_name(pipeline, ""))
    is_shared = what == "claim" and name == site.data_claim  # _shared looks at what of it is mounted
    if not is_own and not is_shared and not site.lets_use(listed, name):
        yield _unlisted(path, what, name, _SETTING[what])


def _unlisted(path: str, what: str, name: Any, setting: str) -> Violation:
    return Violation(
        path, f'the {what} "{name}" is not one that tasks may use', f"list it in ODIN_KUBERNETES_{setting}"
    )
