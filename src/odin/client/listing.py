"""Pipelines by the page, as one sequence."""

from __future__ import annotations

from odin.client.pipeline import Pipeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from odin.client.client import Client

PAGE = 100
LARGEST_PAGE = 500  # that the API gives at once


class Pipelines:
    """Newest first. What was fetched is kept, so that it can be read again; a page is fetched when it is wanted.

    >>> for pipeline in client.pipelines(job="hello", limit=20):
    ...     print(pipeline.id, pipeline.outcome)
    """

    __slots__ = ("_answer", "_client", "_found", "_limit", "_more", "_wanted")

    def __init__(self, client: Client, wanted: dict[str, Any], limit: int | None) -> None:
        self._client = client
        self._wanted = wanted
        self._limit = limit
        self._found: list[Pipeline] = []
        self._answer: dict[str, Any] = {}
        self._more = limit is None or limit > 0

    def __iter__(self) -> Iterator[Pipeline]:
        index = 0
        while index < len(self._found) or self._fetched():
            yield self._found[index]
            index += 1

    def __getitem__(self, index: int) -> Pipeline:
        """Counted from 0 for the newest."""
        if index < 0:
            raise IndexError("pipelines are counted from the newest: 0, 1, ...")
        while index >= len(self._found) and self._fetched():
            pass
        return self._found[index]

    @property
    def raw(self) -> dict[str, Any]:
        """All of them, as one answer of the API; ``nextCursor`` is in it where ``limit`` left some out."""
        while self._more:
            self._fetch(LARGEST_PAGE)
        return {**self._answer, "pipelines": [pipeline.raw for pipeline in self._found]}

    def _fetched(self) -> bool:
        """Whether there was more."""
        before = len(self._found)
        while self._more and len(self._found) == before:
            self._fetch(PAGE)
        return len(self._found) > before

    def _fetch(self, page: int) -> None:
        """The next page, of ``page`` pipelines where no limit says how many there may be."""
        size = page if self._limit is None else min(self._limit - len(self._found), LARGEST_PAGE)
        cursor = self._answer.get("nextCursor")
        self._answer = self._client.server.get("/v1/pipelines", limit=size, cursor=cursor, **self._wanted)
        self._found += [Pipeline(raw, self._client) for raw in self._answer["pipelines"]]
        more = bool(self._answer.get("nextCursor"))
        self._more = more and (self._limit is None or len(self._found) < self._limit)

    def __repr__(self) -> str:
        return f"<Pipelines {len(self._found)}{' and more' if self._more else ''}>"

    def _repr_html_(self) -> str:
        from odin.client.html import pipelines

        return pipelines(self)
