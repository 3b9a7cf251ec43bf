"""Kubernetes' Pod Security Standards, each control a row: ``baseline`` always, ``restricted`` where the site says so.

Judged here, since the cluster need not enforce them, and so that a refusal names the field before anything is created.
Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (1.34); reliability.md, A-90.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.violations import Violation, containers, each, inner

Breach = tuple[str, str]  # place, remedy
Control = Callable[[Object, str], Iterator[Breach]]

_BASELINE_CAPABILITIES: Final = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
_SELINUX_TYPES: Final = frozenset(
    {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_PROFILES: Final = frozenset({"RuntimeDefault", "Localhost"})
_SYSCTLS: Final = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
        *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)
_VOLUME_TYPES: Final = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
    }
)
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP: Final = ("seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/")


def judge(pod: Object, path: str, *, restricted: bool) -> Iterator[Violation]:
    """What a pod's spec breaks; ``path`` is where it stands."""
    controls = chain(BASELINE.items(), RESTRICTED.items()) if restricted else BASELINE.items()
    for name, control in controls:
        level = "baseline" if name in BASELINE else "restricted"
        for field, remedy in control(pod, path):
            yield Violation(field, f"Pod Security {level} forbids this: {name}", remedy)


def judge_annotations(annotations: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """The profiles of older clusters are annotations."""
    for key, value in annotations.items():
        text = str(value)
        if key.startswith(_APPARMOR) and text != "runtime/default" and not text.startswith("localhost/"):
            yield Violation(f"{path}[{key}]", "Pod Security baseline forbids this: AppArmor", "use runtime/default")
        if key.startswith(_SECCOMP) and text == "unconfined":
            yield Violation(f"{path}[{key}]", "Pod Security baseline forbids this: seccomp", "use runtime/default")


def _contexts(pod: Object, path: str) -> Iterator[tuple[str, Object]]:
    """The pod's security context and those of its containers."""
    yield f"{path}.securityContext", inner(pod, "securityContext")
    yield from _of_containers(pod, path)


def _of_containers(pod: Object, path: str) -> Iterator[tuple[str, Object]]:
    for place, container in containers(pod, path):
        yield f"{place}.securityContext", inner(container, "securityContext")


# Baseline


def _host_namespaces(pod: Object, path: str) -> Iterator[Breach]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{path}.{field}", "remove it"


def _privileged(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        if context.get("privileged"):
            yield f"{place}.privileged", "remove it"


def _capabilities(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        added = _texts(inner(context, "capabilities").get("add"))
        if not added <= _BASELINE_CAPABILITIES:
            yield f"{place}.capabilities.add", f"remove {', '.join(sorted(added - _BASELINE_CAPABILITIES))}"


def _host_paths(pod: Object, path: str) -> Iterator[Breach]:
    for place, volume in each(pod, "volumes", path):
        if "hostPath" in volume:
            yield f"{place}.hostPath", "mount a claim"


def _host_ports(pod: Object, path: str) -> Iterator[Breach]:
    for place, container in containers(pod, path):
        for port_place, port in each(container, "ports", place):
            if port.get("hostPort"):
                yield f"{port_place}.hostPort", "remove it"


def _probe_hosts(pod: Object, path: str) -> Iterator[Breach]:
    for place, container in containers(pod, path):
        for fields in _ACTS:
            if inner(container, *fields).get("host"):
                yield f"{place}.{'.'.join(fields)}.host", "remove it"


_ACTS: Final = [
    (*act, call)
    for act in (
        *(("readinessProbe",), ("livenessProbe",), ("startupProbe",)),
        *(("lifecycle", "postStart"), ("lifecycle", "preStop")),
    )
    for call in ("httpGet", "tcpSocket")
]


def _apparmor(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _contexts(pod, path):
        if "appArmorProfile" in context and inner(context, "appArmorProfile").get("type") not in _PROFILES:
            yield f"{place}.appArmorProfile.type", "use RuntimeDefault"


def _selinux(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _contexts(pod, path):
        options = inner(context, "seLinuxOptions")
        if options.get("type") not in _SELINUX_TYPES:
            yield f"{place}.seLinuxOptions.type", "use container_t"
        for field in ("user", "role"):
            if options.get(field):
                yield f"{place}.seLinuxOptions.{field}", "remove it"


def _proc_mount(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        if context.get("procMount") not in (None, "Default"):
            yield f"{place}.procMount", "remove it"


def _seccomp(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _contexts(pod, path):
        if "seccompProfile" in context and inner(context, "seccompProfile").get("type") not in _PROFILES:
            yield f"{place}.seccompProfile.type", "use RuntimeDefault"


def _sysctls(pod: Object, path: str) -> Iterator[Breach]:
    place = f"{path}.securityContext"
    for at, sysctl in each(inner(pod, "securityContext"), "sysctls", place):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"{at}.name", "remove it"


def _host_processes(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _contexts(pod, path):
        if inner(context, "windowsOptions").get("hostProcess"):
            yield f"{place}.windowsOptions.hostProcess", "remove it"


# Restricted


def _volume_types(pod: Object, path: str) -> Iterator[Breach]:
    for place, volume in each(pod, "volumes", path):
        for kind in sorted(volume.keys() - _VOLUME_TYPES - {"name"}):
            yield f"{place}.{kind}", "mount a claim"


def _escalation(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{place}.allowPrivilegeEscalation", "set it to false"


def _non_root(pod: Object, path: str) -> Iterator[Breach]:
    said = inner(pod, "securityContext").get("runAsNonRoot")
    if said not in (None, True):
        yield f"{path}.securityContext.runAsNonRoot", "set it to true"
    for place, context in _of_containers(pod, path):
        if context.get("runAsNonRoot", said) is not True:
            yield f"{place}.runAsNonRoot", "set it to true"


def _root_user(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _contexts(pod, path):
        if "runAsUser" in context and _is_root(context["runAsUser"]):
            yield f"{place}.runAsUser", "run as another user than 0"


def _is_root(user: Any) -> bool:
    return not isinstance(user, int) or isinstance(user, bool) or user < 1


def _seccomp_set(pod: Object, path: str) -> Iterator[Breach]:
    has_profile = "seccompProfile" in inner(pod, "securityContext")
    for place, context in _of_containers(pod, path):
        if not has_profile and "seccompProfile" not in context:
            yield f"{place}.seccompProfile", "set its type to RuntimeDefault"


def _dropped(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        if "ALL" not in _texts(inner(context, "capabilities").get("drop")):
            yield f"{place}.capabilities.drop", "drop ALL"


def _added(pod: Object, path: str) -> Iterator[Breach]:
    for place, context in _of_containers(pod, path):
        added = _texts(inner(context, "capabilities").get("add")) - {"NET_BIND_SERVICE"}
        if added:
            yield f"{place}.capabilities.add", f"remove {', '.join(sorted(added))}"


def _texts(listed: Any) -> set[str]:
    return {str(item) for item in listed} if isinstance(listed, list) else {str(listed)} if listed else set()


BASELINE: Final[Mapping[str, Control]] = {
    "host namespaces": _host_namespaces,
    "privileged containers": _privileged,
    "capabilities": _capabilities,
    "hostPath volumes": _host_paths,
    "host ports": _host_ports,
    "hosts of probes and hooks": _probe_hosts,
    "AppArmor": _apparmor,
    "SELinux": _selinux,
    "/proc mount type": _proc_mount,
    "seccomp": _seccomp,
    "sysctls": _sysctls,
    "host processes": _host_processes,
}
RESTRICTED: Final[Mapping[str, Control]] = {
    "volume types": _volume_types,
    "privilege escalation": _escalation,
    "running as non-root": _non_root,
    "running as user 0": _root_user,
    "seccomp profile": _seccomp_set,
    "capabilities not dropped": _dropped,
    "capabilities added": _added,
}
