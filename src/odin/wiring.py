"""The place where tasks run and all that belongs to it: this machine, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import LocalPlace
from odin.engine.places import Check, Machine
from odin.executors.local import LocalExecutor
from odin.executors.logs import LocalLogs
from odin.executors.machine import LocalNodes
from odin.executors.protocol import Logs, Nodes, NoObjects, Objects, TaskLaunch
from odin.jobs.deliveries import Deliveries
from odin.model.errors import Unavailable
from odin.settings import Settings
from odin.store.queries import Queries

if TYPE_CHECKING:
    from odin.executors.kubernetes.delivery import Files
    from odin.executors.kubernetes.site import Site

MISSING = "the Kubernetes client is not installed: pip install 'odin-pipelines[kubernetes]'"


@dataclass(frozen=True, slots=True)
class Backend:
    """What the rooms above are given of one place. ``close`` lets go of what ``nodes`` holds."""

    place: LocalPlace
    launches: Launches
    logs: Logs
    nodes: Nodes
    objects: Objects
    check: Check
    close: Callable[[], None]


def local(settings: Settings, layout: Layout) -> Backend:
    """Processes of this machine."""
    place = LocalExecutor(
        data=settings.data,
        shared=settings.shared,
        cpu_m=round(settings.local_cpus * 1000),
        cards=LocalNodes.cards(),
        task_user=settings.task_user,
    )
    nodes = LocalNodes(slots=max(1, int(settings.local_cpus)))
    return Backend(
        place,
        Launches(layout, settings.local_mounts),
        LocalLogs(settings.data),
        nodes,
        NoObjects(),
        Machine(settings.local_mounts),
        nodes.close,
    )


def kubernetes(settings: Settings, layout: Layout, store: str, deliveries: Deliveries, queries: Queries) -> Backend:
    """Pods of a cluster. Raises Unavailable saying what is missing to reach one."""
    try:
        from odin.executors.kubernetes.cluster import Cluster, configuration, own_namespace
    except ImportError as error:
        raise Unavailable(f"{MISSING} ({error})") from error
    from odin.executors.kubernetes.checks import ClusterCheck
    from odin.executors.kubernetes.executor import KubernetesExecutor
    from odin.executors.kubernetes.logs import ClusterLogs
    from odin.executors.kubernetes.manifests import Manifests
    from odin.executors.kubernetes.nodes import ClusterNodes
    from odin.executors.kubernetes.objects import ClusterObjects
    from odin.executors.kubernetes.paths import PodPaths

    named = os.environ.get("KUBECONFIG")
    config = configuration(Path(named) if named else None, settings.kubernetes_context)
    site = _site(settings, store, settings.namespace or own_namespace(config))
    manifests = Manifests(site, partial(_files_of, deliveries, queries))
    connect = partial(Cluster, config, site.namespace, calls_per_s=settings.kubernetes_calls_per_s)
    place = KubernetesExecutor(connect, manifests, data=settings.data, outputs_path=layout.outputs)
    return Backend(
        place,
        Launches(PodPaths(has_claim=site.data_claim is not None)),
        ClusterLogs(settings.data, place.log_is_there),
        ClusterNodes(place),
        ClusterObjects(place),
        ClusterCheck(site, manifests, deliveries.sizes, deliveries.root_files),
        lambda: None,
    )


def _files_of(deliveries: Deliveries, queries: Queries, launch: TaskLaunch) -> tuple[Files, str]:
    """What the pods of a pipeline are given of its job, and the text of its file of task ids."""
    origin = launch.origin
    rendered = dict(queries.rendered(origin.pipeline)) if origin.own_work else {}
    view = queries.pipeline(origin.pipeline)
    ids = "".join(f"{task.id}\n" for task in view.tasks) if view is not None else ""
    return deliveries.files(origin.version, origin.job, rendered), ids


def _site(settings: Settings, store: str, namespace: str) -> Site:
    from odin.executors.kubernetes.site import Site

    return Site(
        store=store,
        namespace=namespace,
        data_claim=settings.data_claim,
        url=settings.kubernetes_url,
        image=settings.kubernetes_image,
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
