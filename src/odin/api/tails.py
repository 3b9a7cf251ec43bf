"""Tails: one reader for each followed log, however many follow it.

The reader looks for more at the end of the log and keeps the last 256 KiB of what it found. Followers are cursors,
byte offsets: at the end they share what the reader has, further back they read the log themselves, 64 KiB at a
time. So nothing is lost, whoever is slow holds nobody up, and memory is bounded. How far the tasks are is read once
for each pipeline, whatever the number of its followed logs. For HTTP streams and WebSockets alike:

    found = await tails.find(task_or_attempt_id)            # None where there is no such task
    follower = tails.follow(found, number, offset=0)
    async with aclosing(follower.pieces()) as pieces:
        async for piece in pieces: ...                      # ends with the attempt

Source: api.md, "Resources"; reliability.md, F-71, F-72.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from odin.api.pulse import Pulse
from odin.api.tail import LONGEST_WAIT_S, Tail
from odin.engine.feed import Feed
from odin.model.errors import NotFound
from odin.model.ids import AttemptId, TaskId, attempt_id, split_resource
from odin.model.states import FINAL, AttemptState
from odin.store.queries import Progress, Queries

if TYPE_CHECKING:
    from odin.executors.protocol import Logs

WAIT_EACH_S = 0.002  # so that 500 looks a second at quiet logs are enough, whatever their number


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of a log the last ``lines``, or all from the byte ``offset``; of one ``container`` alone if it is named."""

    lines: int | None = None
    offset: int | None = None
    container: str | None = None


class Follower:
    """Follows one attempt from before its start to its end: the one named, else the newest when it began.

    ``attempt`` is its number and ``start`` the byte that the pieces begin with; both are known from the first one on.
    """

    def __init__(self, tails: Tails, task: Progress, number: int | None, wanted: Wanted) -> None:
        self.attempt = number or 0
        self.start = wanted.offset or 0
        self._tails = tails
        self._task = task
        self._number = number
        self._wanted = wanted

    async def pieces(self) -> AsyncGenerator[bytes]:
        task = self._task
        with self._tails.pulse(split_resource(task.id)[0], task.idx) as pulse:
            begun = await _begun(pulse, task.idx, self._number)
            if begun is None:
                return
            self.attempt = begun
            with self._tails.tail(pulse, task, begun, self._wanted.container) as tail:
                if self._wanted.lines is not None:
                    with suppress(NotFound):  # it has not written yet
                        self.start = await tail.start_of_lines(self._wanted.lines)
                async with aclosing(tail.follow(self.start)) as pieces:
                    async for piece in pieces:
                        yield piece


class Tails:
    """All followed logs of a server. Used from the event loop only."""

    def __init__(self, logs: Logs, queries: Queries, feed: Feed) -> None:
        self._logs = logs
        self._queries = queries
        self._feed = feed
        self._pulses: dict[str, Pulse] = {}
        self._tails: dict[tuple[AttemptId, str | None], Tail] = {}

    async def find(self, resource: str) -> Progress | None:
        """The task of a task's or an attempt's id."""
        pipeline, name, _ = split_resource(resource)
        found = await run_sync(self._queries.progress, pipeline, name or "")
        return next(iter(found.values()), None)

    def follow(
        self,
        task: Progress,
        number: int | None = None,
        *,
        lines: int | None = None,
        offset: int | None = None,
        container: str | None = None,
    ) -> Follower:
        """Whoever follows a task's log, or one container's, from the last ``lines``, or from the byte ``offset``."""
        return Follower(self, task, number, Wanted(lines, offset, container))

    @contextmanager
    def pulse(self, pipeline: str, idx: int) -> Iterator[Pulse]:
        """How far the tasks of a pipeline are, this one among them."""
        pulse = self._pulses.get(pipeline)
        if pulse is None:
            pulse = self._pulses[pipeline] = Pulse(pipeline, self._queries, self._feed)
        pulse.wanted[idx] += 1
        try:
            yield pulse
        finally:
            pulse.wanted[idx] -= 1
            pulse.wanted += {}  # without those that nobody wants
            if not pulse.wanted:
                del self._pulses[pipeline]
                pulse.close()

    @contextmanager
    def tail(self, pulse: Pulse, task: Progress, number: int, container: str | None = None) -> Iterator[Tail]:
        """The tail of an attempt, or of one container of it, read as long as somebody is here."""
        name = attempt_id(TaskId(task.id), number)
        tail = self._tails.get((name, container))
        if tail is None:
            tail = self._tails[name, container] = Tail(self._logs.of(container), name)
            tail.begin(partial(_ended, pulse, task.idx, number))
        tail.longest_wait_s = max(LONGEST_WAIT_S, WAIT_EACH_S * len(self._tails))
        tail.followers += 1
        try:
            yield tail
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[name, container]
                tail.close()


async def _begun(pulse: Pulse, idx: int, number: int | None) -> int | None:
    """The number of the attempt once it has begun; None if the task is over, or gone, without one."""
    found = await pulse.first(idx)
    while found is not None:
        wanted = [(each, state) for each, state in found.attempts if number in (None, each)]
        if wanted and wanted[-1][1] != AttemptState.PLANNED:
            return wanted[-1][0]
        if found.status in FINAL:
            return None
        found = await pulse.next(idx)
    return None


async def _ended(pulse: Pulse, idx: int, number: int) -> None:
    """Returns once an attempt is over, or gone."""
    found = await pulse.first(idx)
    while found is not None and (number, AttemptState.ENDED) not in found.attempts:
        found = await pulse.next(idx)
