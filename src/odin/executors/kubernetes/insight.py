"""What people ask of attempts in the cluster: where their logs are, what the cluster says of them.

Answered in the driver's event loop, from what is seen there or was kept. Source: api.md, "Resources".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from odin.executors.kubernetes import strands
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.copyfile import part_path
from odin.executors.kubernetes.facts import Facts, facts, kept, pods_of
from odin.executors.kubernetes.logcopies import OWN, LogCopies, copy_path
from odin.executors.kubernetes.merging import one
from odin.executors.kubernetes.replies import ApiFault
from odin.model.errors import NoContainer, NotFound, Unavailable
from odin.model.ids import AttemptId
from odin.model.names import nearest, shown

PATIENCE_S = 10.0


class Insight:
    """``bodies`` are those that the driver knows now."""

    def __init__(self, bodies: Mapping[AttemptId, Body], copies: LogCopies, data: Path) -> None:
        self._bodies = bodies
        self._copies = copies
        self._data = data

    async def log(self, attempt: AttemptId, container: str | None = None) -> Path:
        """Where the log is, or is growing in its ``part_path``; what was written so far is there.

        Raises NotFound if there is nothing, or no container of that name; Unavailable.
        """
        body = self._bodies.get(attempt)
        if body is None or not body.uid:
            return await asyncio.to_thread(self._kept_log, attempt, container)
        name = self._choose(body, container)
        path = copy_path(self._data, attempt, name)
        if body.is_over:
            return await self._whole(body, name)
        copy = self._copies.follow(body, name)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await copy.caught_up.wait()
        if copy.fault and not part_path(path).exists():
            raise Unavailable(f"the log of {attempt} cannot be read now: {copy.fault}")
        return path

    async def facts(self, attempts: Sequence[AttemptId]) -> dict[AttemptId, Facts]:
        """What the cluster says of each, or said at last; those of which nothing is known are left out."""
        live = {attempt: facts(body) for attempt in attempts if (body := self._bodies.get(attempt)) is not None}
        missing = [attempt for attempt in attempts if not live.get(attempt)]
        old = await asyncio.to_thread(lambda: {attempt: kept(self._data, attempt) for attempt in missing})
        return {attempt: known for attempt in attempts if (known := live.get(attempt) or old[attempt])}

    async def _whole(self, body: Body, name: str) -> Path:
        """Of an attempt that is over."""
        if not body.is_kept:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._copies.finish(body)
            except (TimeoutError, ApiFault) as error:
                raise Unavailable(f"the log of {body.attempt} cannot be read now: {error}") from error
        return await asyncio.to_thread(self._kept_log, body.attempt, name or None)

    def _choose(self, body: Body, container: str | None) -> str:
        """The copy that holds a container's log: the attempt's own for the only one that counts."""
        if container is None or body.kind is None:
            return OWN
        there = strands.names(body.attempt, body.kind, pods_of(body))
        if not there:
            raise NotFound(f"{body.attempt} has no pods yet")
        check_container(body.attempt, container, there)
        return OWN if strands.is_alone(body.kind) and container == there[0] else container

    def _kept_log(self, attempt: AttemptId, container: str | None) -> Path:
        """From the disk alone. One of several pods is taken out of the log of all."""
        own = copy_path(self._data, attempt)
        if container is None:
            return own
        known = kept(self._data, attempt)
        check_container(attempt, container, known.get("containers", ()))
        path = copy_path(self._data, attempt, container)
        if path.exists():
            return path
        if all(not pod["role"] for pod in known["pods"]):
            return own
        source = own if own.exists() else part_path(own)
        if not source.exists():
            raise NotFound(f"{attempt} has no log")
        fresh = path.with_suffix(".new")
        with source.open("rb") as whole, fresh.open("wb") as file:
            file.writelines(one(whole, container))
        fresh.replace(path)
        return path


def check_container(of: str, container: str | None, there: Sequence[str]) -> None:
    """Raises NotFound naming what there is."""
    if container is not None and container not in there:
        has = f"it has {', '.join(there)}" if there else "nothing of its pods is known"
        near = nearest(container, there, 1)
        raise NoContainer(f"{of} has no container {shown(container)}; {has}", near=near)
