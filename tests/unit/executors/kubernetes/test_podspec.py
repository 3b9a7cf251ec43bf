"""The pod template of an attempt: every field of a job file that a pod knows."""

import re

import pytest

from odin.executors.kubernetes.podspec import TokenKey, idle, refusals, template, unheeded
from odin.executors.kubernetes.site import Site
from odin.model.errors import ValidationFailed
from odin.model.job import Mount
from podlaunches import PIPELINE, SHARED, SITE, VERSION, launch, marks, pod, task


def container(spec=None, site=SITE, **given):
    return pod(spec, site, **given)["spec"]["containers"][0]


def env(spec=None, site=SITE, **given):
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(spec, site, **given)["env"]
    }


def seen_by_process(text):
    """What Kubernetes makes of a text. Source: its third_party/forked/golang/expansion."""
    return re.sub(r"\$\$|\$\(([^)]*)\)", lambda found: "$" if found[0] == "$$" else f"<{found[1]}>", text)


def mounts(spec=None, site=SITE):
    """Path to the volume's source, the part of it, and whether it is read-only."""
    made = pod(spec, site)["spec"]
    sources = {volume["name"]: {key: volume[key] for key in volume if key != "name"} for volume in made["volumes"]}
    return {
        mount["mountPath"]: (sources[mount["name"]], mount.get("subPath"), mount.get("readOnly", False))
        for mount in made["containers"][0]["volumeMounts"]
    }


# ---- the container


def test_the_first_container_is_called_task_and_starts_in_its_folder():
    made = container()
    assert made["name"] == "task"
    assert made["image"] == "example/trainer:1"
    assert made["command"] == ["python3"]
    assert made["args"] == ["/odin/root/nlp/sst2/train.py"]
    assert made["workingDir"] == "/odin/run/train"


def test_a_task_without_an_image_takes_that_of_the_site():
    assert container(task(image=None), Site("s", "odin", image="python:3"))["image"] == "python:3"


def test_a_task_without_any_image_is_refused_naming_field_and_setting():
    with pytest.raises(ValidationFailed, match=r'task "train" has no image.*ODIN_KUBERNETES_IMAGE'):
        template(launch(task(image=None)), SITE, marks())
    assert refusals(task(image=None), SITE) == [
        'task "train" has no image, and a cluster runs nothing else; give it an image, or set ODIN_KUBERNETES_IMAGE'
    ]


@pytest.mark.parametrize("text", ["$HOME", "a$$b", "$(date)", "${HOME}", "$$(X)", "100$", "$(", "$ (A)", "$$$(A)"])
def test_dollars_reach_the_process_as_on_one_machine(text):
    spec = task(args=(text,), env={"TEXT": text})
    here = launch(spec)
    made = container(spec)
    assert [seen_by_process(item) for item in made["args"]] == list(here.argv[1:])
    assert seen_by_process(env(spec)["TEXT"]) == here.env["TEXT"]


def test_the_environment_has_the_variables_the_files_and_the_servers_address():
    given = env(task(env={"LR": "0.1"}))
    assert given["LR"] == "0.1"
    assert given["ODIN_TASK_PATH"] == "/odin/run/train"
    assert given["ODIN_WORK_PATH"] == "/odin/root/nlp/sst2"
    assert given["ODIN_ATTEMPT"] == "1"
    assert given["ODIN_OUTPUTS"] == "/odin/outputs"
    assert given["ODIN_URL"] == "http://odin:9003"
    assert "ODIN_TOKEN" not in given


def test_a_token_comes_from_its_secret_and_is_nowhere_in_the_pod():
    given = env(token=TokenKey("odin-sst2-0000000a--tokens", "train"))
    assert given["ODIN_TOKEN"] == {"secretKeyRef": {"name": "odin-sst2-0000000a--tokens", "key": "train"}}


def test_outputs_come_back_through_the_termination_message():
    made = container()
    assert made["terminationMessagePath"] == env()["ODIN_OUTPUTS"]
    assert made["terminationMessagePolicy"] == "File"


def test_no_gpu_asked_is_no_gpu_named():
    assert container()["resources"] == {}
    assert container(task(cpu_m=500))["resources"] == {"requests": {"cpu": "500m"}}


def test_gpus_are_a_limit_of_the_resource_that_the_site_names():
    assert container(task(num_gpus=2))["resources"] == {"limits": {"nvidia.com/gpu": "2"}}
    amd = Site("s", "odin", gpu="amd.com/gpu")
    assert container(task(num_gpus=1), amd)["resources"] == {"limits": {"amd.com/gpu": "1"}}


def test_cpu_and_memory_are_requests_and_limits():
    spec = task(cpu_m=1500, memory_bytes=2 * 2**30, cluster={"cpu_limit_m": 4000, "memory_limit_bytes": 3_000_000_000})
    assert container(spec)["resources"] == {
        "requests": {"cpu": "1500m", "memory": "2Gi"},
        "limits": {"cpu": "4", "memory": "3000000000"},
    }


def test_pull_policy_and_pull_secrets():
    site = Site("s", "odin", pull_policy="Always", pull_secrets=("registry",))
    assert container(site=site)["imagePullPolicy"] == "Always"
    assert container(task(cluster={"pull_policy": "Never"}), site)["imagePullPolicy"] == "Never"
    assert pod(site=site)["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullPolicy" not in container()
    assert "imagePullSecrets" not in pod()["spec"]


# ---- volumes


def test_with_a_data_claim_a_pod_sees_its_commit_read_only_and_its_run_folder():
    claim = {"persistentVolumeClaim": {"claimName": "odin-shared"}}
    assert mounts(site=SHARED) == {
        "/odin/root": (claim, f"checkouts/{VERSION}", True),
        "/odin/run": (claim, f"runs/{PIPELINE}", False),
        "/odin/run/train": (claim, f"runs/{PIPELINE}/train", False),
    }


def test_the_folder_of_all_pipelines_is_mounted_for_who_names_it_alone():
    named = mounts(task(args=("${DATA_PATH}/x",)), SHARED)
    assert named["/odin/data"] == ({"persistentVolumeClaim": {"claimName": "odin-shared"}}, "runs", False)
    assert env(task(args=("${DATA_PATH}/x",)), SHARED)["ODIN_DATA_PATH"] == "/odin/data"
    assert "ODIN_DATA_PATH" not in env(site=SHARED)


def test_without_a_claim_a_pod_has_the_delivered_files_and_an_empty_run_folder():
    seen = mounts()
    source, part, is_read_only = seen.pop("/odin/root")
    assert source["projected"]["sources"][0]["configMap"]["name"] == "odin-sst2-0000000a--files"
    assert (part, is_read_only) == (None, True)
    assert seen == {"/odin/run": ({"emptyDir": {}}, None, False), "/odin/run/train": ({"emptyDir": {}}, "train", False)}


def test_the_work_path_lies_below_a_mount_either_way():
    for site in (SITE, SHARED):
        assert any(launch(site=site).env["ODIN_WORK_PATH"].startswith(path) for path in mounts(site=site))


def test_a_mount_is_a_claim_or_an_ephemeral_volume_of_that_name():
    spec = task(
        mounts=(Mount("data", "/data", "data-rw-many"), Mount("scratch", "/scratch"), Mount("shm", "/dev/shm")),
        cluster={"ephem_volumes": [{"name": "shm", "type": "emptyDir", "medium": "Memory", "size_limit": 2**30}]},
    )
    seen = mounts(spec)
    assert seen["/data"] == ({"persistentVolumeClaim": {"claimName": "data-rw-many"}}, None, False)
    assert seen["/scratch"] == ({"emptyDir": {}}, None, False)
    assert seen["/dev/shm"] == ({"emptyDir": {"medium": "Memory", "sizeLimit": "1073741824"}}, None, False)


def test_one_claim_at_two_paths_is_one_volume():
    made = pod(task(mounts=(Mount("data", "/a", "c"), Mount("data", "/b", "c"))))["spec"]
    assert [volume["name"] for volume in made["volumes"]].count("data") == 1


def test_secrets_and_config_maps_are_files():
    spec = task(
        cluster={
            "secrets": [
                {"name": "keys", "path": "/keys", "mode": 0o400},
                {"name": "keys", "path": "/root/.netrc", "sub_path": "netrc"},
            ],
            "config_maps": [{"name": "settings", "path": "/settings.json", "sub_path": "settings.json"}],
        }
    )
    seen = mounts(spec)
    assert seen["/keys"] == ({"secret": {"secretName": "keys", "defaultMode": 0o400}}, None, True)
    assert seen["/root/.netrc"] == ({"secret": {"secretName": "keys", "defaultMode": 0o444}}, "netrc", True)
    assert seen["/settings.json"] == ({"configMap": {"name": "settings"}}, "settings.json", True)


@pytest.mark.parametrize("name", ["data_rw", "Data", "odin-run", "a" * 70, "ü", "-"])
def test_a_volume_name_that_kubernetes_or_odin_would_not_take_is_replaced(name):
    made = pod(task(mounts=(Mount(name, "/data", "c"), Mount(f"{name}x", "/more", "c"))))["spec"]
    names = [volume["name"] for volume in made["volumes"]]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", each) for each in names)


@pytest.mark.parametrize(
    ("volumes", "why"),
    [
        ((Mount("a", "/x", "c"), Mount("a", "/y", "d")), 'the volume "a" is given twice'),
        ((Mount("a", "/x", "c"), Mount("b", "/x", "d")), 'two volumes are mounted at "/x"'),
        ((Mount("a", "/odin", "c"),), "is Odin's own"),
        ((Mount("a", "/odin/root/x", "c"),), "is Odin's own"),
        ((Mount("a", "/odin/run", "c"),), "two volumes are mounted|is Odin's own"),
        ((Mount("a", "${TASK_PATH}", "c"),), "two volumes are mounted"),
    ],
)
def test_volumes_that_cannot_be_mounted_are_refused(volumes, why):
    with pytest.raises(ValidationFailed, match=why):
        pod(task(mounts=volumes))


def test_a_volume_may_lie_in_the_tasks_folder():
    assert "/odin/run/train/cache" in mounts(task(mounts=(Mount("cache", "${TASK_PATH}/cache"),)))


def test_a_volume_is_ephemeral_or_a_claim():
    spec = task(mounts=(Mount("a", "/x", "c"),), cluster={"ephem_volumes": [{"name": "a", "type": "emptyDir"}]})
    with pytest.raises(ValidationFailed, match='"a" is ephemeral and has the claim "c"; choose one'):
        pod(spec)


# ---- the pod


def test_a_pod_is_never_restarted_and_told_nothing_of_other_services():
    made = pod()["spec"]
    assert made["restartPolicy"] == "Never"
    assert made["enableServiceLinks"] is False


def test_grace_and_timeout_are_whole_seconds():
    made = pod(task(grace_s=0.5, timeout_s=0.2))["spec"]
    assert (made["terminationGracePeriodSeconds"], made["activeDeadlineSeconds"]) == (1, 1)
    assert "activeDeadlineSeconds" not in pod()["spec"]


def test_the_restricted_profile_is_the_default():
    made = pod()["spec"]
    assert made["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
    }
    assert made["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_baseline_site_lets_images_run_as_they_wish():
    site = Site("s", "odin", pod_security="baseline", run_as_user=None, run_as_group=None)
    made = pod(site=site)["spec"]
    assert made["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert "securityContext" not in made["containers"][0]


def test_a_task_names_its_user_and_groups():
    asked = {"run_as_user": 7, "run_as_group": 8, "fs_group": 9}
    made = pod(task(cluster={"security_context": asked}))["spec"]["securityContext"]
    assert (made["runAsUser"], made["runAsGroup"], made["fsGroup"]) == (7, 8, 9)
    assert made["fsGroupChangePolicy"] == "OnRootMismatch"


def test_claims_belong_to_the_tasks_group():
    assert pod(site=SHARED)["spec"]["securityContext"]["fsGroup"] == 10001
    assert pod(task(mounts=(Mount("a", "/a", "c"),)))["spec"]["securityContext"]["fsGroup"] == 10001
    assert "fsGroup" not in pod()["spec"]["securityContext"]


def test_the_accounts_token_comes_with_an_account_that_the_task_names():
    assert pod()["spec"]["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod()["spec"]
    made = pod(task(cluster={"service_account": "reader"}))["spec"]
    assert (made["serviceAccountName"], made["automountServiceAccountToken"]) == ("reader", True)


def test_where_a_pod_may_run_and_ahead_of_whom():
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    asked = {"node_selector": {"pool": "gpu"}, "tolerations": tolerations, "priority_class": "high"}
    made = pod(task(cluster=asked))["spec"]
    assert made["nodeSelector"] == {"pool": "gpu"}
    assert made["tolerations"] == tolerations
    assert made["priorityClassName"] == "high"


def test_a_priority_that_is_a_number_is_said_to_be_ignored():
    assert "priority" not in pod(task(cluster={"priority": 5}))["spec"]
    assert list(unheeded(task(cluster={"priority": 5}))) == ["priority (a cluster knows priority_class)"]
    assert list(unheeded(task())) == []


def test_labels_are_odins_and_those_of_the_task():
    spec = task(cluster={"labels": {"team": "nlp"}, "annotations": {"note": "first try"}})
    made = pod(spec)["metadata"]
    assert made["labels"] == {"team": "nlp", **marks()}
    assert made["annotations"] == {"note": "first try"}
    assert "annotations" not in pod()["metadata"]


@pytest.mark.parametrize(
    "key",
    ["odin/attempt", "odin/anything", "app", "job-name", "kueue.x-k8s.io/queue-name", "app.kubernetes.io/name"],
)
def test_a92_labels_of_odin_and_of_other_controllers_are_refused_and_never_set(key):
    for field in ("labels", "annotations"):
        spec = task(cluster={field: {key: "forged"}})
        (said,) = refusals(spec, SITE)
        assert f'sets the {field[:-1]} "{key}", which tasks may not' in said
        assert "forged" not in pod(spec)["metadata"].get(field, {}).values()


def test_a92_a_listed_prefix_is_let_through():
    site = Site("s", "odin", labels=("*", "example.com/*", "app"))
    spec = task(cluster={"labels": {"example.com/team": "a", "app": "b", "plain": "c"}})
    assert refusals(spec, site) == []
    assert (
        refusals(task(cluster={"labels": {"odin/task": "a"}}), Site("s", "odin", labels=("odin/task", "odin/*"))) != []
    )


def test_what_only_fills_a_name_has_no_scheduler():
    made = idle(marks())
    assert made["metadata"]["labels"] == marks()
    assert made["spec"]["schedulerName"] == "odin-nobody"
