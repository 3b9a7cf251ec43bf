"""The finished object is judged, of every kind: Pod Security, what the site lists, whose it says it is."""

from copy import deepcopy
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from odin.executors.kubernetes import policy
from odin.executors.kubernetes.delivery import config_maps
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.podspec import idle
from odin.executors.kubernetes.site import Site
from odin.model.errors import ValidationFailed
from odin.model.job import Mount
from podlaunches import FILES, PIPELINE, SHARED, SITE, built, edit, kinds, marks, pod, task

ROWS = [pytest.param(row, id=name) for name, row in kinds()]
SPEC = ("spec",)
FIRST = ("spec", "containers", 0)
CONTEXT = (*FIRST, "securityContext")
POD_CONTEXT = ("spec", "securityContext")
VOLUME = ("spec", "volumes", "+")
LABELS, ANNOTATIONS = ("metadata", "labels"), ("metadata", "annotations")

# What breaks a control of Pod Security, and how it is called. Source: the standards' own table, in its order.
BASELINE = {
    "hostNetwork": (edit(*SPEC, "hostNetwork", to=True), "host namespaces"),
    "hostPID": (edit(*SPEC, "hostPID", to=True), "host namespaces"),
    "hostIPC": (edit(*SPEC, "hostIPC", to=True), "host namespaces"),
    "host process of the pod": (edit(*POD_CONTEXT, "windowsOptions", "hostProcess", to=True), "host processes"),
    "host process of a container": (edit(*CONTEXT, "windowsOptions", "hostProcess", to=True), "host processes"),
    "privileged": (edit(*CONTEXT, "privileged", to=True), "privileged containers"),
    "capability": (edit(*CONTEXT, "capabilities", "add", to=["SYS_ADMIN"]), "capabilities"),
    "hostPath": (edit(*VOLUME, to={"name": "host", "hostPath": {"path": "/"}}), "hostPath volumes"),
    "hostPort": (edit(*FIRST, "ports", to=[{"containerPort": 80, "hostPort": 80}]), "host ports"),
    "host of a readiness probe": (edit(*FIRST, "readinessProbe", "httpGet", "host", to="10.0.0.1"), "hosts of probes"),
    "host of a liveness probe": (edit(*FIRST, "livenessProbe", "tcpSocket", "host", to="10.0.0.1"), "hosts of probes"),
    "host of a startup probe": (edit(*FIRST, "startupProbe", "httpGet", "host", to="10.0.0.1"), "hosts of probes"),
    "host of a hook": (edit(*FIRST, "lifecycle", "preStop", "httpGet", "host", to="10.0.0.1"), "hosts of probes"),
    "AppArmor of the pod": (edit(*POD_CONTEXT, "appArmorProfile", "type", to="Unconfined"), "AppArmor"),
    "AppArmor of a container": (edit(*CONTEXT, "appArmorProfile", "type", to="Unconfined"), "AppArmor"),
    "AppArmor by annotation": (
        edit(*ANNOTATIONS, "container.apparmor.security.beta.kubernetes.io/task", to="unconfined"),
        "AppArmor",
    ),
    "SELinux type": (edit(*POD_CONTEXT, "seLinuxOptions", "type", to="spc_t"), "SELinux"),
    "SELinux user": (edit(*CONTEXT, "seLinuxOptions", "user", to="root"), "SELinux"),
    "SELinux role": (edit(*CONTEXT, "seLinuxOptions", "role", to="sysadm_r"), "SELinux"),
    "procMount": (edit(*CONTEXT, "procMount", to="Unmasked"), "/proc mount type"),
    "seccomp of the pod": (edit(*POD_CONTEXT, "seccompProfile", "type", to="Unconfined"), "seccomp"),
    "seccomp of a container": (edit(*CONTEXT, "seccompProfile", "type", to="Unconfined"), "seccomp"),
    "seccomp by annotation": (
        edit(*ANNOTATIONS, "seccomp.security.alpha.kubernetes.io/pod", to="unconfined"),
        "seccomp",
    ),
    "sysctl": (edit(*POD_CONTEXT, "sysctls", to=[{"name": "kernel.msgmax", "value": "1"}]), "sysctls"),
    "an init container": (
        edit("spec", "initContainers", to=[{"name": "i", "image": "i", "securityContext": {"privileged": True}}]),
        "privileged containers",
    ),
    "a sidecar": (
        edit("spec", "containers", "+", to={"name": "s", "image": "i", "securityContext": {"privileged": True}}),
        "privileged containers",
    ),
}
RESTRICTED = {
    "volume of a network": (edit(*VOLUME, to={"name": "n", "nfs": {"server": "s", "path": "/"}}), "volume types"),
    "escalation allowed": (edit(*CONTEXT, "allowPrivilegeEscalation", to=True), "privilege escalation"),
    "escalation not said": (lambda made: made["spec"]["containers"][0]["securityContext"].clear(), "privilege escal"),
    "not non-root": (edit(*POD_CONTEXT, "runAsNonRoot", to=False), "running as non-root"),
    "non-root not said": (lambda made: made["spec"]["securityContext"].pop("runAsNonRoot"), "running as non-root"),
    "a container not non-root": (edit(*CONTEXT, "runAsNonRoot", to=False), "running as non-root"),
    "user 0": (edit(*POD_CONTEXT, "runAsUser", to=0), "running as user 0"),
    "user 0 of a container": (edit(*CONTEXT, "runAsUser", to=0), "running as user 0"),
    "seccomp not said": (lambda made: made["spec"]["securityContext"].pop("seccompProfile"), "seccomp profile"),
    "nothing dropped": (edit(*CONTEXT, "capabilities", "drop", to=[]), "capabilities not dropped"),
    "added": (edit(*CONTEXT, "capabilities", "add", to=["CHOWN"]), "capabilities added"),
}
CONTROLS = [pytest.param(*rule, id=name) for name, rule in (BASELINE | RESTRICTED).items()]

UNKNOWN = {
    "of a pod": edit(*SPEC, "shareProcessNamespace", to=True),
    "of a pod, in another case": edit(*SPEC, "hostnetwork", to=True),
    "users": edit(*SPEC, "hostUsers", to=True),
    "affinity": edit(*SPEC, "affinity", to={}),
    "runtime class": edit(*SPEC, "runtimeClassName", to="kata"),
    "ephemeral containers": edit("spec", "ephemeralContainers", to=[{"name": "e", "image": "i"}]),
    "aliases": edit(*SPEC, "hostAliases", to=[{"ip": "1.1.1.1", "hostnames": ["a"]}]),
    "resource claims": edit(*SPEC, "resourceClaims", to=[{"name": "a"}]),
    "of a container": edit(*FIRST, "stdin", to=True),
    "devices": edit(*FIRST, "volumeDevices", to=[{"name": "a", "devicePath": "/dev/sda"}]),
    "of a mount": edit(*FIRST, "volumeMounts", 0, "mountPropagation", to="Bidirectional"),
    "a path with variables": edit(*FIRST, "volumeMounts", 0, "subPathExpr", to="$(A)"),
    "of a volume": edit(*VOLUME, to={"name": "a", "somethingNew": {}}),
    "of an environment": edit(*FIRST, "env", 0, "valueFrom", to={"fileKeyRef": {"path": "/"}}),
    "no list": edit(*SPEC, "tolerations", to={"key": "a"}),
    "no mapping": edit(*SPEC, "securityContext", to="none"),
    "no text": edit(*SPEC, "serviceAccountName", to={"a": 1}),
}


def judged(objects, site=SITE):
    return [str(violation) for made in objects for violation in policy.judge(made, site, marks())]


def after(change, row=POD, site=SITE, spec=None):
    """What is said of an attempt of that kind whose pod template was changed."""
    made = pod(spec, site)
    change(made)
    return judged(built(row, made, spec), site)


def missed(holds):
    """The kinds of which that does not hold."""
    return [name for name, row in kinds() if not holds(row)]


# ---- A-90


@pytest.mark.parametrize("row", ROWS)
def test_what_odin_makes_itself_is_let_through(row):
    full = task(
        num_gpus=1,
        num_workers=2,
        cpu_m=1000,
        mounts=(Mount("data", "/data", "data"), Mount("scratch", "/scratch")),
        resource_type=row.name,
        cluster={
            "secrets": [{"name": "keys", "path": "/keys"}],
            "config_maps": [{"name": "settings", "path": "/settings"}],
            "service_account": "reader",
            "node_selector": {"pool": "gpu", "nvidia.com/gpu.product": "H100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "labels": {"team": "nlp"},
            "annotations": {"note": "a"},
            "security_context": {"run_as_user": 1000, "fs_group": 1000},
            "queue": "gpus",
        },
    )
    for base in (SITE, SHARED):
        site = replace(
            base,
            claims=("data",),
            secrets=("keys",),
            config_maps=("settings",),
            service_accounts=("reader",),
            pull_secrets=("registry",),
        )
        assert judged(built(row, pod(full, site), full), site) == []
        assert judged(built(row, pod(site=site)), site) == []


@pytest.mark.parametrize(("change", "rule"), CONTROLS)
def test_a90_each_control_of_pod_security_holds_for_each_kind(change, rule):
    assert missed(lambda row: any(f"forbids this: {rule}" in said for said in after(change, row))) == []


def test_a90_there_is_a_violating_manifest_for_thirty_controls_and_more():
    assert len(BASELINE) + len(RESTRICTED) >= 30
    told = {rule for _, rule in (BASELINE | RESTRICTED).values()}
    known = {*policy.podsecurity.BASELINE, *policy.podsecurity.RESTRICTED}
    assert [name for name in known if not any(name.startswith(rule) for rule in told)] == []


@pytest.mark.parametrize(("change", "rule"), [pytest.param(*rule, id=name) for name, rule in BASELINE.items()])
def test_a90_baseline_holds_where_restricted_is_off(change, rule):
    said = after(change, site=replace(SITE, pod_security="baseline"))
    assert any(f"Pod Security baseline forbids this: {rule}" in sentence for sentence in said), said


def test_a90_a_baseline_site_lets_a_task_be_root():
    site = replace(SITE, pod_security="baseline", run_as_user=None, run_as_group=None)
    spec = task(cluster={"security_context": {"run_as_user": 0}})
    assert judged(built(POD, pod(spec, site), spec), site) == []
    (said,) = judged(built(POD, pod(spec), spec))
    assert said == (
        "spec.securityContext.runAsUser: Pod Security restricted forbids this: running as user 0; "
        "run as another user than 0"
    )


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in UNKNOWN.items()])
def test_a90_a_field_that_odin_does_not_send_is_refused(change):
    assert missed(lambda row: after(change, row)) == []


@pytest.mark.parametrize(
    "kind",
    [*("nfs", "iscsi", "csi", "ephemeral", "image", "gitRepo", "flexVolume", "rbd", "cephfs", "azureFile")],
)
@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a90_volumes_that_no_list_names_are_refused_at_each_level(kind, level):
    site = replace(SITE, pod_security=level)
    said = after(edit(*VOLUME, to={"name": "a", kind: {"x": "y"}}), site=site)
    assert any("a volume of a kind that Odin does not mount" in sentence for sentence in said)


# ---- A-91


@pytest.mark.parametrize("name", ["admin", "default", "odin", "odin-server"])
def test_a91_an_account_that_is_not_listed_is_refused(name):
    spec = task(cluster={"service_account": name})
    refused = f'the service account "{name}" is not one that tasks may use'
    for listed in ((), ("reader",), ("*",)):
        if listed == ("*",) and not name.startswith("odin"):
            continue
        site = replace(SITE, service_accounts=listed)
        assert missed(lambda row: any(refused in said for said in judged(built(row, pod(spec), spec), site))) == []  # noqa: B023 - at once


@pytest.mark.parametrize(
    "change",
    [
        edit(*SPEC, "automountServiceAccountToken", to=True),
        lambda made: made["spec"].pop("automountServiceAccountToken"),
        edit(*VOLUME, to={"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
        edit(*SPEC, "serviceAccount", to="admin"),
    ],
    ids=["mounted", "not said", "projected", "old field"],
)
def test_a91_no_token_without_a_listed_account(change):
    assert missed(lambda row: any("account" in said for said in after(change, row))) == []


@pytest.mark.parametrize("row", ROWS)
def test_a91_no_other_namespace(row):
    objects = built(row, pod())
    edit("metadata", "namespace", to="kube-system")(objects[-1])
    (said,) = judged(objects)
    assert said == "metadata.namespace: another namespace than Odin's; leave it out, or say odin"
    edit("metadata", "namespace", to="odin")(objects[-1])
    assert judged(objects) == []


@pytest.mark.parametrize("row", ROWS)
def test_a91_no_other_namespace_of_a_template(row):
    assert any("another namespace" in said for said in after(edit("metadata", "namespace", to="x"), row)) or (
        row.build(_order(row))[-1]["kind"] == "Pod"  # whose metadata is the top object's alone
    )


def _order(row):
    from podlaunches import Order, launch

    return Order(launch(), {"name": "a", "labels": marks()}, pod(), row.apis[0])


def test_a91_a_secret_that_would_get_an_accounts_token_is_refused():
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "odin-x", "labels": marks()}}
    assert judged([secret]) == []
    assert judged([secret | {"type": "kubernetes.io/service-account-token"}]) != []


# ---- A-92


def top(*steps, to):
    objects = built(POD, pod())
    edit(*steps, to=to)(objects[-1])
    return judged(objects)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit(*LABELS, "odin/attempt", to="9"), 'claims to be "9"'),
        (edit(*LABELS, "odin/store", to="other"), 'claims to be "other"'),
        (edit(*LABELS, "odin/kept", to="true"), "steer other controllers"),
        (edit(*LABELS, "controller-uid", to="a"), "steer other controllers"),
        (edit(*LABELS, "app", to="web"), "steer other controllers"),
        (edit(*LABELS, "batch.kubernetes.io/job-name", to="a"), "steer other controllers"),
        (edit(*ANNOTATIONS, "sidecar.istio.io/inject", to="false"), "steer other controllers"),
        (edit(*ANNOTATIONS, "odin/anything", to="a"), "steer other controllers"),
        (lambda made: made["metadata"]["labels"].pop("odin/task"), "the label odin/task is missing"),
    ],
)
def test_a92_no_pod_claims_another_identity(change, why):
    def holds(row):
        merged = {made["kind"] for made in built(row, pod())} <= {"Pod", "Service"}
        return any(why in said for said in after(change, row)) or (merged and ("claims" in why or "missing" in why))

    assert missed(holds) == []


@pytest.mark.parametrize(
    ("steps", "to"),
    [
        (("metadata", "labels", "odin/attempt"), "2"),
        (("metadata", "labels", "odin/task"), "another--task"),
        (("metadata", "annotations", "cluster-autoscaler.kubernetes.io/safe-to-evict"), "false"),
        (("metadata", "finalizers"), ["foregroundDeletion"]),
        (("metadata", "ownerReferences"), [{"kind": "Node", "name": "n1", "uid": "u"}]),
        (("metadata", "generateName"), "a-"),
        (("metadata", "uid"), "u"),
    ],
)
def test_a92_no_object_claims_another_identity_or_owner(steps, to):
    assert top(*steps, to=to) != []


def test_a92_a_template_has_no_finalizer():
    from odin.executors.kubernetes.kinds.job import JOB

    assert any("finalizers" in said for said in after(edit("metadata", "finalizers", to=["odin/attempt"]), JOB))


# ---- A-93


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (edit(*VOLUME, to={"name": "a", "secret": {"secretName": "odin-server"}}), 'the secret "odin-server"'),
        (edit(*VOLUME, to={"name": "a", "secret": {"secretName": "theirs"}}), 'the secret "theirs"'),
        (edit(*VOLUME, to={"name": "a", "configMap": {"name": "theirs"}}), 'the config map "theirs"'),
        (edit(*VOLUME, to={"name": "a", "persistentVolumeClaim": {"claimName": "theirs"}}), 'the claim "theirs"'),
        (
            edit(*VOLUME, to={"name": "a", "projected": {"sources": [{"secret": {"name": "theirs"}}]}}),
            'the secret "theirs"',
        ),
        (
            edit(*FIRST, "env", 0, "valueFrom", to={"secretKeyRef": {"name": "theirs", "key": "k"}}),
            'the secret "theirs"',
        ),
        (
            edit(*FIRST, "env", 0, "valueFrom", to={"configMapKeyRef": {"name": "theirs", "key": "k"}}),
            'the config map "theirs"',
        ),
        (edit(*FIRST, "envFrom", to=[{"secretRef": {"name": "theirs"}}]), 'the secret "theirs"'),
        (edit(*FIRST, "envFrom", to=[{"configMapRef": {"name": "theirs"}}]), 'the config map "theirs"'),
        (edit(*SPEC, "imagePullSecrets", to=[{"name": "theirs"}]), 'the pull secret "theirs"'),
        (edit(*VOLUME, to={"name": "a", "secret": {}}), 'the secret ""'),
    ],
)
def test_a93_nothing_is_mounted_that_is_not_listed(change, what):
    refused = f"{what} is not one that tasks may use; list it in ODIN_KUBERNETES_"
    assert missed(lambda row: any(refused in said for said in after(change, row))) == []


def test_a93_the_servers_own_is_not_meant_by_a_star():
    site = replace(SITE, secrets=("*",), claims=("*",), config_maps=("team-*",))
    for name in ("odin-server", "odin", "odin-other-0000000b--tokens"):
        change = edit(*VOLUME, to={"name": "a", "secret": {"secretName": name}})
        assert any(f'the secret "{name}"' in said for said in after(change, site=site))
    assert after(edit(*VOLUME, to={"name": "a", "secret": {"secretName": "keys"}}), site=site) == []
    assert after(edit(*VOLUME, to={"name": "a", "configMap": {"name": "team-a"}}), site=site) == []
    assert after(edit(*VOLUME, to={"name": "a", "configMap": {"name": "teams"}}), site=site) != []


def test_a93_an_attempts_own_token_is_its_own():
    def token(name):
        return edit(*FIRST, "env", "+", to={"name": "T", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}})

    assert after(token(f"odin-{PIPELINE}--tokens")) == []
    assert after(token(f"odin-{PIPELINE}-00000009--tokens")) != []
    assert after(token("odin-other-0000000b--tokens")) != []


@pytest.mark.parametrize(
    "mount",
    [
        {"mountPath": "/all"},
        {"mountPath": "/all", "subPath": "runs"},
        {"mountPath": "/all", "subPath": "runs/other-0000000b"},
        {"mountPath": "/all", "subPath": f"runs/{PIPELINE}/../other"},
        {"mountPath": "/all", "subPath": f"checkouts/{'b' * 40}"},
        {"mountPath": "/all", "subPath": "checkouts", "readOnly": True},
        {"mountPath": "/odin/data", "subPath": ""},
    ],
)
def test_a93_of_the_data_claim_a_task_sees_its_own_parts_alone(mount):
    change, refused = edit(*FIRST, "volumeMounts", "+", to={"name": "odin-shared", **mount}), "is Odin's own"
    assert missed(lambda row: any(f"odin-shared {refused}" in said for said in after(change, row, SHARED))) == []


def test_a93_a_task_cannot_mount_the_data_claim_under_another_name():
    spec = task(mounts=(Mount("mine", "/all", "odin-shared"),))
    for site in (SHARED, replace(SHARED, claims=("*", "odin-shared"))):
        assert any("the data claim" in said for said in judged(built(POD, pod(spec, site), spec), site))


# ---- A-94


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"key": "", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists"},
        {"key": "dedicated", "value": "infra"},
    ],
)
def test_a94_taints_that_are_not_listed_are_not_tolerated(toleration):
    assert missed(lambda row: after(edit(*SPEC, "tolerations", to=[toleration]), row)) == []


@pytest.mark.parametrize(
    ("listed", "key", "may"),
    [
        (("dedicated",), "dedicated", True),
        (("*",), "dedicated", True),
        (("*",), "example.com/dedicated", False),
        (("example.com/*",), "example.com/dedicated", True),
        (("*", "*/*"), "node-role.kubernetes.io/master", False),
        (("node-role.kubernetes.io/master",), "node-role.kubernetes.io/master", True),
        (("*", "*/*"), "", False),
        (("[a-z]*",), "dedicated", False),
    ],
)
def test_a94_what_may_be_tolerated_is_a_list_of_patterns(listed, key, may):
    said = after(edit(*SPEC, "tolerations", to=[{"key": key}]), site=replace(SITE, tolerations=listed))
    assert (said == []) is may


@pytest.mark.parametrize(
    "change",
    [
        edit(*SPEC, "nodeSelector", to={"node-role.kubernetes.io/control-plane": ""}),
        edit(*SPEC, "nodeName", to="master-1"),
        edit(*SPEC, "schedulerName", to="theirs"),
        edit(*SPEC, "priorityClassName", to="high"),
        edit(*SPEC, "priorityClassName", to="system-node-critical"),
        edit(*SPEC, "priority", to=2000000000),
    ],
)
def test_a94_no_control_plane_no_foreign_scheduler_no_rank(change):
    assert missed(lambda row: after(change, row)) == []


@pytest.mark.parametrize(
    ("listed", "name", "may"),
    [
        ((), "high", False),
        (("high",), "high", True),
        (("*",), "high", True),
        (("*",), "system-cluster-critical", False),
        (("low",), "high", False),
    ],
)
def test_a94_priority_classes_are_listed(listed, name, may):
    said = after(edit(*SPEC, "priorityClassName", to=name), site=replace(SITE, priority_classes=listed))
    assert (said == []) is may


def test_a94_a_priority_class_of_kueues_is_a_label_like_others():
    key = "kueue.x-k8s.io/priority-class"
    objects = built(POD, pod())
    edit(*LABELS, key, to="high")(objects[-1])
    assert any("ODIN_KUBERNETES_LABELS" in said for said in judged(objects))
    assert judged(objects, replace(SITE, labels=(key,))) == []


# ---- A-95


def test_a95_the_order_of_fields_changes_nothing():
    made = pod()
    edit(*CONTEXT, "privileged", to=True)(made)
    edit(*SPEC, "hostNetwork", to=True)(made)
    (whole,) = built(POD, made)
    said = {frozenset(judged([dict(order)])) for order in permutations(whole.items())}
    assert len(said) == 1
    assert len(next(iter(said))) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("podSpecPatch", "{}"),
        ("hostNetwork", True),
        ("volumes", [{"name": "a", "hostPath": {"path": "/"}}]),
        ("securityContext", {"privileged": True}),
        ("serviceAccountName", "admin"),
        ("podTemplateOverrides", [{"spec": {"nodeSelector": {}}}]),
        ("runtimePatches", []),
        ("clusterSelector", {"ray.io/cluster": "theirs"}),
        ("hostnetwork", True),
    ],
)
def test_a95_a_pods_field_beside_its_template_is_refused(field, value):
    def holds(row):
        objects = built(row, pod())
        (objects[-1] if objects[-1]["kind"] == "Pod" else objects[-1]["spec"])[field] = value
        return any("a pod's field outside a pod" in said for said in judged(objects))

    assert missed(holds) == []


@pytest.mark.parametrize(
    ("kind", "api_version"),
    [
        ("DaemonSet", "apps/v1"),
        ("CronJob", "batch/v1"),
        ("RoleBinding", "rbac.authorization.k8s.io/v1"),
        ("Pod", "example.com/v1"),
        ("ClusterTrainingRuntime", "trainer.kubeflow.org/v1alpha1"),
        (None, None),
    ],
)
def test_a95_nothing_is_sent_that_odin_does_not_create(kind, api_version):
    made = {"apiVersion": api_version, "kind": kind, "metadata": {"labels": marks()}, "spec": pod()["spec"]}
    assert any("nothing that Odin creates" in said for said in judged([made]))


def test_a95_an_object_without_a_pod_to_be_judged_is_refused():
    made = built(POD, pod())[0]
    del made["spec"]["containers"]
    assert any("no pod was found" in said for said in judged([made]))


def test_a95_every_pod_of_an_object_is_judged_however_deep():
    made = pod()["spec"]
    bad = deepcopy(made) | {"hostPID": True}
    tree = {"a": [{"b": {"template": {"metadata": {"labels": marks()}, "spec": made}}}], "c": {"d": {"spec": bad}}}
    whole = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"labels": marks()}, "spec": tree}
    assert any(said.startswith("spec.c.d.spec.hostPID:") for said in judged([whole]))


def test_a95_services_are_names_for_the_attempts_pods_and_nothing_more():
    spec = {"clusterIP": "None", "selector": marks()}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": marks()}, "spec": spec}
    assert judged([service]) == []
    for field, value in (
        ("clusterIP", "10.0.0.1"),
        ("type", "LoadBalancer"),
        ("externalIPs", ["10.0.0.1"]),
        ("externalName", "example.com"),
        ("selector", {"app": "theirs"}),
    ):
        assert judged([service | {"spec": {**spec, field: value}}]) != []


def test_a95_delivered_files_and_what_fills_a_name_pass_the_same_judge():
    of = {key: value for key, value in marks().items() if key in ("odin/store", "odin/pipeline")}
    objects, _ = config_maps(PIPELINE, {**FILES, "nlp/sst2/containers": (b"hostPath: /", False)}, of)
    assert [violation for made in objects for violation in policy.judge(made, SITE, of)] == []
    void = {**marks(), "odin/void": "true"}
    made = {"apiVersion": "v1", "kind": "Pod", **idle(void)}
    assert policy.judge(made, SITE, void) == []


def test_a95_one_module_sends_objects():
    """And the executor's modules hand it what was judged: no other asks the client library."""
    room = Path(policy.__file__).parent
    senders = [path.name for path in sorted(room.rglob("*.py")) if '"POST"' in path.read_text()]
    assert senders == ["cluster.py"]
    importers = [path.name for path in sorted(room.rglob("*.py")) if "import lightkube" in path.read_text()]
    assert set(importers) <= {"cluster.py"}


def test_a_refusal_names_field_and_rule_for_each_place():
    made = pod()
    edit(*SPEC, "hostNetwork", to=True)(made)
    edit(*CONTEXT, "privileged", to=True)(made)
    with pytest.raises(ValidationFailed) as caught:
        policy.refuse(policy.judge(built(POD, made)[0], SITE, marks()), "train")
    assert [problem.path for problem in caught.value.problems] == [
        "spec.hostNetwork",
        "spec.containers[0].securityContext.privileged",
    ]
    assert all(problem.message.startswith('task "train": Pod Security') for problem in caught.value.problems)
    policy.refuse([], "train")


def test_a_site_says_what_is_listed():
    site = Site("s", "odin", claims=("*",), labels=("a?c",))
    assert site.lets_use(site.claims, "data")
    assert not site.lets_use(site.claims, "odin-data")
    assert not site.lets_label(site.labels, "abc")
