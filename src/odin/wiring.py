"""The place where tasks run and all that belongs to it: this machine, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.places import Check, Machine
from odin.engine.taskuser import TaskUser
from odin.engine.turns import LocalPlace
from odin.executors.local import LocalExecutor
from odin.executors.logs import LocalLogs
from odin.executors.machine import LocalNodes
from odin.executors.protocol import Logs, Nodes, NoObjects, NoResources, Objects, Resources, TaskLaunch
from odin.jobs.deliveries import Deliveries
from odin.model.errors import Unavailable
from odin.settings import Settings
from odin.store.queries import Queries

if TYPE_CHECKING:
    from odin.executors.kubernetes.census import ClusterCensus
    from odin.executors.kubernetes.delivery import Files
    from odin.executors.kubernetes.happenings import Keep
    from odin.executors.kubernetes.site import Site

MISSING = "the Kubernetes client is not installed: pip install 'odin-pipelines[kubernetes]'"


@dataclass(frozen=True, slots=True)
class Backend:
    """What the rooms above are given of one place. ``close`` lets go of what ``nodes`` holds.

    ``reach`` names what another server must reach too, to drive what this one drives; None where no other can.
    """

    reach: str | None
    place: LocalPlace
    launches: Launches
    logs: Logs
    nodes: Nodes
    objects: Objects
    resources: Resources
    check: Check
    close: Callable[[], None]


def task_user(settings: Settings) -> TaskUser | None:
    """Whom tasks run as where that is not the server's user. Raises ValidationFailed.

    On a data claim a server that is root gives what it makes to the user of the pods; any other is that user itself.
    """
    if settings.executor == "kubernetes":
        owner = settings.kubernetes_run_as
        theirs = settings.data_claim is not None and os.geteuid() == 0
        return TaskUser(f"user {owner}", owner, owner, (owner,)) if theirs else None
    return TaskUser.named(settings.task_user) if settings.task_user is not None else None


def local(settings: Settings, layout: Layout, now: Callable[[], float]) -> Backend:
    """Processes of this machine."""
    place = LocalExecutor(
        data=settings.data,
        shared=settings.shared,
        cpu_m=round(settings.local_cpus * 1000),
        cards=LocalNodes.cards(),
        task_user=settings.task_user,
        now=now,
    )
    nodes = LocalNodes(slots=max(1, int(settings.local_cpus)))
    return Backend(
        None,
        place,
        Launches(layout, settings.local_mounts),
        LocalLogs(settings.data),
        nodes,
        NoObjects(),
        NoResources(),
        Machine(settings.local_mounts),
        nodes.close,
    )


def kubernetes(
    settings: Settings, layout: Layout, store: str, deliveries: Deliveries, queries: Queries, keep: Keep
) -> Backend:
    """Pods of a cluster, whose events ``keep`` keeps. Raises Unavailable saying what is missing to reach one."""
    try:
        from odin.executors.kubernetes.cluster import Cluster, own_namespace
    except ImportError as error:
        raise Unavailable(f"{MISSING} ({error})") from error
    from odin.executors.kubernetes.checks import ClusterCheck
    from odin.executors.kubernetes.executor import KubernetesExecutor
    from odin.executors.kubernetes.logs import ClusterLogs
    from odin.executors.kubernetes.manifests import Manifests
    from odin.executors.kubernetes.nodes import ClusterNodes
    from odin.executors.kubernetes.objects import ClusterObjects
    from odin.executors.kubernetes.paths import PodPaths
    from odin.executors.kubernetes.resources import ClusterResources

    config = _context(settings)
    site = _site(settings, store, settings.namespace or own_namespace(config))
    manifests = Manifests(site, partial(_files_of, deliveries, queries), partial(_make_folder, layout))
    connect = partial(Cluster, config, site.namespace, calls_per_s=settings.kubernetes_calls)
    place = KubernetesExecutor(connect, manifests, data=settings.data, outputs_path=layout.outputs, keep=keep)
    return Backend(
        f"kubernetes:{site.namespace}",
        place,
        Launches(PodPaths(has_claim=site.data_claim is not None)),
        ClusterLogs(settings.data, place.log),
        ClusterNodes(place),
        ClusterObjects(place),
        ClusterResources(place, settings.kubernetes_resources),
        ClusterCheck(site, manifests, deliveries.sizes, deliveries.root_files),
        lambda: None,
    )


def cluster_census(settings: Settings, store: str) -> ClusterCensus:
    """What this store has in the cluster. Raises Unavailable saying what is missing to reach one."""
    try:
        from odin.executors.kubernetes.census import ClusterCensus
        from odin.executors.kubernetes.cluster import Cluster, own_namespace
    except ImportError as error:
        raise Unavailable(f"{MISSING} ({error})") from error
    config = _context(settings)
    namespace = settings.namespace or own_namespace(config)
    return ClusterCensus(partial(Cluster, config, namespace, calls_per_s=settings.kubernetes_calls), store)


def _context(settings: Settings) -> Any:
    from odin.executors.kubernetes.cluster import configuration

    named = os.environ.get("KUBECONFIG")
    return configuration(Path(named) if named else None, settings.kubernetes_context)


def _files_of(deliveries: Deliveries, queries: Queries, launch: TaskLaunch) -> tuple[Files, str]:
    """What the pods of a pipeline are given of its job, and the text of its file of task ids."""
    origin = launch.origin
    rendered = dict(queries.rendered(origin.pipeline)) if origin.own_work else {}
    view = queries.pipeline(origin.pipeline)
    ids = "".join(f"{task.id}\n" for task in view.tasks) if view is not None else ""
    return deliveries.files(origin.version, origin.job, rendered), ids


def _make_folder(layout: Layout, launch: TaskLaunch) -> None:
    """The task's folder on the data claim, before a kubelet makes it as root."""
    folder = layout.task(launch.origin.pipeline, launch.origin.task)
    folder.mkdir(parents=True, exist_ok=True)
    if layout.task_user is not None:
        os.chown(folder, layout.task_user.uid, layout.task_user.gid, follow_symlinks=False)


def _site(settings: Settings, store: str, namespace: str) -> Site:
    from odin.executors.kubernetes.site import Site

    return Site(
        store=store,
        namespace=namespace,
        data_claim=settings.data_claim,
        url=settings.kubernetes_url,
        image=settings.kubernetes_image,
        pull_policy=settings.kubernetes_pull_policy,
        pull_secrets=settings.kubernetes_pull_secrets,
        pod_security="baseline" if settings.kubernetes_pod_security == "baseline" else "restricted",
        run_as_user=settings.kubernetes_run_as,
        run_as_group=settings.kubernetes_run_as,
        service_accounts=settings.kubernetes_service_accounts,
        claims=settings.kubernetes_claims,
        secrets=settings.kubernetes_secrets,
        config_maps=settings.kubernetes_config_maps,
        labels=settings.kubernetes_labels,
        annotations=settings.kubernetes_annotations,
        node_selectors=settings.kubernetes_node_selectors,
        tolerations=settings.kubernetes_tolerations,
        priority_classes=settings.kubernetes_priority_classes,
        gpu=settings.kubernetes_gpu,
    )
