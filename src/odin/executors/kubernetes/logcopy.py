"""One copy of a log: who writes to it, one reader for each run of a container, and its completion.

Source: reliability.md, F-38.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.conditions import part
from odin.executors.kubernetes.copyfile import CopyFile, pieces
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.readings import Held, Join, Reading, Rotated
from odin.executors.kubernetes.replies import ApiFault, Missing, Refused, Unreachable
from odin.executors.kubernetes.strands import Strand

LOOK_S = 0.5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
FORGOTTEN_S = 15.0  # a pod that its node does not know for so long is not coming back
SURE_BYTES = 64 << 10  # a reading that adds more may have been cut off unsaid, and is made again
DROPPED = "the node has dropped a part of this log"
DOUBTFUL = "the node has dropped a part of this log, or some lines after this are here twice"
GONE = "the pod was gone before the end of this log was read"
SILENT = "the rest of this log could not be read"
log = logging.getLogger("odin.kubernetes")


class Streams:
    """How many logs may be followed at once."""

    def __init__(self, most: int) -> None:
        self.left = most


class Copy:
    """A copy of what ``strands`` tells, until ``is_over`` says that no more will come.

    ``caught_up`` is set once what was written before the call of ``follow`` is copied, or could not be; ``fault``
    says why then. Belongs to an event loop.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: Path,
        strands: Callable[[], list[Strand]],
        is_over: Callable[[], bool],
        *,
        merged: bool,
        streams: Streams,
    ) -> None:
        self.caught_up = asyncio.Event()
        self.fault = ""
        self._cluster = cluster
        self._file = CopyFile(path, merged=merged)
        self._strands = strands
        self._is_over = is_over
        self._streams = streams
        self._held: dict[tuple[str, str, int], Held] = {}
        self._found: asyncio.Task[dict[str, Held]] | None = None  # in the file of a server before this one
        self._missing: dict[tuple[str, str, int], float] = {}
        self._looked: set[tuple[str, str, int]] = set()
        self._complete: set[tuple[str, str, int]] = set()
        self._readers: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._is_finishing = False

    @property
    def is_idle(self) -> bool:
        return self._following is None and not self._is_finishing

    def follow(self) -> None:
        """Begin, if it has not begun."""
        if self.is_idle and not self._file.is_whole:
            self._following = asyncio.get_running_loop().create_task(self._follow())
            self._following.add_done_callback(heard)

    async def finish(self, *, patient: bool) -> None:
        """Complete it, by one at a time. Raises Unreachable."""
        self._is_finishing = True
        try:
            if not self._file.is_whole:
                await self._finish(patient=patient)
        finally:
            self._is_finishing = False

    def give_up(self, name: str) -> None:
        """Mark that what ``name`` wrote, if anything, was never read."""
        if not self._file.is_whole:
            self._file.remark(name, GONE)

    async def close(self) -> None:
        """Stop, and leave it as it is."""
        await self._stop_following()
        self._file.close()

    # While it runs

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while not self._is_over():
                for strand in self._next():
                    reader = self._readers[strand.key] = loop.create_task(self._read_on(strand))
                    reader.add_done_callback(heard)
                self._tell_caught_up()
                await asyncio.sleep(LOOK_S)
        finally:
            self.caught_up.set()
            for reader in self._readers.values():
                reader.cancel()
            self._readers.clear()
            self._following = None

    def _next(self) -> list[Strand]:
        """Whom nobody reads yet. The runs of one pod come one after the other."""
        found = [strand for strand in self._strands() if strand.key not in self._readers]
        if self._file.is_merged or all(reader.done() for reader in self._readers.values()):
            return found if self._file.is_merged else found[:1]
        return []

    async def _stop_following(self) -> None:
        for task in (*self._readers.values(), *([self._following] if self._following else [])):
            task.cancel()
            await asyncio.wait([task])

    async def _read_on(self, strand: Strand) -> None:
        """Follow one run of a container to its end."""
        pause_s, follow = 0.0, False
        while True:
            await asyncio.sleep(pause_s)
            now = next((each for each in self._strands() if each.key == strand.key), strand)
            try:
                if now.is_over:
                    await self._end_one(now, patient=True)
                    return
                await (self._stream(now) if follow else self._read_whole(now))
                pause_s = FIRST_PAUSE_S if follow else 0.0
                follow, self.fault = True, ""
            except Rotated:
                follow = False
            except (ApiFault, OSError) as fault:
                self.fault = str(fault)
                log.debug("the log of %s: %s", strand.pod, fault)
                pause_s = min(2 * pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            finally:
                self._looked.add(strand.key)
                self._tell_caught_up()

    def _tell_caught_up(self) -> None:
        if all(strand.key in self._looked for strand in self._strands()):
            self.caught_up.set()

    # When it is over

    async def _finish(self, *, patient: bool) -> None:
        await self._stop_following()
        try:
            for strand in self._strands():
                if strand.key not in self._complete:
                    await self._end_one(strand, patient=patient)
            await asyncio.to_thread(self._file.settle)
        except OSError as error:
            log.warning("the log %s cannot be written: %s", self._file.path.name, error.strerror)
            if patient:
                raise Unreachable(f"the log cannot be written: {error.strerror}") from error

    async def _end_one(self, strand: Strand, *, patient: bool) -> None:
        """Complete it, or mark that this cannot be."""
        try:
            await self._complete_one(strand)
        except Refused as fault:  # its container was removed from the node
            log.debug("no log of %s: %s", strand.pod, fault)
            await self._remark(strand, GONE)
        except Missing as fault:
            if patient and not await self._is_gone(strand):
                raise Unreachable(f"its node does not know the pod: {fault}") from fault
            await self._remark(strand, GONE)
        except ApiFault as fault:
            if patient:
                raise
            await self._remark(strand, f"{SILENT}: {fault}")

    async def _is_gone(self, strand: Strand) -> bool:
        """Whether no node will know the pod again; one that was started anew does not for a moment."""
        since = self._missing.setdefault(strand.key, time.monotonic())
        if time.monotonic() - since >= FORGOTTEN_S:
            return True
        try:
            there = await self._cluster.get(PODS, strand.pod)
        except Missing:
            return True
        return part(there, "metadata").get("uid") != strand.uid

    async def _remark(self, strand: Strand, said: str) -> None:
        await self._of(strand)
        self._file.remark(strand.name, said)
        self._complete.add(strand.key)

    async def _complete_one(self, strand: Strand) -> None:
        """Read until nothing new comes: an answer that is cut off in the middle looks as one that is whole."""
        while await self._read_whole(strand) > SURE_BYTES:
            pass
        self._complete.add(strand.key)

    # Reading

    async def _read_whole(self, strand: Strand) -> int:
        """What there is now; how many bytes of it were new."""
        try:
            return await self._pass(strand, follow=False)
        except Rotated:
            return await self._join(strand)

    async def _stream(self, strand: Strand) -> None:
        if self._streams.left <= 0:
            await asyncio.sleep(LONGEST_PAUSE_S)
            await self._read_whole(strand)
            return
        self._streams.left -= 1
        try:
            await self._pass(strand, follow=True)
        finally:
            self._streams.left += 1

    async def _pass(self, strand: Strand, *, follow: bool) -> int:
        held = await self._of(strand)
        reading, before = Reading(held), held.size
        async with aclosing(self._log(strand, follow=follow)) as told:
            async for piece in told:
                self._add(strand, held, reading.new(piece))
        reading.end()
        self._file.begin()
        return held.size - before

    async def _join(self, strand: Strand) -> int:
        """Read a log that was rotated, and append what it has after the end of what is held."""
        held = await self._of(strand)
        join, before = Join(held.tail), held.size
        fresh = self._file.part.with_name(f"{self._file.part.name}.{strand.uid}.new")
        try:
            with fresh.open("wb", buffering=0) as file:
                async with aclosing(self._log(strand, follow=False)) as told:
                    async for piece in told:
                        file.write(piece)
                        join.take(piece)
            if len(join.ends) != 1 and held.size:
                self._file.remark(strand.name, DOUBTFUL if join.ends else DROPPED)
            at = join.ends[0] if join.ends else 0
            for piece in pieces(fresh, at):
                self._add(strand, held, piece)
                await asyncio.sleep(0)
        finally:
            fresh.unlink(missing_ok=True)
        self._held[strand.key] = join.held
        return held.size - before

    def _add(self, strand: Strand, held: Held, data: bytes) -> None:
        """Written at once and not in a thread: nobody can be cancelled between the writing and the noting of it."""
        if data:
            self._file.append(strand.name, data)
            held.take(data)

    def _log(self, strand: Strand, *, follow: bool) -> AsyncGenerator[bytes]:
        return self._cluster.log(strand.pod, strand.container, follow=follow, previous=strand.is_previous)

    async def _of(self, strand: Strand) -> Held:
        """What the copy has of this run."""
        if strand.key not in self._held:
            if self._found is None:
                self._found = asyncio.get_running_loop().create_task(asyncio.to_thread(self._file.recover))
            found = await asyncio.shield(self._found)
            known = found.pop(strand.name if self._file.is_merged else "", None)
            if known is None and self._held and not self._file.is_merged:
                self._file.remark(strand.name, f"from here on {strand.pod}, run {strand.run + 1}")
            self._held.setdefault(strand.key, known or Held())
        return self._held[strand.key]


def heard(task: asyncio.Task[None]) -> None:
    """What nobody waits for any more is said here, if it is no fault of the cluster."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ApiFault):
        log.error("the copy of a log failed", exc_info=error)
