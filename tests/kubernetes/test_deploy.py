"""deploy/kubernetes against a real API server: what it takes, and what the server's account may do there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from kubernetes_accounts import ACCOUNT, install, kubeconfig
from manifests import COMPONENTS, PLACES, RELEASE, Object, find, named, overlay, pods, render, rights

ADMITTING = (1, 25)  # the first release that enforces Pod Security
Asked = tuple[str, str, str]  # verb, resource.group or resource/subresource, namespace ("" for none)
OWN = "own"

ALLOWED: tuple[Asked, ...] = (
    *((verb, "pods", OWN) for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *((verb, "jobs.batch", OWN) for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *((verb, "pytorchjobs.kubeflow.org", OWN) for verb in ("create", "watch", "delete")),
    *(("create", kind, OWN) for kind in ("tfjobs.kubeflow.org", "mpijobs.kubeflow.org", "rayjobs.ray.io")),
    *(("create", kind, OWN) for kind in ("trainjobs.trainer.kubeflow.org", "jobsets.jobset.x-k8s.io")),
    ("get", "pods/log", OWN),
    ("list", "events", OWN),
    ("create", "configmaps", OWN),
    ("delete", "services", OWN),
    ("watch", "workloads.kueue.x-k8s.io", OWN),
    ("list", "nodes", ""),
)
REFUSED: tuple[Asked, ...] = (
    *((verb, "secrets", OWN) for verb in ("get", "list", "watch", "create", "update", "patch", "delete")),
    *((verb, "nodes", "") for verb in ("create", "update", "patch", "delete")),
    *(("create", f"pods/{part}", OWN) for part in ("exec", "attach", "portforward", "eviction", "binding")),
    *((verb, "pods", "kube-system") for verb in ("create", "get", "list", "delete")),
    *((verb, "pods", "") for verb in ("list", "watch")),
    ("patch", "pods/status", OWN),
    ("deletecollection", "pods", OWN),
    ("create", "serviceaccounts/token", OWN),
    ("get", "pods/log", "kube-system"),
    ("update", "configmaps", OWN),
    ("watch", "configmaps", OWN),
    ("create", "events", OWN),
    ("patch", "workloads.kueue.x-k8s.io", OWN),
    *(
        (verb, f"{kind}.rbac.authorization.k8s.io", OWN)
        for kind in ("roles", "rolebindings")
        for verb in ("create", "bind")
    ),
    ("create", "deployments.apps", OWN),
    ("get", "persistentvolumeclaims", OWN),
    ("list", "namespaces", ""),
    ("impersonate", "users", ""),
    ("*", "*.*", OWN),
)


@pytest.fixture(scope="module")
def namespace(cluster) -> Iterator[str]:
    """One that is there, with the server's account as an operator gets it."""
    name = f"odin-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    try:
        install(cluster.kubectl, name)
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def nodes(cluster, namespace, tmp_path_factory) -> Iterator[None]:
    """components/nodes, under a name of this test's own."""
    items = overlay(tmp_path_factory.mktemp("nodes"), "base", "nodes", namespace=namespace, nameSuffix=f"-{namespace}")
    wanted = [item for item in items if item["kind"].startswith("Cluster")]
    for item in wanted:
        if "subjects" in item:
            item["subjects"][0]["name"] = ACCOUNT
    send(cluster, tmp_path_factory.mktemp("sent"), wanted, "apply")
    try:
        yield
    finally:
        for item in wanted:
            cluster.kubectl("delete", item["kind"], item["metadata"]["name"])


def send(cluster, folder: Path, items: Iterable[Object], *words: str) -> str:
    path = folder / f"{uuid4().hex}.yaml"
    path.write_text(yaml.safe_dump_all(items))
    return cluster.kubectl(*words, "-f", str(path))


def served(cluster) -> set[str]:
    return set(cluster.kubectl("api-versions").split())


def version(cluster) -> tuple[int, int]:
    told = json.loads(cluster.kubectl("get", "--raw", "/version"))
    return int(told["major"]), int("".join(filter(str.isdecimal, told["minor"])))


def whole(place: str, folder: Path, namespace: str) -> tuple[Object, ...]:
    """A folder of deploy/kubernetes for another namespace, the base with every component."""
    return overlay(folder, place, *(COMPONENTS if place == "base" else ()), namespace=namespace)


# ---- what the API server takes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_the_api_server_takes_everything(cluster, namespace, tmp_path, place):
    known = served(cluster)
    items = [item for item in whole(place, tmp_path, namespace) if item["apiVersion"] in known]
    said = send(cluster, tmp_path, items, "apply", "--dry-run=server").splitlines()
    assert len(said) == len(items)
    assert [line for line in said if not line.endswith("(server dry run)")] == []


@pytest.mark.parametrize("place", PLACES)
def test_what_this_api_server_does_not_know(cluster, place):
    """Its fields are held against the published schema in test_manifests.py."""
    known = served(cluster)
    newer = [f"{named(item)} ({item['apiVersion']})" for item in render(place) if item["apiVersion"] not in known]
    if newer:
        pytest.skip(f"not run here: server-side dry run of {', '.join(newer)}, this API server is too old; "
                    f"held against the schema of Kubernetes {RELEASE}")  # fmt: skip


def test_the_api_server_takes_the_pods(cluster, namespace, tmp_path):
    """A Deployment is taken whatever its pods are. Where Pod Security is enforced, restricted judges them here."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    made = []
    for name, spec in pods(whole("base", tmp_path, namespace)):
        spec = {key: value for key, value in spec.items() if key not in ("runtimeClassName", "serviceAccountName")}
        name = name.partition("/")[2]
        spec["volumes"] = (
            [*spec["volumes"], {"name": "data", "emptyDir": {}}] if name == "odin-postgres" else spec["volumes"]
        )
        made.append(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        )
    assert send(cluster, tmp_path, made, "create", "--dry-run=server").count("created (server dry run)") == 3


def test_pod_security_refuses_what_is_not_restricted(cluster, namespace, tmp_path):
    if version(cluster) < ADMITTING:
        pytest.skip("not run here: Pod Security admission, this API server is too old; "
                    "the manifests are held against the standard in test_manifests.py")  # fmt: skip
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root", "namespace": namespace}}
    pod["spec"] = {"containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        send(cluster, tmp_path, [pod], "create", "--dry-run=server")


# ---- what the server's account may do ---------------------------------------------------------------------------


def may(cluster, namespace: str, folder: Path, asked: Iterable[Asked]) -> dict[Asked, bool]:
    """What the API server's authorizer says of each."""
    asked = tuple(asked)
    user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes(each, namespace)},
        }
        for each in asked
    ]
    answers = _documents(send(cluster, folder, reviews, "create", "-o", "json"))
    return {each: bool(answer["status"].get("allowed")) for each, answer in zip(asked, answers, strict=True)}


def attributes(asked: Asked, namespace: str) -> dict[str, str]:
    verb, what, where = asked
    what, _, part = what.partition("/")
    resource, _, group = what.partition(".")
    return {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": part,
        "namespace": namespace if where == OWN else where,
    }


def _documents(text: str) -> list[Any]:
    """One after the other, or a List: kubectls differ."""
    found, decoder, rest = [], json.JSONDecoder(), text.lstrip()
    while rest:
        one, end = decoder.raw_decode(rest)
        found += one["items"] if one["kind"] == "List" else [one]
        rest = rest[end:].lstrip()
    return found


def test_a96_the_servers_account_may_what_it_needs_and_nothing_else(cluster, namespace, nodes, tmp_path):
    told = may(cluster, namespace, tmp_path, (*ALLOWED, *REFUSED))
    assert [asked for asked in ALLOWED if not told[asked]] == []
    assert [asked for asked in REFUSED if told[asked]] == []


def test_a96_the_servers_account_has_the_rights_of_its_roles_and_no_others(cluster, namespace, nodes, tmp_path):
    """As the authorizer adds them up, over all roles that a cluster gives to everybody."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    own = kubeconfig(cluster.kubectl, namespace, tmp_path)
    path = tmp_path / "review.yaml"
    path.write_text(yaml.safe_dump(review))
    rules = json.loads(cluster.kubectl("--kubeconfig", str(own), "create", "-o", "json", "-f", str(path)))["status"]
    found = rights(rules["resourceRules"])
    everybodys = {right for right in found if right[0] in ("authorization.k8s.io", "authentication.k8s.io")}
    assert found - everybodys == rights(find(render("base"), "Role", ACCOUNT)["rules"]) | {("", "nodes", "list")}


def test_a96_the_servers_account_lists_pods_and_no_secrets(cluster, namespace, tmp_path):
    own = str(kubeconfig(cluster.kubectl, namespace, tmp_path))
    assert json.loads(cluster.kubectl("--kubeconfig", own, "get", "pods", "-o", "json"))["items"] == []
    with pytest.raises(AssertionError, match=f'{namespace}:{ACCOUNT}" cannot list resource "secrets"'):
        cluster.kubectl("--kubeconfig", own, "get", "secrets")
    with pytest.raises(AssertionError, match='cannot list resource "pods"'):
        cluster.kubectl("--kubeconfig", own, "-n", "kube-system", "get", "pods")
