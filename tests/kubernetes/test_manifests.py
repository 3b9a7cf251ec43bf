"""What deploy/kubernetes says, read without a cluster: schemas, Pod Security, rights, and that its parts agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from manifests import (
    COMPONENTS,
    DEPLOY,
    PLACES,
    RELEASE,
    ROOT,
    Object,
    Right,
    breaches,
    faults,
    find,
    named,
    overlay,
    pods,
    render,
    rights,
)
from odin import __version__
from odin import settings as configuration
from odin.executors.kubernetes.kinds.table import ROWS

DOCUMENT = (ROOT / "docs/kubernetes.md").read_text()


@pytest.fixture
def everything(tmp_path: Path) -> tuple[Object, ...]:
    """The server and each component, in another namespace."""
    return overlay(
        tmp_path, "base", *COMPONENTS, namespace="ml", resources=["../kubernetes/namespace", "../kubernetes/base"]
    )


# ---- one by one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_current_kubernetes_knows_every_field(place):
    assert {named(item): wrong for item in render(place) if (wrong := faults(item))} == {}


def test_a_current_kubernetes_knows_every_field_of_every_component(everything):
    assert {named(item): wrong for item in everything if (wrong := faults(item))} == {}
    assert {"StatefulSet/odin-postgres", "NetworkPolicy/odin-tasks", "ClusterRole/odin-requests"} <= set(
        map(named, everything)
    )


def test_the_schema_tells_a_field_that_is_not_there():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "x", "imagee": "y"}]},
    }
    assert faults(pod) == ["Object contains unknown field `imagee` - at `$.spec.containers[0]`"]
    assert faults({**pod, "spec": {"containers": "none"}}) != []
    assert faults({**pod, "apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy"}) == [
        f"policy/v1beta1 PodSecurityPolicy is not in Kubernetes {RELEASE}"
    ]


def test_a90_every_pod_meets_the_restricted_standard(everything):
    found = {name: list(breaches(pod)) for name, pod in pods(everything)}
    assert found == {"Deployment/odin-server": [], "DaemonSet/odin-midgard": [], "StatefulSet/odin-postgres": []}
    labels = find(everything, "Namespace", "ml")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_writes_in_its_volumes_alone_and_has_its_limits(everything):
    for _, pod in pods(everything):
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
        assert pod["enableServiceLinks"] is False


def test_nothing_comes_with_a_password(everything):
    assert [named(item) for item in everything if item["kind"] == "Secret"] == []
    plain = [
        variable["name"]
        for _, pod in pods(everything)
        for container in pod["containers"]
        for variable in container.get("env", ())
        if "value" in variable and re.search("PASS|SECRET|TOKEN", variable["name"]) and "FILE" not in variable["name"]
    ]
    assert plain == []


# ---- rights ------------------------------------------------------------------------------------------------------


def test_a96_the_server_has_no_wildcard_no_secrets_and_writes_no_nodes(everything):
    roles = [item for item in everything if item["kind"] in ("Role", "ClusterRole")]
    given = {named(role): rights(role["rules"]) for role in roles}
    assert set(given) == {
        "Role/odin-server",
        "Role/odin-resources",
        "ClusterRole/odin-nodes",
        "ClusterRole/odin-requests",
    }
    assert [right for of in given.values() for right in of if "*" in right or right[1] == "secrets"] == []
    assert given["ClusterRole/odin-nodes"] == {("", "nodes", "list")}
    assert given["ClusterRole/odin-requests"] == {("", "pods", "list")}
    workloads = {("apps", kind, "get") for kind in ("deployments", "statefulsets", "daemonsets", "replicasets")}
    assert given["Role/odin-resources"] == workloads
    subjects = [item["subjects"] for item in everything if item["kind"].endswith("RoleBinding")]
    assert subjects == [[{"kind": "ServiceAccount", "name": "odin-server", "namespace": "ml"}]] * 4


def test_a96_the_server_may_make_watch_and_remove_each_kind_and_no_other():
    driven = {("", "pods"), *((api.group, api.plural) for row in ROWS for api in row.apis)}
    needed = {(api.group, api.plural) for row in ROWS for api in row.needs} - driven
    wanted = {(*each, verb) for each in driven for verb in ("create", "get", "list", "watch", "patch", "delete")}
    wanted |= {(*each, verb) for each in needed for verb in ("create", "get", "list", "delete")}
    wanted |= {("", each, verb) for each in ("configmaps", "services") for verb in ("create", "get", "list", "delete")}
    wanted |= {("", "pods/log", "get"), ("", "events", "list"), ("", "events", "watch")}
    wanted |= {("kueue.x-k8s.io", "workloads", "list"), ("kueue.x-k8s.io", "workloads", "watch")}
    assert rights(find(render("base"), "Role", "odin-server")["rules"]) == wanted


def test_a96_the_document_gives_the_reason_of_each_verb(everything):
    told = set(documented())
    assert told == {
        right for item in everything if item["kind"] in ("Role", "ClusterRole") for right in rights(item["rules"])
    }


def documented() -> Iterator[Right]:
    """The rights in the table of docs/kubernetes.md; a row without a reason is none."""
    section = DOCUMENT.split("\n## Rights\n")[1].split("\n## ")[0]
    for resources, verbs, reason in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", section, re.M):
        if "`" not in resources:
            continue
        assert len(reason) > 10
        for resource in re.findall(r"`([^`]+)`", resources):
            plural, _, group = resource.partition(".")
            yield from ((group, plural, verb) for verb in verbs.split(", "))


# ---- the parts agree ---------------------------------------------------------------------------------------------


def server(items: Iterable[Object]) -> tuple[Object, dict[str, str]]:
    """The pod of the server, and the settings it starts with."""
    items = tuple(items)
    pod = find(items, "Deployment", "odin-server")["spec"]["template"]["spec"]
    name = pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    return pod, find(items, "ConfigMap", name)["data"]


@pytest.mark.parametrize("place", PLACES)
def test_odin_takes_the_settings(place):
    pod, settings = server(render(place))
    optional = [variable["name"] for variable in pod["containers"][0]["env"]]
    assert [
        name for name in (*settings, *optional) if name not in map(configuration.variable, configuration.RULES)
    ] == []
    loaded = configuration.load({}, {"HOME": "/var/lib/odin", **settings}, None)
    assert configuration.check(loaded.settings) == []
    assert (loaded.settings.executor, loaded.settings.anonymous_reads) == ("kubernetes", False)
    assert loaded.settings.kubernetes_run_as == pod["securityContext"]["runAsUser"], "tasks write where the server does"


@pytest.mark.parametrize("place", PLACES)
def test_folders_claims_and_names_are_the_same_everywhere(place):
    items = render(place)
    pod, settings = server(items)
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"data": "odin-data", "shared": settings["ODIN_DATA_CLAIM"]}
    assert settings["ODIN_SHARED"] == mounts["shared"], "tasks mount the claim from its root"
    assert settings["ODIN_DATA"].startswith(f"{mounts['data']}/")
    assert [find(items, "PersistentVolumeClaim", name) for name in claims.values()]
    service = find(items, "Service", "odin-server")
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert settings["ODIN_KUBERNETES_URL"] == url
    assert "odin-server" in settings["ODIN_ALLOWED_HOSTS"].split(",")


@pytest.mark.parametrize("place", PLACES)
def test_services_and_budgets_select_the_pods_that_are_meant(place):
    items = render(place)
    labels = find(items, "Deployment", "odin-server")["spec"]["template"]["metadata"]["labels"]
    selectors = [find(items, "Service", "odin-server")["spec"]["selector"]]
    selectors.append(find(items, "PodDisruptionBudget", "odin-server")["spec"]["selector"]["matchLabels"])
    selectors.append(find(items, "Deployment", "odin-server")["spec"]["selector"]["matchLabels"])
    assert selectors == [labels] * 3
    assert "odin/task" not in labels


def test_the_agent_reports_to_the_service_with_the_token_that_the_server_knows():
    items = render(".")
    agent = find(items, "DaemonSet", "odin-midgard")["spec"]["template"]["spec"]
    variables = {each["name"]: each for each in agent["containers"][0]["env"]}
    pod, settings = server(items)
    assert variables["ODIN_URL"]["value"] == settings["ODIN_KUBERNETES_URL"]
    known = next(each for each in pod["containers"][0]["env"] if each["name"] == "ODIN_MIDGARD_TOKEN")["valueFrom"][
        "secretKeyRef"
    ]
    volume, mount = agent["volumes"][0], agent["containers"][0]["volumeMounts"][0]
    assert volume["secret"]["secretName"] == known["name"]
    assert variables["ODIN_MIDGARD_TOKEN_FILE"]["value"] == f"{mount['mountPath']}/{known['key']}"
    assert agent["automountServiceAccountToken"] is False


def test_probes_call_the_server_by_a_name_that_it_knows():
    """Its pod's address is none of ODIN_ALLOWED_HOSTS: the answer would be 421."""
    container = server(render("base"))[0]["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_every_image_of_odin_is_this_version(everything):
    images = {container["image"] for _, pod in pods(everything) for container in pod["containers"]}
    assert images == {f"odin:{__version__}", "postgres:17"}


def test_small_clusters_get_volumes_of_one_node_and_no_agent():
    items = render("overlays/kind")
    modes = [item["spec"]["accessModes"] for item in items if item["kind"] == "PersistentVolumeClaim"]
    assert modes == [["ReadWriteOnce"]] * 2
    assert "DaemonSet" not in {item["kind"] for item in items}
    assert server(items)[1]["ODIN_KUBERNETES_IMAGE"] == f"odin:{__version__}", "the image that the nodes have anyway"


# ---- the document ------------------------------------------------------------------------------------------------


def test_the_overlay_in_the_document_can_be_rendered(tmp_path):
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S) if text.startswith("# my-odin/"))
    written = yaml.safe_load(block)
    assert written.pop("resources") == ["../odin/deploy/kubernetes"]
    items = overlay(tmp_path, ".", **written)
    assert {wrong for item in items for wrong in faults(item)} == set()
    assert "registry.example.org" in str(find(items, "DaemonSet", "odin-midgard"))


def test_the_document_names_each_component():
    assert [name for name in COMPONENTS if f"`components/{name}`" not in DOCUMENT] == []
    assert [path for path in re.findall(r"deploy/kubernetes/[\w/-]*", DOCUMENT) if not (ROOT / path).exists()] == []
    assert DEPLOY.is_dir()
