"""Copies of pods' logs on the server's disk, where they stay readable after the pods are gone.

A copy grows in ``<attempt>.log.part`` and becomes ``<attempt>.log`` when it is whole. A pod's log has no offsets, so
each reading begins at its start and what is held already is compared and skipped; where a node has rotated the log
away, the reading is joined where it overlaps, else the gap is marked. Source: reliability.md, F-38.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.replies import ApiFault, Missing, Refused
from odin.executors.logs import log_path
from odin.model.ids import AttemptId

GAP = b"\n[odin: the node has dropped a part of this log]\n"
JOINT = 4096  # as much of the end must be found again
RETRY_S = 1.0
log = logging.getLogger("odin.kubernetes")


class Rotated(Exception):
    """The log does not begin with what was read of it before."""


class LogCopies:
    """The copies below ``data``. Belongs to the driver's event loop."""

    def __init__(self, cluster: Cluster, data: Path) -> None:
        self._cluster = cluster
        self._data = data
        self._following: dict[AttemptId, asyncio.Task[None]] = {}
        self._turns: dict[AttemptId, asyncio.Lock] = {}

    def follow(self, body: Body) -> None:
        """Copy what the pod writes from now on, until it ends; may be repeated."""
        if body.attempt not in self._following and body.main_pod() is not None:
            task = asyncio.get_running_loop().create_task(self._follow(body))
            self._following[body.attempt] = task
            task.add_done_callback(lambda _: self._following.pop(body.attempt, None))

    async def finish(self, body: Body) -> None:
        """Have the whole log of an attempt that is over, on disk for good; nothing if it never wrote any.

        Raises Unreachable while the node or the API server does not answer.
        """
        path = log_path(self._data, body.attempt)
        async with self._turns.setdefault(body.attempt, asyncio.Lock()):
            if not path.exists() and (pod := body.main_pod()) is not None:
                try:
                    await self._read(body, pod["metadata"]["name"], follow=False)
                except (Missing, Refused) as fault:  # it never started, or its node has forgotten it
                    log.debug("no log of %s: %s", body.attempt, fault)
                part = part_path(path)
                if part.exists():
                    await asyncio.to_thread(_settle, part, path)
        self._turns.pop(body.attempt, None)

    def close(self) -> None:
        for task in self._following.values():
            task.cancel()

    async def _follow(self, body: Body) -> None:
        pod = body.main_pod()
        while pod is not None and not body.is_over:
            try:
                async with self._turns.setdefault(body.attempt, asyncio.Lock()):
                    await self._read(body, pod["metadata"]["name"], follow=True)
            except ApiFault as fault:
                log.debug("following the log of %s: %s", body.attempt, fault)
            await asyncio.sleep(RETRY_S)
            pod = body.main_pod()

    async def _read(self, body: Body, pod: str, *, follow: bool) -> None:
        attempt, container = body.attempt, body.kind.container if body.kind is not None else "task"
        part = part_path(log_path(self._data, attempt))
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            await _extend(part, self._cluster.log(pod, container, follow=follow))
        except Rotated:
            fresh = part.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            await _extend(fresh, self._cluster.log(pod, container))
            await asyncio.to_thread(_join, part, fresh)


def part_path(path: Path) -> Path:
    """Where a copy is while it grows."""
    return path.with_name(path.name + ".part")


async def _extend(part: Path, pieces: AsyncIterator[bytes]) -> None:
    """Append what the file does not have. Raises Rotated if the pieces do not begin with what it has."""
    with part.open("a+b", buffering=0) as file:
        held = file.seek(0, os.SEEK_END)
        at = 0
        async with aclosing(pieces) as pieces_:  # type: ignore[type-var]
            async for piece in pieces_:
                known = min(len(piece), held - at)
                if known and os.pread(file.fileno(), known, at) != piece[:known]:
                    raise Rotated
                at += known
                if known < len(piece):
                    _write_all(file.fileno(), piece[known:])
        if at < held:
            raise Rotated


def _join(part: Path, fresh: Path) -> None:
    """Append to the file what another has after the end of the first."""
    with part.open("a+b", buffering=0) as file, fresh.open("rb") as other:
        size = file.seek(0, os.SEEK_END)
        end = os.pread(file.fileno(), JOINT, max(0, size - JOINT))
        at = 0
        if os.fstat(other.fileno()).st_size:
            with mmap.mmap(other.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                found = whole.find(end)
                at = found + len(end) if found >= 0 else 0
        if not at:
            _write_all(file.fileno(), GAP)
        other.seek(at)
        while piece := other.read(1 << 20):
            _write_all(file.fileno(), piece)
    fresh.unlink()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _settle(part: Path, path: Path) -> None:
    """On the disk before anything else relies on it."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
