"""The engine broken on purpose, one promise at a time: the simulator must find each. A list, to be added to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from odin.engine.turns import Turns
from odin.model import retries
from odin.model import step as steps
from odin.model.admission import Pool
from odin.model.reports import Absent, Back, Ended, Reason
from odin.model.states import TaskStatus
from odin.model.world import World

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """``about`` is what the engine does wrong; ``apply`` makes it so until the patch is undone."""

    about: str
    apply: Patch


MUTATIONS: dict[str, Mutation] = {}


def mutation(apply: Patch) -> Patch:
    """Put a patch on the list, under its name and with its docstring."""
    MUTATIONS[apply.__name__] = Mutation(str(apply.__doc__), apply)
    return apply


def _before(patch: pytest.MonkeyPatch, name: str, act: Callable[..., Any]) -> None:
    """``Turns.<name>`` does something first."""
    original = getattr(Turns, name)

    def changed(self: Turns, *words: Any) -> Any:
        act(self, *words)
        return original(self, *words)

    patch.setattr(Turns, name, changed)


@mutation
def launches_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """What is due is handed over before the commit that makes it so."""
    _before(patch, "_write", lambda turns, changes: turns._hand_over(turns.world.due))


@mutation
def answers_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """People are told that it is done before it is."""
    _before(patch, "_write", lambda turns, changes: turns._answer(set()))


@mutation
def acknowledges_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """The place may let go of an end as soon as it is heard."""

    def acknowledge(turns: Turns) -> None:
        turns._reports.extend(turns._place.reports())
        turns._place.acknowledge([each.attempt for each in turns._reports if isinstance(each, Ended)])

    _before(patch, "_take_reports", acknowledge)


@mutation
def forgets_the_fence(patch: pytest.MonkeyPatch) -> None:
    """What a commit left out, because another server has it now, is taken for written."""
    original = Turns._write

    def write(self: Turns, changes: Any) -> set[Any]:
        original(self, changes)
        return set()

    patch.setattr(Turns, "_write", write)


@mutation
def counts_a_lost_attempt_as_success(patch: pytest.MonkeyPatch) -> None:
    """An attempt whose end nobody saw has surely done its work."""
    original = steps._conclude

    def conclude(world: Any, pipeline: Any, task: Any, attempt: Any, now: float) -> None:
        if attempt.reason is not Reason.LOST:
            original(world, pipeline, task, attempt, now)
            return
        steps._settle(world, pipeline, task, TaskStatus.EXECUTED, None, now)
        steps._release_children(world, pipeline, task, now)

    patch.setattr(steps, "_conclude", conclude)


@mutation
def drops_an_absent(patch: pytest.MonkeyPatch) -> None:
    """The place says that it never heard of an attempt, and nobody listens."""
    patch.setitem(steps._HANDLERS, Absent, lambda world, event, now: None)


@mutation
def starts_after_the_first_parent(patch: pytest.MonkeyPatch) -> None:
    """A task starts when one of its parents is done, not all."""

    def release(world: Any, pipeline: Any, task: Any, now: float) -> None:
        for idx in pipeline.children[task.idx]:
            child = pipeline.tasks[idx]
            child.unmet = 0
            if child.verdict is None and child.attempt is None and not child.ticket and not child.number:
                world.offer(pipeline, child, now)

    patch.setattr(steps, "_release_children", release)


@mutation
def ignores_the_stop_of_a_pipeline(patch: pytest.MonkeyPatch) -> None:
    """What fails is tried again although the pipeline stops."""
    original = steps._retry

    def retry(world: Any, pipeline: Any, *words: Any) -> bool:
        halted, pipeline.halted = pipeline.halted, False
        try:
            return original(world, pipeline, *words)
        finally:
            pipeline.halted = halted

    patch.setattr(steps, "_retry", retry)


@mutation
def launches_what_must_stop(patch: pytest.MonkeyPatch) -> None:
    """An attempt that is absent is launched although it was told to stop."""

    def absent(world: Any, event: Absent, now: float) -> None:
        if event.attempt in world.open:
            pipeline, task, attempt = world.open[event.attempt]
            attempt.stop = None
            world.due.launch.append((pipeline, task, attempt))

    patch.setitem(steps._HANDLERS, Absent, absent)


@mutation
def retries_beyond_the_budget(patch: pytest.MonkeyPatch) -> None:
    """Once more cannot hurt."""
    patch.setattr(
        retries, "allowed", lambda spec, reason, spent: retries.CAUSES.get(reason) if len(spent) < 9 else None
    )


@mutation
def gives_back_twice(patch: pytest.MonkeyPatch) -> None:
    """The CPUs of a task that is over are counted as free twice."""
    original = Pool.give_back

    def give_back(self: Pool, spec: Any, cards: Any) -> None:
        original(self, spec, ())
        original(self, spec, cards)

    patch.setattr(Pool, "give_back", give_back)


@mutation
def forgets_open_attempts_at_a_start(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks what became of the attempts that were open when the server died."""
    original = World._adopt_task

    def adopt(self: World, pipeline: Any, task: Any, *words: Any) -> None:
        if task.attempt is None:
            original(self, pipeline, task, *words)

    patch.setattr(World, "_adopt_task", adopt)


@mutation
def asks_nothing_when_the_place_is_back(patch: pytest.MonkeyPatch) -> None:
    """What was handed over before a connection broke has surely arrived."""
    original = steps._back

    def back(world: Any, event: Back, now: float) -> None:
        original(world, event, now)
        world.due.recall.clear()

    patch.setitem(steps._HANDLERS, Back, back)


@mutation
def applies_an_end_twice(patch: pytest.MonkeyPatch) -> None:
    """A second report of the same end moves the task once more."""
    original = steps._ended

    def ended(world: Any, event: Ended, now: float) -> None:
        found = world.open.get(event.attempt)
        original(world, event, now)
        if found is not None and found[0].outcome is None:
            world.open[event.attempt] = found

    patch.setitem(steps._HANDLERS, Ended, ended)


@mutation
def leaves_alone_what_it_took_over(patch: pytest.MonkeyPatch) -> None:
    """A pipeline of a server that died is read, and then waits for something to happen."""

    def reload(self: Turns, ids: Any) -> None:
        for identity in ids:
            self.world.drop(identity)
        for found in self._store.load(ids):
            self.world.adopt(found)

    patch.setattr(Turns, "_reload", reload)


@mutation
def forgets_what_could_not_be_written(patch: pytest.MonkeyPatch) -> None:
    """A commit that the store refuses for now is not repeated."""
    original = Turns._put_off

    def put_off(self: Turns, error: Any) -> None:
        original(self, error)
        self.world.take_changes()

    patch.setattr(Turns, "_put_off", put_off)


@mutation
def believes_a_database_that_was_put_back(patch: pytest.MonkeyPatch) -> None:
    """The place knows a later owner than the rows do, and nobody draws a conclusion."""
    patch.setattr(Turns, "_overtake", lambda self: None)
