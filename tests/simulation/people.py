"""Those who ask: they submit, ask again when no answer comes, cancel, clean up, and run again."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import TYPE_CHECKING

from odin.model.commands import Halt, Submit
from odin.model.errors import Conflict, OdinError
from odin.model.ids import JobPath, PipelineId, Sha, pipeline_id
from odin.model.resume import Action, Choice, Former, plan
from odin.model.states import Stop, TaskStatus
from odin.model.world import Attempt, Kept, Submission
from odin.store.idempotency import Answer, Idempotency
from simulation import orders
from simulation.memory import ATTEMPT, TASK, Row, fill

if TYPE_CHECKING:
    from simulation.fleet import Mate
    from simulation.schedule import Schedule
    from simulation.server import Server

SHA = Sha("a" * 40)


WISHES = (
    ("cancel",),
    ("cancel", "cancel", "repeat"),
    ("cleanup",),
    ("repeat", "cancel", "cleanup"),
    ("resume",),
    ("cancel", "resume"),
)


class Person:
    """One who wants one pipeline, and does not give up. ``done`` once nothing more will be asked."""

    def __init__(self, schedule: Schedule, number: int, former: Row | None = None) -> None:
        """``former`` is a pipeline that is over, to go on from."""
        self._schedule = schedule
        self._random = schedule.rng.random
        self._key = Idempotency(1, "launch", f"key-{number}", "")
        self._former = former
        self._job = orders.job(int(orders.JOBS * self._random()) if former is None else int(former.submission.name[1:]))
        self._tries = 0
        self._wishes = self._wish()
        self._server: Server | None = None
        self.pipeline: PipelineId | None = None
        self.done = False

    def _wish(self) -> tuple[str, ...]:
        """What follows the submission, in order."""
        chance = self._random()
        if chance < 0.6:
            return ()
        return WISHES[int(len(WISHES) * (chance - 0.6) / 0.4)]

    def act(self) -> None:
        """The next thing, if there is a server to ask."""
        self._server = self._schedule.any_server()
        if self._server is None or self._schedule.store_is_away:
            self._later(1.0)
        elif self.pipeline is None:
            self._submit()
        elif not self._wishes:
            self.done = True
        else:
            getattr(self, f"_{self._wishes[0]}")(self.pipeline)

    def _later(self, most_s: float) -> None:
        self._schedule.after(most_s * self._random(), self.act)

    def _next(self) -> None:
        self._wishes = self._wishes[1:]
        self._later((0.01, 1.0, 40.0)[int(3 * self._random())])

    # --- submitting

    def _submit(self) -> None:
        kept = self._schedule.memory.answers.get(self._key.key)
        if kept is not None:
            self._accepted(PipelineId(json.loads(kept)))
            return
        self._tries += 1
        submission = self._submission(self._name())
        self._schedule.note("submit", submission.id, len(submission.tasks))
        self._schedule.judge.asked(self._key.key, submission)
        assert self._server is not None
        self._server.ask(
            Submit(submission),
            lambda done: self._submitted(submission.id, done),
            (self._key, Answer(200, json.dumps(submission.id))),
        )

    def _name(self) -> PipelineId:
        """Hardly ever an id that is taken already."""
        taken = self._schedule.memory.rows
        if taken and self._schedule.collides and self._random() < 0.5:
            return next(iter(taken))
        return pipeline_id(self._job.name, f"{self._key.key[4:]:0>4}{self._tries:04d}")

    def _submission(self, identity: PipelineId) -> Submission:
        assert self._server is not None
        return Submission(
            id=identity,
            name=self._job.name,
            job=JobPath(self._job.name),
            version=SHA,
            username="ada",
            user_uid=1,
            tasks=self._job.tasks,
            submitted_at=self._server.clock.now(),
            on_failure=self._job.on_failure,
            timeout_s=self._job.timeout_s,
            built=self._random() < 0.7,
            rerun_of=self._former.submission.id if self._former is not None else None,
            kept=kept(self._former, self._job) if self._former is not None else {},
        )

    def _submitted(self, identity: PipelineId, done: Future[None] | None) -> None:
        error = done.exception() if done is not None else None
        if done is not None and error is None:
            self._accepted(identity)
            return
        assert error is None or isinstance(error, OdinError), error
        self._later(0.01 if isinstance(error, Conflict) else 2.0)

    def _accepted(self, identity: PipelineId) -> None:
        self._schedule.note("accepted", identity)
        self._schedule.judge.accepted(self._key.key, identity)
        self.pipeline = identity
        self._later((0.01, 1.0, 40.0)[int(3 * self._random())])

    # --- what follows

    def _repeat(self, identity: PipelineId) -> None:
        """The same request again is answered as the first was."""
        self._schedule.judge.repeated(self._key.key, identity)
        self._next()

    def _resume(self, identity: PipelineId) -> None:
        """Somebody goes on from where it ended, once that is over."""
        row = self._schedule.memory.rows.get(identity)
        if row is None or row.outcome is None:
            self._later(40.0)
            return
        if any(status is not TaskStatus.EXECUTED for status, *_ in row.tasks):
            self._schedule.person(row)
        self._next()

    def _cancel(self, identity: PipelineId) -> None:
        self._halt(identity, Stop.CANCEL, "cancelled by ada")

    def _cleanup(self, identity: PipelineId) -> None:
        self._halt(identity, Stop.CLEANUP, "cleaned up by ada")

    def _halt(self, identity: PipelineId, cause: Stop, message: str) -> None:
        server = self._server
        assert server is not None
        self._schedule.note(cause.value, identity)
        if server.mate is not None:
            self._order(server.mate, identity, cause, message)
        elif cause is Stop.CLEANUP:
            server.ask_final(identity, lambda done: self._final(identity, done))
            server.ask(Halt(identity, cause, message), lambda done: None)
        else:
            server.ask(Halt(identity, cause, message), lambda done: self._halted(server, identity, done))

    def _order(self, mate: Mate, identity: PipelineId, cause: Stop, message: str) -> None:
        """Any server takes it, for the one that drives the pipeline."""
        mate.crew.ask(identity, cause, message)
        mate.attend()
        if cause is Stop.CLEANUP:
            self._schedule.after(1.0, self._look, identity, 60)
        else:
            self._next()

    def _look(self, identity: PipelineId, times: int) -> None:
        row = self._schedule.memory.rows.get(identity)
        if times and row is not None and row.outcome is None:
            self._schedule.after(1.0, self._look, identity, times - 1)
        else:
            self._final(identity, Future())

    def _halted(self, server: Server, identity: PipelineId, done: Future[None] | None) -> None:
        if done is None or done.exception() is not None:
            self._later(2.0)
            return
        self._schedule.judge.halted(server, identity)
        self._next()

    def _final(self, identity: PipelineId, done: Future[None] | None) -> None:
        """It is over, so its rows may go."""
        if done is None:
            self._later(2.0)
            return
        if self._schedule.memory.delete(identity):
            self._schedule.judge.removed(identity)
            self._next()
        else:
            self._later(2.0)


def kept(former: Row, job: orders.Job) -> dict[str, Kept]:
    """What the plan of a resumption does not run again."""
    of = former.submission
    rows = [dict(zip(TASK, row, strict=True)) for row in former.tasks]
    formers = [
        Former(spec, row["status"], row["origin"] or of.id, has_files=True)
        for spec, row in zip(of.tasks, rows, strict=True)
    ]
    steps = plan(of.id, formers, job.tasks, Choice()).steps
    return {
        step.task: Kept(
            row["origin"] or of.id,
            row["status"],
            step.why,
            exit_code=row["exit_code"],
            submitted_at=row["submitted_at"],
            started_at=row["started_at"],
            completed_at=row["completed_at"],
            attempts=tuple(_attempt(number, each) for (at, number), each in former.attempts.items() if at == idx),
        )
        for idx, (step, row) in enumerate(zip(steps, rows, strict=True))
        if step.action is Action.KEEP
    }


def _attempt(number: int, row: tuple[object, ...]) -> Attempt:
    attempt = Attempt(number, 0.0)
    fill(attempt, ATTEMPT, row)
    return attempt
