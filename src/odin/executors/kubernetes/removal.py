"""Removing what a pipeline has in the cluster: found by label, let go of, deleted, and waited for.

Source: issue of the executor, "Cleanup"; reliability.md, P10 and F-36.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import labels
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.keeper import released
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.replies import ApiFault, Changed, Forbidden, Missing, Unreachable
from odin.model.errors import Conflict, Unavailable
from odin.model.ids import PipelineId

Do = Callable[[Cluster, Sequence[Api], str, PipelineId], Coroutine[Any, Any, set[str]]]
PATIENCE_S = 30.0
PAUSE_S = 0.2
AT_ONCE = 8  # of the calls in flight, so that launches are not kept waiting


async def present(cluster: Cluster, apis: Sequence[Api], store: str, pipeline: PipelineId) -> set[str]:
    """The tasks of a pipeline that have objects. Raises Unavailable."""
    try:
        return {owner async for _, each in _found(cluster, apis, store, pipeline) if (owner := _task(each))}
    except ApiFault as fault:
        raise Unavailable(f"the cluster cannot be asked: {fault}") from fault


async def remove(cluster: Cluster, apis: Sequence[Api], store: str, pipeline: PipelineId) -> set[str]:
    """Remove all objects of a pipeline and wait until they are gone; the tasks that had some.

    Raises Conflict naming what stays, Unavailable.
    """
    tasks: set[str] = set()
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = [each async for each in _found(cluster, apis, store, pipeline)]
            if not found:
                return tasks
            tasks |= {owner for _, each in found if (owner := _task(each))}
            if time.monotonic() > until:
                raise Conflict(_staying([each for _, each in found]))
            await _remove_all(cluster, found)
        except ApiFault as fault:
            if not isinstance(fault, Unreachable) or time.monotonic() > until:
                raise Unavailable(f"the cluster cannot be asked: {fault}") from fault
        await asyncio.sleep(PAUSE_S)


async def _remove_all(cluster: Cluster, found: Sequence[tuple[Api, Object]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(api: Api, seen: Object) -> None:
        async with slots:
            await remove_one(cluster, api, seen)

    await asyncio.gather(*(one(api, each) for api, each in found))


async def _found(
    cluster: Cluster, apis: Sequence[Api], store: str, pipeline: PipelineId
) -> AsyncIterator[tuple[Api, Object]]:
    selector = marks.selector(store, pipeline=pipeline)
    for api in apis:
        with suppress(Missing, Forbidden):  # a kind that is not served any more, or never was ours
            for each in (await cluster.listed(api, selector=selector))[0]:
                yield api, each


async def remove_one(cluster: Cluster, api: Api, seen: Object) -> None:
    """Let go of an object and ask for its removal, unless it is another one by now. Raises ApiFault."""
    metadata = seen["metadata"]
    with suppress(Missing, Changed):
        if marks.FINALIZER in (metadata.get("finalizers") or ()):
            await cluster.patch(api, metadata["name"], released(seen))
        if "deletionTimestamp" not in metadata:
            await cluster.delete(api, metadata["name"], uid=metadata["uid"])


def _task(seen: Object) -> str | None:
    return labels(seen).get(marks.TASK)


def _staying(objects: Collection[Object]) -> str:
    named = ", ".join(sorted(f"{each['kind']} {each['metadata']['name']}" for each in objects)[:5])
    others = {name for each in objects for name in each["metadata"].get("finalizers") or ()}
    why = f"; held by {', '.join(sorted(others))}" if others else ""
    staying = f"{len(objects)} objects are still being removed from the cluster ({named}{why})"
    return f"{staying}; nothing else was removed, try again"
