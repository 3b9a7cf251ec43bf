"""The volumes of a pod and where its task sees them: Odin's own first, then the task's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from typing import Any, Final

from odin.executors.kubernetes import paths
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.site import Site
from odin.executors.protocol import TaskLaunch
from odin.model.errors import ValidationFailed
from odin.model.job import Mount, TaskSpec
from odin.model.names import shown

SHARED: Final = "odin-shared"
FILES: Final = "odin-files"
RUN: Final = "odin-run"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NO_LABEL: Final = re.compile(r"[^a-z0-9]+")


class Volumes:
    """What a pod mounts, in order. ``sources`` by volume name, ``mounts`` as in a container."""

    def __init__(self) -> None:
        self.sources: dict[str, Object] = {}
        self.mounts: list[Object] = []

    def mount(
        self, name: str, source: Object, path: str, *, sub_path: str | None = None, read_only: bool = False
    ) -> None:
        """Raises ValidationFailed if the name or the path stands for something else already."""
        if self.sources.setdefault(name, source) != source:
            raise ValidationFailed(f"the volume {shown(name)} is given twice, and differently; use two names")
        if any(mount["mountPath"] == path for mount in self.mounts):
            raise ValidationFailed(f"two volumes are mounted at {shown(path)}; choose another path for one")
        entry: Object = {"name": name, "mountPath": path}
        entry |= {"subPath": sub_path} if sub_path else {}
        self.mounts.append(entry | ({"readOnly": True} if read_only else {}))

    def listed(self) -> list[Object]:
        return [{"name": name, **source} for name, source in self.sources.items()]


def of(launch: TaskLaunch, site: Site, files: Mapping[str, Any] | None) -> Volumes:
    """Everything that an attempt's pods mount. ``files`` is what ``delivery`` made, where there is no data claim.

    Raises ValidationFailed for what cannot be mounted.
    """
    volumes = Volumes()
    if site.data_claim:
        _shared(volumes, launch, site.data_claim)
    else:
        _delivered(volumes, launch, files)
    for name, source, path, how in _asked(launch.spec):
        _check_path(path)
        volumes.mount(name, source, path, **how)
    return volumes


def _shared(volumes: Volumes, launch: TaskLaunch, claim: str) -> None:
    origin = launch.origin
    source = {"persistentVolumeClaim": {"claimName": claim}}
    run = f"runs/{origin.pipeline}"
    volumes.mount(SHARED, source, paths.ROOT, sub_path=f"checkouts/{origin.version}", read_only=True)
    volumes.mount(SHARED, source, paths.RUN, sub_path=run)
    # The kubelet makes what a subPath names, so that the task's folder is there whoever was first.
    volumes.mount(SHARED, source, launch.work, sub_path=f"{run}/{origin.task}")
    if paths.names_data(launch.spec):
        volumes.mount(SHARED, source, paths.DATA, sub_path="runs")


def _delivered(volumes: Volumes, launch: TaskLaunch, files: Mapping[str, Any] | None) -> None:
    if files:
        volumes.mount(FILES, dict(files), paths.ROOT, read_only=True)
    volumes.mount(RUN, {"emptyDir": {}}, paths.RUN)
    volumes.mount(RUN, {"emptyDir": {}}, launch.work, sub_path=launch.origin.task)


def _asked(spec: TaskSpec) -> Iterator[tuple[str, Object, str, dict[str, Any]]]:
    """Name, source, path and further words of each volume of the task."""
    ephemeral = {volume["name"]: _empty(volume) for volume in spec.cluster.get("ephem_volumes") or ()}
    for mount in spec.mounts:
        yield _name(mount.name), _source(mount, ephemeral), mount.path, {}
    for idx, secret in enumerate(spec.cluster.get("secrets") or ()):
        source = {"secretName": secret["name"], "defaultMode": secret.get("mode", 0o444)}
        how = {"sub_path": secret.get("sub_path"), "read_only": True}
        yield f"odin-secret-{idx}", {"secret": source}, secret["path"], how
    for idx, config in enumerate(spec.cluster.get("config_maps") or ()):
        how = {"sub_path": config.get("sub_path"), "read_only": True}
        yield f"odin-config-{idx}", {"configMap": {"name": config["name"]}}, config["path"], how


def _source(mount: Mount, ephemeral: Mapping[str, Object]) -> Object:
    if mount.claim is None:
        return ephemeral.get(mount.name, {"emptyDir": {}})
    if mount.name in ephemeral:
        raise ValidationFailed(
            f"the volume {shown(mount.name)} is ephemeral and has the claim {shown(mount.claim)}; choose one"
        )
    return {"persistentVolumeClaim": {"claimName": mount.claim}}


def _empty(volume: Mapping[str, Any]) -> Object:
    medium, limit = volume.get("medium"), volume.get("size_limit")
    return {"emptyDir": ({"medium": medium} if medium else {}) | ({"sizeLimit": str(limit)} if limit else {})}


def _name(name: str) -> str:
    """The volume's name as the author wrote it, if Kubernetes takes it and it is none of Odin's; else one like it."""
    if _LABEL.fullmatch(name) and not name.startswith("odin-"):
        return name
    digest = blake2s(name.encode(), digest_size=4).hexdigest()
    return f"v-{_NO_LABEL.sub('-', name.lower()).strip('-')[:40]}-{digest}".replace("--", "-")


def _check_path(path: str) -> None:
    inside = path == paths.OWN or path.startswith(f"{paths.OWN}/")
    if inside and not path.startswith(f"{paths.RUN}/"):
        raise ValidationFailed(f"{shown(path)} lies in {paths.OWN}, which is Odin's own; mount it elsewhere")
