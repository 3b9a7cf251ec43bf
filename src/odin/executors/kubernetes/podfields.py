"""Every field of a pod that Odin sends, as one table: what is not here is refused, so that nothing new slips through.

Fields that a rule of ``podsecurity`` or ``allowances`` judges stand here too, so that their own rule names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from odin.executors.kubernetes.violations import Violation

VALUE: Final = "a value"  # text, number, truth value, or a list of them
NAMED: Final = "names to values"
WHOLE: Final = "anything"  # judged by a rule of its own

Shape = str | dict[str, Any] | list[Any]

_SECCOMP: Final = {"type": VALUE, "localhostProfile": VALUE}
_SECURITY: Final = {
    "runAsUser": VALUE,
    "runAsGroup": VALUE,
    "runAsNonRoot": VALUE,
    "seccompProfile": _SECCOMP,
    "appArmorProfile": _SECCOMP,
    "seLinuxOptions": NAMED,
    "windowsOptions": NAMED,
}
_ITEM: Final = {"key": VALUE, "path": VALUE, "mode": VALUE}
_FIELD: Final = {"fieldPath": VALUE, "apiVersion": VALUE}
_RESOURCE: Final = {"resource": VALUE, "containerName": VALUE, "divisor": VALUE}
_DOWNWARD: Final = [{"path": VALUE, "mode": VALUE, "fieldRef": _FIELD, "resourceFieldRef": _RESOURCE}]
_KEPT: Final = {"name": VALUE, "items": [_ITEM], "optional": VALUE, "defaultMode": VALUE}
_TOKEN: Final = {"path": VALUE, "audience": VALUE, "expirationSeconds": VALUE}
_KEY: Final = {"name": VALUE, "key": VALUE, "optional": VALUE}
_FROM: Final = {"name": VALUE, "optional": VALUE}
_PORT: Final = {"port": VALUE, "host": VALUE}
_ACT: Final = {
    "exec": {"command": VALUE},
    "httpGet": _PORT | {"path": VALUE, "scheme": VALUE, "httpHeaders": [{"name": VALUE, "value": VALUE}]},
    "tcpSocket": _PORT,
}
_PROBE: Final = _ACT | dict.fromkeys(
    ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"), VALUE
)
_CONTAINER: Final = {
    "name": VALUE,
    "image": VALUE,
    "imagePullPolicy": VALUE,
    "command": VALUE,
    "args": VALUE,
    "workingDir": VALUE,
    "env": [
        {
            "name": VALUE,
            "value": VALUE,
            "valueFrom": {
                "secretKeyRef": _KEY,
                "configMapKeyRef": _KEY,
                "fieldRef": _FIELD,
                "resourceFieldRef": _RESOURCE,
            },
        }
    ],
    "envFrom": [{"prefix": VALUE, "secretRef": _FROM, "configMapRef": _FROM}],
    "resources": {"requests": NAMED, "limits": NAMED},
    "volumeMounts": [{"name": VALUE, "mountPath": VALUE, "subPath": VALUE, "readOnly": VALUE}],
    "ports": [{"name": VALUE, "containerPort": VALUE, "protocol": VALUE, "hostPort": VALUE}],
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"postStart": _ACT, "preStop": _ACT},
    "restartPolicy": VALUE,
    "terminationMessagePath": VALUE,
    "terminationMessagePolicy": VALUE,
    "securityContext": _SECURITY
    | {
        "allowPrivilegeEscalation": VALUE,
        "privileged": VALUE,
        "procMount": VALUE,
        "readOnlyRootFilesystem": VALUE,
        "capabilities": {"add": VALUE, "drop": VALUE},
    },
}
_VOLUME: Final = {
    "name": VALUE,
    "emptyDir": {"medium": VALUE, "sizeLimit": VALUE},
    "persistentVolumeClaim": {"claimName": VALUE, "readOnly": VALUE},
    "secret": {"secretName": VALUE, "items": [_ITEM], "optional": VALUE, "defaultMode": VALUE},
    "configMap": _KEPT,
    "downwardAPI": {"items": _DOWNWARD, "defaultMode": VALUE},
    "projected": {
        "defaultMode": VALUE,
        "sources": [
            {
                "configMap": _KEPT,
                "secret": _KEPT,
                "downwardAPI": {"items": _DOWNWARD},
                "serviceAccountToken": _TOKEN,
            }
        ],
    },
    **dict.fromkeys(
        (
            *("hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd"),
            *("flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk"),
            *("photonPersistentDisk", "portworxVolume", "scaleIO", "storageos", "csi", "ephemeral", "image"),
        ),
        WHOLE,
    ),
}
POD: Final[dict[str, Any]] = {
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [_VOLUME],
    "restartPolicy": VALUE,
    "terminationGracePeriodSeconds": VALUE,
    "activeDeadlineSeconds": VALUE,
    "enableServiceLinks": VALUE,
    "hostname": VALUE,
    "subdomain": VALUE,
    "setHostnameAsFQDN": VALUE,
    "schedulingGates": [{"name": VALUE}],
    "serviceAccountName": VALUE,
    "serviceAccount": VALUE,
    "automountServiceAccountToken": VALUE,
    "imagePullSecrets": [{"name": VALUE}],
    "nodeSelector": NAMED,
    "nodeName": VALUE,
    "schedulerName": VALUE,
    "tolerations": [dict.fromkeys(("key", "operator", "value", "effect", "tolerationSeconds"), VALUE)],
    "priorityClassName": VALUE,
    "priority": VALUE,
    "hostNetwork": VALUE,
    "hostPID": VALUE,
    "hostIPC": VALUE,
    "securityContext": _SECURITY
    | {
        "fsGroup": VALUE,
        "fsGroupChangePolicy": VALUE,
        "supplementalGroups": VALUE,
        "sysctls": [{"name": VALUE, "value": VALUE}],
    },
}
METADATA: Final[dict[str, Any]] = {
    "name": VALUE,
    "namespace": VALUE,
    "labels": NAMED,
    "annotations": NAMED,
    "finalizers": VALUE,
    "ownerReferences": WHOLE,
}


def misfits(node: Any, shape: Shape, path: str) -> Iterator[Violation]:
    """What is not in the table, or not of its form."""
    if isinstance(shape, list):
        if not isinstance(node, list):
            yield _formless(path, "a list")
            return
        for idx, item in enumerate(node):
            yield from misfits(item, shape[0], f"{path}[{idx}]")
    elif isinstance(shape, dict):
        yield from _unknown(node, shape, path)
    elif not _fits(node, shape):
        yield _formless(path, shape)


def _unknown(node: Any, shape: dict[str, Any], path: str) -> Iterator[Violation]:
    if not isinstance(node, dict):
        yield _formless(path, "a mapping")
        return
    for field, value in node.items():
        if field in shape:
            yield from misfits(value, shape[field], f"{path}.{field}")
        else:
            yield Violation(f"{path}.{field}", "no field that Odin sends", "remove it")


def _fits(node: Any, shape: str) -> bool:
    if shape == VALUE:
        return not isinstance(node, dict) and not (isinstance(node, list) and any(map(_is_nested, node)))
    return shape == WHOLE or (isinstance(node, dict) and not any(map(_is_nested, node.values())))


def _is_nested(node: Any) -> bool:
    return isinstance(node, dict | list)


def _formless(path: str, wanted: str) -> Violation:
    return Violation(path, f"this must be {wanted}", "correct it")
