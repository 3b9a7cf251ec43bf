"""What pipelines leave in the cluster, for those who clean up in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from odin.executors.kubernetes.executor import KubernetesExecutor
from odin.model.ids import PipelineId


class ClusterObjects:
    """``Objects`` of a cluster."""

    def __init__(self, place: KubernetesExecutor) -> None:
        self._place = place

    def present(self, pipeline: PipelineId) -> Collection[str]:
        return asyncio.run(self._place.present(pipeline))

    def remove(self, pipeline: PipelineId) -> Collection[str]:
        return asyncio.run(self._place.remove(pipeline))
