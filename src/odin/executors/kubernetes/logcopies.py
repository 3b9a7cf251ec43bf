"""Copies of pods' logs on the server's disk, where they stay readable after the pods are gone.

A copy of an attempt's own log is made while it runs, if it runs for long or somebody reads it, and completed when it
is over, before its object is let go. The logs of other containers (sidecars) are kept beside it under their names.
Whatever could not be copied is marked in the copy. Source: reliability.md, F-38.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.copyfile import CopyFile, part_path
from odin.executors.kubernetes.facts import facts, keep, pods_of
from odin.executors.kubernetes.logcopy import GONE, Copy, Streams, heard
from odin.executors.kubernetes.sights import Runs
from odin.executors.kubernetes.strands import Strand, is_alone, strands
from odin.executors.logs import log_path
from odin.model.ids import AttemptId
from odin.model.reports import Reason

AUTOMATIC = 200  # copies that begin by themselves, at most
MOST_STREAMS = 500  # of all copies together; what is above is looked at now and then
LONG_S = 20.0  # an attempt that runs for longer is copied meanwhile
LOOK_S = 2.0
OWN = ""  # the attempt's own log among its copies
log = logging.getLogger("odin.kubernetes")


class LogCopies:
    """The copies below ``data``. Belongs to the driver's event loop."""

    def __init__(self, cluster: Cluster, data: Path) -> None:
        self._cluster = cluster
        self._data = data
        self._copies: dict[tuple[AttemptId, str], Copy] = {}
        self._finishing: dict[AttemptId, asyncio.Task[None]] = {}
        self._streams = Streams(MOST_STREAMS)

    def follow(self, body: Body, name: str = OWN) -> Copy:
        """Copy what is written from now on, until the attempt is over; may be repeated."""
        copy = self._copy(body, name)
        copy.follow()
        return copy

    async def finish(self, body: Body, *, patient: bool = True) -> None:
        """Have all logs of an attempt that is over on disk for good, and what is known of it; may be repeated.

        Raises Unreachable while the node or the API server does not answer; who is not ``patient`` any more gets
        what there is, with a remark.
        """
        await asyncio.shield(self._begin_to_finish(body, patient=patient))  # others may wait for the same

    def _begin_to_finish(self, body: Body, *, patient: bool) -> asyncio.Task[None]:
        task = self._finishing.get(body.attempt)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._finish(body, patient=patient))
            self._finishing[body.attempt] = task
            task.add_done_callback(heard)
            task.add_done_callback(lambda _: self._finishing.pop(body.attempt, None))
        return task

    async def _finish(self, body: Body, *, patient: bool) -> None:
        others = {strand.name for strand in _strands(body) if not strand.is_main}
        for name in (*sorted(others), OWN):  # once the own log is whole, all is
            copy = self._copy(body, name)
            if name == OWN and _is_unseen(body):
                copy.give_up(body.attempt)
            await copy.finish(patient=patient)
            if name != OWN:
                await self._drop(body.attempt, name)
        await asyncio.to_thread(keep, self._data, body.attempt, facts(body))
        await self._drop(body.attempt, OWN)

    async def abandon(self, attempt: AttemptId) -> None:
        """Close the copy of a log that nobody can go on with, marked."""
        await asyncio.to_thread(_abandon, copy_path(self._data, attempt))

    async def _drop(self, attempt: AttemptId, name: str) -> None:
        if (copy := self._copies.pop((attempt, name), None)) is not None:
            await copy.close()

    async def watch(self, bodies: Mapping[AttemptId, Body]) -> None:
        """Begin copies of what runs for long, drop those that nobody needs. Never returns but by being cancelled."""
        while True:
            await self._tidy()
            room = AUTOMATIC - len(self._copies)
            for body in _long_running(list(bodies.values())):
                if room > 0 and (body.attempt, OWN) not in self._copies:
                    self.follow(body)
                    room -= 1
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Stop, and leave every copy as it is: it can be gone on with."""
        for task in list(self._finishing.values()):
            task.cancel()
            await asyncio.wait([task])
        for copy in list(self._copies.values()):
            await copy.close()
        self._copies.clear()

    async def _tidy(self) -> None:
        """Drop what is not followed any more."""
        for key in [key for key, copy in self._copies.items() if copy.is_idle and key[0] not in self._finishing]:
            await self._drop(*key)

    def _copy(self, body: Body, name: str) -> Copy:
        key = body.attempt, name
        if key not in self._copies:
            path = copy_path(self._data, body.attempt, name)
            merged = name == OWN and body.kind is not None and not is_alone(body.kind)
            self._copies[key] = Copy(
                self._cluster,
                path,
                lambda: [
                    strand for strand in _strands(body) if (strand.is_main if name == OWN else strand.name == name)
                ],
                lambda: body.is_over,
                merged=merged,
                streams=self._streams,
            )
        return self._copies[key]


def copy_path(data: Path, attempt: AttemptId, name: str = OWN) -> Path:
    """Where the log of an attempt is kept, or of one container of it: ``<attempt>.worker-0+proxy.log``."""
    own = log_path(data, attempt)
    return own if name == OWN else own.with_name(f"{attempt}.{name.replace('/', '+')}.log")


def _abandon(path: Path) -> None:
    if part_path(path).exists():
        file = CopyFile(path, merged=False)
        file.remark("", GONE)
        file.settle()


def _is_unseen(body: Body) -> bool:
    """Whether it may have written and went before that was seen."""
    is_lost = body.over is not None and body.over.reason is Reason.LOST
    return is_lost and not any(strand.is_main for strand in _strands(body))


def _strands(body: Body) -> list[Strand]:
    if body.kind is None:
        return []
    return strands(body.attempt, body.kind, pods_of(body))


def _long_running(bodies: Iterable[Body]) -> Iterator[Body]:
    """Pods of a whole may be removed by their controller the moment that it is over, so they are not waited for."""
    now = time.time()
    for body in bodies:
        if body.is_over or body.kind is None or not isinstance(body.told, Runs):
            continue
        if not is_alone(body.kind) or now - body.told.at > LONG_S:
            yield body
