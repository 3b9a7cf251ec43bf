"""What people can do to pipelines: launch, rerun, cancel, clean up. The api calls these and nothing else here."""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import anyio.to_thread

from odin.engine import places
from odin.engine.cleanup import Cleaner, Cleanup
from odin.engine.feed import Feed
from odin.engine.layout import Layout, begin_run, take_back_run
from odin.engine.loop import Engine
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.model.commands import Halt, Submit
from odin.model.errors import Conflict, NoSpace, NotAllowed, NotFound, NotSupported, OdinError, Unavailable
from odin.model.ids import SUFFIX_ALPHABET, SUFFIX_LENGTH, JobPath, PipelineId, Sha, pipeline_id
from odin.model.states import Stop
from odin.model.users import Role, User
from odin.model.world import Submission
from odin.store.idempotency import Answer, Idempotency
from odin.store.queries import PipelineView, Queries

MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class PipelineRef:
    """What a launch answers: the new pipeline."""

    id: PipelineId
    name: str
    job: str


@dataclass(frozen=True, slots=True)
class Commands:
    """Called in the event loop; whatever blocks runs in a thread. ``mounts`` as in ``Launches``."""

    engine: Engine
    repository: Repository
    checkouts: Checkouts
    queries: Queries
    cleaner: Cleaner
    layout: Layout
    mounts: Mapping[str, str] = field(default_factory=dict)

    @property
    def feed(self) -> Feed:
        return self.engine.feed

    async def launch(
        self,
        job: str,
        user: User,
        *,
        context: Mapping[str, str] | None = None,
        idempotency: Idempotency | None = None,
        rerun_of: str | None = None,
        version: Sha | None = None,
    ) -> PipelineRef:
        """Begin a pipeline of a job at ``version`` (default: the newest commit); returns once that is durable.

        Raises NotFound, ValidationFailed (the job file has errors, or asks for more than there is), NotSupported,
        Unavailable, NoSpace.
        """
        if context:
            raise NotSupported("a context (--x:…) fills in templates, and Odin cannot render .jinja2 files yet")
        if idempotency is not None and (ref := await anyio.to_thread.run_sync(self._repeated, idempotency)):
            return ref
        with ExitStack() as held:
            submission = await anyio.to_thread.run_sync(self._prepare, job, version, user, rerun_of, held)
            for _ in range(MOST_NAMES):
                try:
                    return await self._submit(submission, idempotency)
                except Conflict:
                    submission = await anyio.to_thread.run_sync(self._named, submission)
        raise Conflict("no free pipeline id was found; try again")

    async def rerun(self, pipeline: str, user: User, *, idempotency: Idempotency | None = None) -> PipelineRef:
        """Begin the same job again from its start, at the commit that the pipeline ran."""
        view = await self._view(pipeline)
        return await self.launch(view.job, user, idempotency=idempotency, rerun_of=view.id, version=Sha(view.version))

    async def cancel(self, pipeline: str, user: User) -> None:
        """Stop a pipeline and keep everything; returns once that is durable. Conflict if it is over already."""
        view = await self._view(pipeline)
        check_owner(view, user)
        if view.outcome is not None:
            raise Conflict(f"the pipeline {view.id} is over already: {view.outcome}")
        await asyncio.wrap_future(
            self.engine.post(Halt(PipelineId(view.id), Stop.CANCEL, f"cancelled by {user.username}"))
        )

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
        return await anyio.to_thread.run_sync(self.cleaner.clean, view, db, fs)

    async def _stop_and_wait(self, view: PipelineView, user: User) -> None:
        identity = PipelineId(view.id)
        final = self.engine.when_final(identity)
        await asyncio.wrap_future(self.engine.post(Halt(identity, Stop.CLEANUP, f"cleaned up by {user.username}")))
        grace_s = max((task.spec.grace_s for task in view.tasks), default=0.0)
        try:
            await asyncio.wait_for(asyncio.wrap_future(final), grace_s + 5.0)
        except TimeoutError:
            raise Conflict(f"the tasks of {identity} are still stopping; nothing was removed, try again") from None

    async def _view(self, pipeline: str) -> PipelineView:
        found = await anyio.to_thread.run_sync(self.queries.pipeline, pipeline)
        if found is None:
            near = await anyio.to_thread.run_sync(self.queries.nearest, pipeline)
            raise NotFound(f'there is no pipeline "{pipeline}"', near=near)
        return found

    def _repeated(self, idempotency: Idempotency) -> PipelineRef | None:
        answer = self.queries.idempotent(idempotency)
        return ref_of(answer) if answer is not None else None

    def _prepare(self, name: str, version: Sha | None, user: User, rerun_of: str | None, held: ExitStack) -> Submission:
        """Resolve, read and check the job, pin its commit before any row speaks of it, and name the pipeline."""
        warning = self.repository.refresh() if version is None else None
        at = version or self.repository.head()
        job = self.repository.check(name, at)
        places.check_job(job)
        places.check_place(job, self.mounts, self.engine.lacks)
        held.enter_context(self.checkouts.hold(at))
        self.repository.pin(at)
        reach("submit:pinned")
        warnings = (*((warning,) if warning else ()), *job.warnings, *places.ignored(job))
        submission = Submission(
            id=PipelineId(""),
            name=job.name,
            job=JobPath(job.path),
            version=at,
            username=user.username,
            user_uid=user.uid,
            tasks=job.tasks,
            submitted_at=self.engine.clock.now(),
            on_failure=job.on_failure,
            timeout_s=job.timeout_s,
            warnings=warnings,
            rerun_of=rerun_of,
            built=self.checkouts.ready(at) is not None,
        )
        return self._named(submission)

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
        ref = PipelineRef(submission.id, submission.name, submission.job)
        promise = (idempotency, answer_of(ref)) if idempotency is not None else None
        try:
            done: Future[None] = self.engine.submit(Submit(submission), promise)
            await asyncio.wrap_future(done)
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
    return Answer(
        200, json.dumps({"pipeline": {"id": ref.id, "name": ref.name, "job": ref.job}}, separators=(",", ":"))
    )


def ref_of(answer: Answer) -> PipelineRef:
    """What ``answer_of`` kept."""
    kept = json.loads(answer.body)["pipeline"]
    return PipelineRef(PipelineId(kept["id"]), kept["name"], kept["job"])
