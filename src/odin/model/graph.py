"""The order that dependencies make: who waits for whom, and what is wrong with it.

Nothing here recurses: chains may be 100,000 tasks deep. Tasks are known by their index in the file's order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from odin.model.names import nearest, shown

_MOST_COMPARISONS: Final = 50_000  # so that a large job with many unknown names is refused in time
_LONGEST_CYCLE: Final = 20  # tasks of a cycle that a message names


class Linked(Protocol):
    """What a task is to the graph."""

    @property
    def name(self) -> str: ...
    @property
    def depends(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with task ``task``, in its ``depend``-th dependency or, where that is None, in its name."""

    message: str
    task: int
    depend: int | None = None


def dependents(tasks: Sequence[Linked]) -> tuple[tuple[int, ...], ...]:
    """For each task the ascending indexes of those that wait for it; the names must have been checked."""
    index = {task.name: i for i, task in enumerate(tasks)}
    waiting: list[list[int]] = [[] for _ in tasks]
    for i, task in enumerate(tasks):
        for name in task.depends:
            waiting[index[name]].append(i)
    return tuple(tuple(indexes) for indexes in waiting)


def order(tasks: Sequence[Linked]) -> tuple[int, ...]:
    """Indexes such that each task follows those it waits for, otherwise as in the file; without those in cycles."""
    waiting = dependents(tasks)
    open_ = [len(task.depends) for task in tasks]
    return tuple(_peel(open_, waiting))


def faults(tasks: Sequence[Linked]) -> list[Fault]:
    """Everything wrong, by task: names given twice, unknown names, tasks that wait for themselves, cycles."""
    first: dict[str, int] = {}
    found: list[Fault] = []
    for i, task in enumerate(tasks):
        if first.setdefault(task.name, i) != i:
            found.append(Fault(f"a second task is called {shown(task.name)}; choose another name", i))
    edges = _Edges(first, found)
    ahead = [edges.of(i, task) for i, task in enumerate(tasks)]
    found += [_cycle_fault(tasks, cycle) for cycle in _cycles(ahead)]
    return sorted(found, key=lambda fault: (fault.task, -1 if fault.depend is None else fault.depend))


class _Edges:
    """Turns names into indexes, noting what is wrong with them."""

    def __init__(self, index: dict[str, int], found: list[Fault]) -> None:
        self._index = index
        self._found = found
        self._compared = 0

    def of(self, i: int, task: Linked) -> list[int]:
        ahead: list[int] = []
        for k, name in enumerate(task.depends):
            other = self._index.get(name)
            if name == task.name:
                self._found.append(Fault(f"task {shown(name)} depends on itself; leave that out", i, k))
            elif other is None:
                self._found.append(Fault(self._unknown(task.name, name), i, k))
            else:
                ahead.append(other)
        return ahead

    def _unknown(self, task: str, name: str) -> str:
        said = f"task {shown(task)} depends on {shown(name)}"
        self._compared += len(self._index)
        near: tuple[str, ...] = ()
        if self._compared <= max(_MOST_COMPARISONS, len(self._index)):
            near = nearest(name, self._index, limit=2)
        remedy = f"did you mean {' or '.join(map(shown, near))}?" if near else "no task has that name"
        return f"{said}; {remedy}"


def _cycle_fault(tasks: Sequence[Linked], cycle: list[int]) -> Fault:
    names = [tasks[i].name for i in cycle]
    parts = [*names, names[0]]
    if len(names) > _LONGEST_CYCLE:
        parts = [*names[: _LONGEST_CYCLE - 1], f"… {len(names) - _LONGEST_CYCLE} more …", names[-1], names[0]]
    message = f"tasks depend on one another in a circle: {' -> '.join(parts)}; remove one of these dependencies"
    return Fault(message, cycle[0], list(tasks[cycle[0]].depends).index(names[1]))


def _peel(open_: list[int], waiting: Sequence[Sequence[int]]) -> Iterator[int]:
    """Indexes with nothing open, then those that this frees, in rounds of the file's order; uses up ``open_``."""
    ready = [i for i, count in enumerate(open_) if count == 0]
    while ready:
        freed: list[int] = []
        for i in ready:
            yield i
            for other in waiting[i]:
                open_[other] -= 1
                if open_[other] == 0:
                    freed.append(other)
        ready = sorted(freed)


def _turned(ahead: Sequence[Sequence[int]]) -> list[list[int]]:
    behind: list[list[int]] = [[] for _ in ahead]
    for i, others in enumerate(ahead):
        for other in others:
            behind[other].append(i)
    return behind


def _cycles(ahead: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """One cycle of each knot (strongly connected component), beginning with the knot's first task in the file.

    Kosaraju's two walks, over what is left once everything outside cycles has been peeled off.
    """
    left = set(range(len(ahead))) - set(_peel([len(others) for others in ahead], _turned(ahead)))
    if not left:
        return
    behind = _turned(ahead)
    for start in reversed(_finished(ahead, left)):
        knot = _reach(start, behind, left) if start in left else set()
        left -= knot
        if len(knot) > 1:
            yield _cycle(ahead, knot)


def _finished(ahead: Sequence[Sequence[int]], left: set[int]) -> list[int]:
    """The indexes of ``left`` in the order in which a depth-first walk leaves them."""
    done: list[int] = []
    seen: set[int] = set()
    for root in sorted(left):
        stack = [(root, iter(ahead[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            at, others = stack[-1]
            following = next((other for other in others if other in left and other not in seen), None)
            if following is None:
                done.append(at)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(ahead[following])))
    return done


def _reach(start: int, ways: Sequence[Sequence[int]], within: set[int]) -> set[int]:
    reached = {start}
    stack = [start]
    while stack:
        for other in ways[stack.pop()]:
            if other in within and other not in reached:
                reached.add(other)
                stack.append(other)
    return reached


def _cycle(ahead: Sequence[Sequence[int]], knot: set[int]) -> list[int]:
    """The shortest way from the knot's first task back to it."""
    start = min(knot)
    came_from: dict[int, int] = {}
    level = [start]
    while start not in came_from:
        following = []
        for at in level:
            for other in ahead[at]:
                if other in knot and other not in came_from:
                    came_from[other] = at
                    following.append(other)
        level = following
    way = [came_from[start]]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
