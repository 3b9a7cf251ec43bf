"""The pod template of an attempt: what a task says and what the site gives, nothing else.

The first container is ``task``. Kubernetes replaces ``$(NAME)`` in commands, arguments and values and takes ``$$`` for
a dollar sign, so every ``$`` is doubled and a task gets what it would get on one machine.
Source: job-files.md; https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from odin.executors.kubernetes import paths, volumes
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.site import Site
from odin.executors.kubernetes.volumes import Volumes
from odin.executors.protocol import TaskLaunch
from odin.model.errors import ValidationFailed
from odin.model.job import TaskSpec
from odin.model.names import shown
from odin.model.quantities import written_bytes

CONTAINER: Final = "task"
NO_IMAGE: Final = "has no image, and a cluster runs nothing else; give it an image, or set ODIN_KUBERNETES_IMAGE"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Where an attempt's token lies: a Secret and a key in it."""

    secret: str
    key: str


def template(
    launch: TaskLaunch,
    site: Site,
    marks: Mapping[str, str],
    *,
    files: Mapping[str, Any] | None = None,
    token: TokenKey | None = None,
) -> Object:
    """The finished template: ``metadata`` and ``spec``.

    ``marks`` are Odin's labels. ``files`` is the volume that ``delivery.config_maps`` gives, for a site without a
    data claim. Raises ValidationFailed for a task that no pod can run.
    """
    mounted = volumes.of(launch, site, files)
    spec = launch.spec
    pod: Object = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ceil(launch.grace_s),
        "securityContext": _pod_security(spec, site, mounted),
        "containers": [_container(launch, site, mounted, token)],
        "volumes": mounted.listed(),
        **_account(spec),
        **_placing(spec),
    }
    if launch.timeout_s is not None:
        pod["activeDeadlineSeconds"] = max(1, ceil(launch.timeout_s))
    if site.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in site.pull_secrets]
    return {"metadata": _metadata(spec, site, marks), "spec": pod}


def idle(marks: Mapping[str, str], scheduler: str = "odin-nobody") -> Object:
    """A template whose pods never run, for what only fills a name: no scheduler is called so."""
    container = {"name": CONTAINER, "image": "odin.invalid/void", "command": ["true"], "args": [], "env": []}
    pod: Object = {
        "restartPolicy": "Never",
        "schedulerName": scheduler,
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True},
        "containers": [container | {"securityContext": _unprivileged()}],
        "volumes": [],
    }
    return {"metadata": {"labels": dict(marks)}, "spec": pod}


def refusals(spec: TaskSpec, site: Site) -> list[str]:
    """Why no pod can run this task, each with the remedy: what ``template`` would raise, or would leave out."""
    found = [] if spec.image or site.image else [f'task "{spec.name}" {NO_IMAGE}']
    for what, given, listed in _keys(spec, site):
        found += (
            f'task "{spec.name}" sets the {what} {shown(key)}, which tasks may not; remove it, '
            f"or list it in ODIN_KUBERNETES_{what.upper()}S"
            for key in given
            if not site.lets_label(listed, key)
        )
    return found


def unheeded(spec: TaskSpec) -> Iterator[str]:
    """What a cluster takes no notice of, for a warning."""
    if "priority" in spec.cluster:
        yield "priority (a cluster knows priority_class)"


def strangers(tasks: Iterable[TaskSpec], site: Site) -> Iterator[str]:
    """A warning of tasks that run as a user whom the folders on the data claim are closed to."""
    if site.data_claim is None:
        return
    own = (None, 0, site.run_as_user)
    found = [spec.name for spec in tasks if _user(spec, site) not in own]
    if found:
        named = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        yield (
            f"what Odin keeps on the data claim belongs to user {site.run_as_user}, "
            f"so other users cannot read or write there: {named}"
        )


def _user(spec: TaskSpec, site: Site) -> int | None:
    user: int | None = (spec.cluster.get("security_context") or {}).get("run_as_user", site.run_as_user)
    return user


def _metadata(spec: TaskSpec, site: Site, marks: Mapping[str, str]) -> Object:
    kept = {
        what: {key: given[key] for key in given if site.lets_label(listed, key)}
        for what, given, listed in _keys(spec, site)
    }
    made: Object = {"labels": kept["label"] | dict(marks)}
    return made | ({"annotations": kept["annotation"]} if kept["annotation"] else {})


def _keys(spec: TaskSpec, site: Site) -> Iterator[tuple[str, Mapping[str, str], Any]]:
    yield "label", spec.cluster.get("labels") or {}, site.labels
    yield "annotation", spec.cluster.get("annotations") or {}, site.annotations


def _container(launch: TaskLaunch, site: Site, mounted: Volumes, token: TokenKey | None) -> Object:
    spec = launch.spec
    image = spec.image or site.image
    if image is None:
        raise ValidationFailed(f'task "{spec.name}" {NO_IMAGE}')
    argv = [_doubled(text) for text in launch.argv]
    policy = spec.cluster.get("pull_policy") or site.pull_policy
    made: Object = {
        "name": CONTAINER,
        "image": image,
        "command": argv[: len(spec.command)],
        "args": argv[len(spec.command) :],
        "workingDir": launch.work,
        "env": list(_env(launch, site, mounted, token)),
        "resources": _resources(spec, site),
        "volumeMounts": mounted.mounts,
        "terminationMessagePath": paths.OUTPUTS,
        "terminationMessagePolicy": "File",
    }
    made |= {"imagePullPolicy": policy} if policy else {}
    return made | ({"securityContext": _unprivileged()} if site.is_restricted else {})


def _unprivileged() -> Object:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _doubled(text: str) -> str:
    return text.replace("$", "$$")


def _env(launch: TaskLaunch, site: Site, mounted: Volumes, token: TokenKey | None) -> Iterator[Object]:
    has_data = any(mount["mountPath"] == paths.DATA for mount in mounted.mounts)
    for name, value in launch.env.items():
        if name != "ODIN_DATA_PATH" or has_data:
            yield {"name": name, "value": _doubled(value)}
    if site.url:
        yield {"name": "ODIN_URL", "value": _doubled(site.url)}
    if token:
        yield {"name": "ODIN_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.secret, "key": token.key}}}


def _resources(spec: TaskSpec, site: Site) -> Object:
    """A GPU is a limit, which is its request too; none asked for is none named, so that no plugin shows them all."""
    requests = {"cpu": _cores(spec.cpu_m), "memory": _bytes(spec.memory_bytes)}
    limits = {
        "cpu": _cores(spec.cluster.get("cpu_limit_m")),
        "memory": _bytes(spec.cluster.get("memory_limit_bytes")),
        site.gpu: str(spec.num_gpus) if spec.num_gpus else None,
    }
    asked = {"requests": _given(requests), "limits": _given(limits)}
    return {what: amounts for what, amounts in asked.items() if amounts}


def _given(amounts: Mapping[str, str | None]) -> dict[str, str]:
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _cores(thousandths: int | None) -> str | None:
    if thousandths is None:
        return None
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _bytes(number: int | None) -> str | None:
    return None if number is None else written_bytes(number)


def _pod_security(spec: TaskSpec, site: Site, mounted: Volumes) -> Object:
    """Groups own what is on claims: a claim's folder seldom belongs to the task's user."""
    asked = spec.cluster.get("security_context") or {}
    user = _user(spec, site)
    group = asked.get("run_as_group", site.run_as_group)
    has_claim = any("persistentVolumeClaim" in source for source in mounted.sources.values())
    owner = asked.get("fs_group", group if has_claim else None)
    made: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    made |= {"runAsNonRoot": True} if site.is_restricted else {}
    made |= {name: number for name, number in (("runAsUser", user), ("runAsGroup", group)) if number is not None}
    return made | ({"fsGroup": owner, "fsGroupChangePolicy": "OnRootMismatch"} if owner is not None else {})


def _account(spec: TaskSpec) -> Object:
    """The token comes with an account that the task names; ``policy`` tells whether it may."""
    account = spec.cluster.get("service_account")
    named: Object = {"serviceAccountName": account} if account else {}
    return {"automountServiceAccountToken": bool(account), **named}


def _placing(spec: TaskSpec) -> Object:
    asked = {
        "nodeSelector": spec.cluster.get("node_selector"),
        "tolerations": spec.cluster.get("tolerations"),
        "priorityClassName": spec.cluster.get("priority_class"),
    }
    return {field: value for field, value in asked.items() if value}
