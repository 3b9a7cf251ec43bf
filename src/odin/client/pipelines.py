"""Pipelines: launching, showing, listing, following, cancelling, running again, cleaning up."""

from __future__ import annotations

import json

from odin.client.calls import Calls
from odin.client.encoding import quote
from odin.client.pipeline import Change, Pipeline, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any

    from odin.client.history import Cleanup
    from odin.client.listing import Pipelines
    from odin.client.resuming import Plan

MOST_SAID = 5  # of the warnings of a launch
CLEANUP_S = 900.0  # it waits for running tasks to stop, as long as their grace period


def path_of(pipeline: str) -> str:
    return f"/v1/pipelines/{quote(pipeline)}"


class PipelineCalls(Calls):
    """The routes under ``/v1/pipelines``, and ``/v1/stream``."""

    __slots__ = ()

    def run(self, job: str, context: Mapping[str, Any] | None = None) -> Pipeline:
        """Launch a job; ``context`` fills in its templates.

            >>> client.run("nlp/sst2", {"epochs": 5, "lr": 0.1}).id
            'sst2-ab12cd34'

        Raises NotFound, Refused when the job or the context breaks a rule, NotAllowed.
        """
        body: dict[str, object] = {"pipeline": {"job": job}}
        if context:
            body["context"] = plain_context(context)
        return self._launched(self.server.post("/v1/pipelines", body))

    def pipeline(self, id: str) -> Pipeline:
        """A pipeline with its tasks. Raises NotFound."""
        return self._made(self.server.get(path_of(id)))

    def task(self, id: str) -> Task:
        """A task by its id, ``<pipeline>--<task>``, or by an attempt's. Raises NotFound."""
        pipeline, _, rest = id.partition("--")
        return self.pipeline(pipeline).task(rest.partition("--")[0])

    def pipelines(
        self,
        q: str | None = None,
        *,
        job: str | None = None,
        user: str | None = None,
        status: str | None = None,
        outcome: str | None = None,
        limit: int | None = None,
    ) -> Pipelines:
        """Pipelines whose id contains ``q``, newest first, at most ``limit``; pages are fetched as they are wanted."""
        from odin.client.listing import Pipelines

        wanted = {"q": q, "job": job, "user": user, "status": status, "outcome": outcome}
        return Pipelines(self._whole(), wanted, limit)

    def follow(
        self, id: str, *, tick_s: float | None = None, notice: Callable[[str], None] | None = None
    ) -> Generator[Change]:
        """What happens to a pipeline, from a snapshot of it to its ``end``: every state that is seen is seen once.

        A server that restarts is waited for, up to five minutes; ``notice`` is told so, once. With ``tick_s`` a
        change ``tick`` comes whenever nothing else came for so many seconds. Closing the iterator, as the end of a
        ``for`` does, closes the connection. Raises NotFound, and Unreachable when there never was an answer.
        """
        from odin.client.following import pipeline_changes

        return pipeline_changes(self._whole(), id, notice=notice or self.server.warn, tick_s=tick_s)

    def watch(
        self,
        *,
        job: str | None = None,
        user: str | None = None,
        tick_s: float | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Generator[Change]:
        """What happens to all pipelines, for ever: each is shown first, then ``ready`` comes, then what moves.

        The pipeline of a change has no ``tasks`` but ``task_counts``. Over restarts as ``follow``.
        """
        from odin.client.watching import all_changes

        return all_changes(self._whole(), {"job": job, "user": user}, notice=notice or self.server.warn, tick_s=tick_s)

    def cancel(self, id: str) -> Pipeline:
        """Stop it and keep everything. Raises Conflict when it is over."""
        return self._made(self.server.post(f"{path_of(id)}/cancel"))

    def rerun(self, id: str) -> Pipeline:
        """The same job at the same commit again, as a new pipeline."""
        return self.resume(id, everything=True)

    def resume(
        self,
        id: str,
        *,
        from_task: str | None = None,
        only: str | None = None,
        everything: bool = False,
        at: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """Go on from a pipeline that is over, by a new one that keeps the tasks that need not run again.

        What did not end well runs again and all that follows it; so does ``from_task``, or ``everything``. With
        ``only`` one task runs and nothing else. ``at`` is ``"HEAD"`` for the job as it is now, or a commit; without
        it the job is as it was. ``context`` is put over the earlier one.

            >>> client.resume("hello-ab12cd34", at="HEAD").wait().outcome
            'succeeded'

        Raises Conflict while it runs, and where nothing needs to run again.
        """
        from odin.client.resuming import body_of

        asked = body_of(from_task=from_task, only=only, everything=everything, at=at, context=context)
        return self._launched(self.server.post(f"{path_of(id)}/rerun", asked))

    def plan(
        self,
        id: str,
        *,
        from_task: str | None = None,
        only: str | None = None,
        everything: bool = False,
        at: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Plan:
        """What ``resume`` would do now: which tasks are kept, which run again and why. Nothing is begun."""
        from odin.client.resuming import Plan, body_of

        asked = body_of(from_task=from_task, only=only, everything=everything, at=at, context=context)
        return Plan(self.server.post(f"{path_of(id)}/rerun", asked | {"plan": True}))

    def cleanup(self, id: str, *, db: bool = False, fs: bool = False, dry_run: bool = False) -> list[Cleanup]:
        """Stop it, wait for that, and remove what it made: with ``fs`` its files, with ``db`` its rows and logs.

        ``dry_run`` only says what would go. Raises Conflict while tasks are still stopping.
        """
        from odin.client.history import Cleanup

        answer = self.server.delete(path_of(id), answer_s=CLEANUP_S, db=db, fs=fs, dryRun=dry_run)
        return [Cleanup(raw) for raw in answer["cleanups"]]

    def pipeline_files(self, id: str) -> dict[str, int]:
        """The files that were rendered for this pipeline alone: name and size in bytes."""
        answer = self.server.get(f"{path_of(id)}/files")
        return {str(file["name"]): int(file["bytes"]) for file in answer["files"]}

    def pipeline_file(self, id: str, name: str) -> str:
        """One of these files, as it was rendered. Raises NotFound."""
        return self.server.ask(f"{path_of(id)}/files/{quote(name, safe=b'/')}").body.decode("utf-8", "replace")

    def _made(self, answer: Mapping[str, Any]) -> Pipeline:
        beside = {"reruns": answer["reruns"]} if "reruns" in answer else {}
        return Pipeline(answer["pipeline"] | beside, self._whole())

    def _launched(self, answer: Mapping[str, Any]) -> Pipeline:
        """What the server has to say about a launch is told at once: a mistyped name of the context is not an error."""
        said = answer.get("warnings") or ()
        for sentence in said[:MOST_SAID]:
            self.server.warn(f"note: {sentence}")
        if len(said) > MOST_SAID:
            self.server.warn(f"note: and {len(said) - MOST_SAID} more; they are kept with the pipeline")
        return self._made(answer)


def plain_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context as JSON can hold it. Raises Usage, which names the value that it cannot."""
    from odin.client.errors import Usage

    if not hasattr(context, "items"):
        raise Usage('a context is a dict of names and values, as {"lr": 0.1}')
    for key, value in context.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise Usage(f"{key} of the context cannot be sent: {error}; use numbers, texts, lists and dicts") from None
    return dict(context)
