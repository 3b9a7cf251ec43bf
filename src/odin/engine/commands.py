"""What people can do to pipelines: launch, rerun, cancel, clean up. The api calls these and nothing else here."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

import anyio.to_thread
from anyio import CapacityLimiter

from odin.engine import places
from odin.engine.cleanup import Cleaner, Cleanup
from odin.engine.feed import Feed
from odin.engine.layout import Layout, begin_run, take_back_run
from odin.engine.loop import Engine
from odin.engine.resuming import Again, Planned, Resumption, check_over
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.jobs.rendering import CHILDREN
from odin.jobs.repository import Repository
from odin.jobs.values import Author, Rendered
from odin.model.commands import Submit
from odin.model.context import dump_context, unused
from odin.model.errors import Conflict, NoSpace, NotAllowed, NotFound, OdinError, OutcomeUnknown, Unavailable
from odin.model.ids import SUFFIX_ALPHABET, SUFFIX_LENGTH, JobPath, PipelineId, Sha, pipeline_id
from odin.model.names import job_path
from odin.model.resume import Plan
from odin.model.states import Stop
from odin.model.users import Role, User
from odin.model.world import Submission
from odin.store.deletion import Deletion
from odin.store.idempotency import Answer, Idempotency
from odin.store.queries import PipelineView, Queries

MOST_NAMES = 10
LOOK_S = 0.2
FIRST_PAUSE_S = 1.0  # until interrupted cleanups are gone on with
LONGEST_PAUSE_S = 60.0
log = logging.getLogger("odin.cleanup")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PipelineRef:
    """What a launch answers: the new pipeline, and what the one who launched it should know."""

    id: PipelineId
    name: str
    job: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """A launch as it was asked for. ``version`` None is the newest commit; ``warnings`` came from resolving it."""

    job: str
    user: User
    context: Mapping[str, Any]
    version: Sha | None = None
    resumption: Resumption | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """The job of an order, read and checked at ``at``; ``plan`` where it resumes a pipeline."""

    order: Order
    at: Sha
    rendered: Rendered
    plan: Plan | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commands:
    """Called in the event loop; whatever blocks runs in a thread. ``check`` asks the place where tasks run."""

    engine: Engine
    repository: Repository
    checkouts: Checkouts
    queries: Queries
    cleaner: Cleaner
    layout: Layout
    check: places.Check = field(default_factory=places.Machine)
    # Who waits for a turn to render waits here, not in the threads that everybody needs.
    rendering: CapacityLimiter = field(default_factory=partial(CapacityLimiter, CHILDREN))

    @property
    def feed(self) -> Feed:
        return self.engine.feed

    async def launch(
        self,
        job: str,
        user: User,
        *,
        context: Mapping[str, Any] | None = None,
        idempotency: Idempotency | None = None,
    ) -> PipelineRef:
        """Begin a pipeline of a job at the newest commit; returns once that is durable.

        ``context`` holds JSON values by the names that the job's templates use.
        Raises NotFound, InvalidInput (the context), ValidationFailed (the job file or a template has errors, or asks
        for more than there is), NotSupported, Unavailable, NoSpace.
        """
        return await self._begin(Order(job, user, context or {}), idempotency)

    async def _begin(self, order: Order, idempotency: Idempotency | None) -> PipelineRef:
        dump_context(order.context)
        if idempotency is not None and (ref := await anyio.to_thread.run_sync(self._repeated, idempotency)):
            return ref
        with ExitStack() as held:
            submission = await self._read_then(order, partial(self._accept, held))
            for _ in range(MOST_NAMES):
                try:
                    return await self._submit(submission, idempotency)
                except Conflict:
                    if idempotency is not None and (ref := await anyio.to_thread.run_sync(self._repeated, idempotency)):
                        return ref
                    submission = await anyio.to_thread.run_sync(self._named, submission)
        raise Conflict("no free pipeline id was found; try again")

    async def resume(
        self, pipeline: str, user: User, again: Again, *, idempotency: Idempotency | None = None
    ) -> PipelineRef:
        """Begin a pipeline that goes on from one that is over, whatever its outcome; see ``plan``.

        Raises as ``launch``, and Conflict where the pipeline runs or nothing of it needs to run again.
        """
        return await self._begin(await self._order(pipeline, user, again), idempotency)

    async def plan(self, pipeline: str, user: User, again: Again) -> Planned:
        """What ``resume`` would do now; nothing is begun."""
        order = await self._order(pipeline, user, again)
        dump_context(order.context)
        reading = await self._read_then(order, lambda reading: reading)
        return Planned(pipeline, reading.rendered.job.path, reading.at, cast(Plan, reading.plan), reading.warnings)

    async def _order(self, pipeline: str, user: User, again: Again) -> Order:
        view = await self._view(pipeline)
        check_over(view)
        resumption = Resumption(view, again, self.layout, self.queries, self.repository)
        return Order(view.job, user, {**view.context, **again.context}, again.version(view), resumption)

    async def generate(self, template: str, context: Mapping[str, Any], user: User, name: str | None = None) -> JobPath:
        """Make a job of a template job: its files, the ``.jinja2`` ones filled in, by one commit of the user.

        ``name`` None: the template's and eight random characters. Raises Conflict if it exists, and as ``launch``.
        """
        dump_context(context)
        job = name if name is not None else f"{template}-{_suffix()}"
        author = Author(user.username, f"{user.firstname} {user.lastname}".strip())
        make = partial(self.repository.generate, template, job, context, author)
        await anyio.to_thread.run_sync(make, limiter=self.rendering)
        return job_path(job)

    async def cancel(self, pipeline: str, user: User) -> None:
        """Stop a pipeline and keep everything; returns once that is durable. Conflict if it is over already."""
        view = await self._view(pipeline)
        check_owner(view, user)
        if view.outcome is not None:
            raise Conflict(f"the pipeline {view.id} is over already: {view.outcome}")
        await self._halt(view, Stop.CANCEL, f"cancelled by {user.username}")

    async def cleanup(self, pipeline: str, user: User, *, db: bool, fs: bool, dry_run: bool) -> list[Cleanup]:
        """Stop what runs, wait for it, then remove; the pipeline first, then its tasks.

        Raises Conflict while tasks are still stopping (nothing is removed then), NotFound, NotAllowed.
        """
        view = await self._view(pipeline)
        check_owner(view, user)
        if dry_run:
            return await anyio.to_thread.run_sync(self.cleaner.plan, view, db, fs)
        if view.outcome is None:
            await self._stop_and_wait(view, user)
        try:
            return await anyio.to_thread.run_sync(self.cleaner.clean, view, db, fs)
        finally:  # a hint, so it may be wrong
            if db:
                self.feed.removed(view.id)

    async def finish_cleanups(self, waiting: Sequence[Deletion]) -> None:
        """Go on with cleanups that a crash interrupted until they are done: their objects may be out of reach yet."""
        pause_s = FIRST_PAUSE_S
        while waiting:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                waiting = await anyio.to_thread.run_sync(self.cleaner.go_on, waiting)
            except (OdinError, OSError) as error:
                log.warning("what a cleanup left could not be removed yet: %s", error)

    async def _stop_and_wait(self, view: PipelineView, user: User) -> None:
        await self._halt(view, Stop.CLEANUP, f"cleaned up by {user.username}")
        grace_s = max((task.spec.grace_s for task in view.tasks), default=0.0)
        try:
            await asyncio.wait_for(self._until_over(PipelineId(view.id)), grace_s + 5.0)
        except TimeoutError:
            raise Conflict(f"the tasks of {view.id} are still stopping; nothing was removed, try again") from None

    async def _halt(self, view: PipelineView, stop: Stop, message: str) -> None:
        done = await anyio.to_thread.run_sync(self.engine.halt, PipelineId(view.id), stop, message)
        await asyncio.wrap_future(done)

    async def _until_over(self, pipeline: PipelineId) -> None:
        """Of a pipeline that another server drives the rows are asked."""
        while True:
            await asyncio.wrap_future(self.engine.when_final(pipeline))
            found = await anyio.to_thread.run_sync(self.queries.pipeline, pipeline)
            if found is None or found.outcome is not None:
                return
            await asyncio.sleep(LOOK_S)

    async def _view(self, pipeline: str) -> PipelineView:
        found = await anyio.to_thread.run_sync(self.queries.pipeline, pipeline)
        if found is None:
            near = await anyio.to_thread.run_sync(self.queries.nearest, pipeline)
            raise NotFound(f'there is no pipeline "{pipeline}"', near=near)
        return found

    def _repeated(self, idempotency: Idempotency) -> PipelineRef | None:
        answer = self.queries.idempotent(idempotency)
        return ref_of(answer) if answer is not None else None

    async def _read_then(self, order: Order, act: Callable[[Reading], T]) -> T:
        """One hop to a thread where the job has no templates; else a second one, when its turn has come."""

        def go(order: Order, may_render: bool) -> Order | T:
            reading = self._read(order, may_render)
            return reading if isinstance(reading, Order) else act(reading)

        done = await anyio.to_thread.run_sync(go, order, False)
        while isinstance(done, Order):
            done = await anyio.to_thread.run_sync(go, done, True, limiter=self.rendering)
        return done

    def _read(self, order: Order, may_render: bool) -> Reading | Order:
        """Resolve, read and check the job.

        Only the order with its commit where the job has templates and this is not the time to render them.
        """
        if order.version is None:
            warning = self.repository.refresh()
            order = replace(order, version=self.repository.head(), warnings=(warning,) if warning else ())
        at = cast(Sha, order.version)
        rendered = self.repository.render(order.job, order.context, at, may_wait=may_render)
        if rendered is None:
            return order
        job = rendered.job
        places.check_job(job)
        warnings = [*order.warnings, *unused(order.context, rendered.used, has_templates=bool(rendered.files))]
        warnings += [*job.warnings, *self.check(job, at, rendered.files, self.engine.lacks)]
        plan = None
        if (resumption := order.resumption) is not None:
            plan = resumption.plan(job.tasks)
            warnings += resumption.notes(plan, at, rendered)
        return Reading(order, at, rendered, plan, tuple(warnings))

    def _accept(self, held: ExitStack, reading: Reading) -> Submission:
        """Pin the commit before any row speaks of it, and name the pipeline."""
        reach("submit:validated")
        held.enter_context(self.checkouts.hold(reading.at))
        self.repository.pin(reading.at)
        reach("submit:pinned")
        return self._named(self._submission(reading))

    def _submission(self, reading: Reading) -> Submission:
        order, at, rendered, job = reading.order, reading.at, reading.rendered, reading.rendered.job
        resumption, plan = order.resumption, reading.plan
        kept = resumption.kept(plan) if resumption is not None and plan is not None else {}
        return Submission(
            id=PipelineId(""),
            name=job.name,
            job=JobPath(job.path),
            version=at,
            username=order.user.username,
            user_uid=order.user.uid,
            tasks=job.tasks,
            submitted_at=self.engine.clock.now(),
            on_failure=job.on_failure,
            timeout_s=job.timeout_s,
            context=dump_context(order.context),
            warnings=reading.warnings,
            rerun_of=PipelineId(resumption.view.id) if resumption is not None else None,
            built=not rendered.files and not kept and self.checkouts.ready(at) is not None,
            rendered=tuple(rendered.files.items()),
            kept=kept,
        )

    def _named(self, submission: Submission) -> Submission:
        """The submission with an id that nothing here has, and its folder if its checkout stands."""
        for _ in range(MOST_NAMES):
            named = replace(submission, id=pipeline_id(submission.name, _suffix()))
            try:
                if named.built:
                    begin_run(self.layout, named.id, [task.name for task in named.tasks], is_new=True)
            except FileExistsError:
                continue
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                said = f"the folder of runs cannot be written: {error.strerror}"
                raise (NoSpace(said) if full else Unavailable(said)) from error
            return named
        raise Conflict("no free pipeline id was found; try again")

    async def _submit(self, submission: Submission, idempotency: Idempotency | None) -> PipelineRef:
        ref = PipelineRef(submission.id, submission.name, submission.job, submission.warnings)
        promise = (idempotency, answer_of(ref)) if idempotency is not None else None
        try:
            done: Future[None] = self.engine.submit(Submit(submission), promise)
            await asyncio.wrap_future(done)
        except OutcomeUnknown:
            raise  # the pipeline may be there, with its folder
        except OdinError:
            await anyio.to_thread.run_sync(take_back_run, self.layout, submission.id)
            raise
        reach("submit:committed-not-answered")
        return ref


def _suffix() -> str:
    number = secrets.randbelow(len(SUFFIX_ALPHABET) ** SUFFIX_LENGTH)
    letters = []
    for _ in range(SUFFIX_LENGTH):
        number, place = divmod(number, len(SUFFIX_ALPHABET))
        letters.append(SUFFIX_ALPHABET[place])
    return "".join(letters)


def check_owner(view: PipelineView, user: User) -> None:
    """Raises NotAllowed unless the pipeline is the user's own or the user is an admin."""
    if user.role is not Role.ADMIN and view.user_uid != user.uid:
        raise NotAllowed(f"the pipeline {view.id} belongs to {view.username}; ask them or an admin")


def answer_of(ref: PipelineRef) -> Answer:
    """The answer of a launch as it is kept for a repeated request."""
    return Answer(200, json.dumps(launched(ref), separators=(",", ":")))


def launched(ref: PipelineRef) -> dict[str, Any]:
    """What a launch answers: the new pipeline; beside it, where there are any, sentences for the one who launched."""
    made: dict[str, Any] = {"pipeline": {"id": ref.id, "name": ref.name, "job": ref.job}}
    return made | ({"warnings": list(ref.warnings)} if ref.warnings else {})


def ref_of(answer: Answer) -> PipelineRef:
    """What ``answer_of`` kept."""
    body = json.loads(answer.body)
    kept = body["pipeline"]
    return PipelineRef(PipelineId(kept["id"]), kept["name"], kept["job"], tuple(body.get("warnings", ())))
