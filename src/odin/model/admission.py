"""Who may start next on a place with so many CPUs and GPUs.

Tasks that ask for the same wait in one queue; within it pipelines take turns, so that a large one does not hold up
the others. The queue whose head waits longest goes first; a smaller task may pass a larger one that does not fit,
but only ``MOST_PASSES`` times, then the place is kept until the larger one fits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from odin.model.ids import PipelineId
from odin.model.job import TaskSpec

DEFAULT_CPU_M = 1000
MOST_PASSES = 64


class Shape(NamedTuple):
    """What a task asks of the place: thousandths of CPUs, GPUs."""

    cpu_m: int
    gpus: int


class Entry(NamedTuple):
    ticket: int
    idx: int


@dataclass(slots=True)
class Queue:
    """Tasks of one shape, by pipeline, the next pipeline first."""

    turns: OrderedDict[PipelineId, deque[Entry]] = field(default_factory=OrderedDict)
    passed: int = 0

    def add(self, pipeline: PipelineId, entry: Entry) -> None:
        self.turns.setdefault(pipeline, deque()).append(entry)

    def head(self) -> tuple[PipelineId, Entry] | None:
        for pipeline, entries in self.turns.items():
            return pipeline, entries[0]
        return None

    def pop(self, *, turn_over: bool) -> None:
        """Take the head away; ``turn_over`` lets the next pipeline have its turn."""
        pipeline, entries = next(iter(self.turns.items()))
        entries.popleft()
        if not entries:
            del self.turns[pipeline]
        elif turn_over:
            self.turns.move_to_end(pipeline)


def shape(spec: TaskSpec, cpu_m: int | None) -> Shape:
    """What a task takes of a place: one CPU if it does not say, and never more CPUs than there are."""
    if cpu_m is None:
        return Shape(0, 0)
    wanted = DEFAULT_CPU_M if spec.cpu_m is None else spec.cpu_m
    return Shape(min(wanted, cpu_m), spec.num_gpus)


Wanted = Callable[[PipelineId, int, int], bool]


class Pool:
    """The place's CPUs and GPUs, and the tasks that wait for them. ``cpu_m`` None stands for no limit."""

    def __init__(self, cpu_m: int | None, cards: tuple[str, ...] = ()) -> None:
        self.cpu_m = cpu_m
        self.cards = cards
        self._free_cpu_m = cpu_m or 0
        self._free_cards = list(cards)
        self._queues: dict[Shape, Queue] = {}
        self._ticket = 0

    def resize(self, cpu_m: int | None, cards: tuple[str, ...]) -> None:
        """The place has been looked at again; what is taken stays taken."""
        taken = {card for card in self.cards if card not in self._free_cards}
        self._free_cpu_m += (cpu_m or 0) - (self.cpu_m or 0)
        self.cpu_m, self.cards = cpu_m, cards
        self._free_cards = [card for card in cards if card not in taken]

    def lacks(self, spec: TaskSpec) -> str | None:
        """What the place can never give to this task, in words; None if it can run here."""
        if self.cpu_m is None:
            return None
        if spec.num_gpus > len(self.cards):
            return f"it asks for {spec.num_gpus} GPUs and this machine has {len(self.cards)}"
        if (spec.cpu_m or 0) > self.cpu_m:
            return f"it asks for {(spec.cpu_m or 0) / 1000:g} CPUs and this machine has {self.cpu_m / 1000:g}"
        return None

    def offer(self, pipeline: PipelineId, idx: int, spec: TaskSpec) -> int:
        """Queue a task; the ticket returned makes every earlier entry of the same task void."""
        self._ticket += 1
        wanted = shape(spec, self.cpu_m)
        if wanted not in self._queues:
            self._queues[wanted] = Queue()
        self._queues[wanted].add(pipeline, Entry(self._ticket, idx))
        return self._ticket

    def take(self, spec: TaskSpec, cards: tuple[str, ...]) -> None:
        """Count what a task that already runs has."""
        self._free_cpu_m -= shape(spec, self.cpu_m).cpu_m
        self._free_cards = [card for card in self._free_cards if card not in cards]

    def give_back(self, spec: TaskSpec, cards: tuple[str, ...]) -> None:
        """A task is over; what it had is free again."""
        self._free_cpu_m += shape(spec, self.cpu_m).cpu_m
        self._free_cards.extend(card for card in self.cards if card in cards and card not in self._free_cards)

    def exchange(self, cards: tuple[str, ...], others: tuple[str, ...]) -> None:
        """A task was given other GPUs than these: somebody else had them."""
        self._free_cards.extend(card for card in self.cards if card in cards and card not in self._free_cards)
        self._free_cards = [card for card in self._free_cards if card not in others]

    def admit(self, wanted: Wanted) -> Iterator[tuple[PipelineId, int, tuple[str, ...]]]:
        """Give what is free to those whose turn it is: pipeline, task and the GPUs given.

        ``wanted`` tells whether an entry (pipeline, task, ticket) still stands.
        """
        while (found := self._next(wanted)) is not None:
            shape, queue = found
            head = queue.head()
            if head is None:
                return
            cards = tuple(self._free_cards[: shape.gpus])
            self._free_cards = self._free_cards[shape.gpus :]
            self._free_cpu_m -= shape.cpu_m
            queue.pop(turn_over=True)
            yield head[0], head[1].idx, cards

    def _next(self, wanted: Wanted) -> tuple[Shape, Queue] | None:
        heads = sorted(self._heads(wanted), key=lambda head: head[0])
        passed: list[Queue] = []
        for _, shape, queue in heads:
            if self._fits(shape):
                queue.passed = 0
                for each in passed:
                    each.passed += 1
                return shape, queue
            if queue.passed >= MOST_PASSES:
                return None
            passed.append(queue)
        return None

    def _heads(self, wanted: Wanted) -> Iterator[tuple[int, Shape, Queue]]:
        for shape, queue in list(self._queues.items()):
            while (head := queue.head()) is not None and not wanted(head[0], head[1].idx, head[1].ticket):
                queue.pop(turn_over=False)
            if head is None:
                del self._queues[shape]
            else:
                yield head[1].ticket, shape, queue

    def _fits(self, shape: Shape) -> bool:
        enough_cpu = self.cpu_m is None or shape.cpu_m <= self._free_cpu_m
        return enough_cpu and shape.gpus <= len(self._free_cards)
