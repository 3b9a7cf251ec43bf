"""Pipelines as they are now, for one who has them as they were: only what moved since is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from odin.store import moves, queries
from odin.store.moves import Moves
from odin.store.queries import EVENTS_PAGE, Filter, Head, Queries

FAR = 500  # further behind than this all is read
Known = Callable[[str], int | None]  # at which position of its history the caller has a pipeline


@dataclass(frozen=True, slots=True)
class Latest:
    """One pipeline; ``moves`` since the position at which the caller has it, None if it has not moved."""

    id: str
    moves: Moves | None


def by_id(store: Queries, ids: Collection[str], known: Known) -> list[Latest]:
    """Pipelines in no order, all of one moment; those that are not there are left out."""
    with store.snapshot() as connection:
        return _latest(connection, queries.heads(connection, ids), known)


def page(store: Queries, wanted: Filter, limit: int, known: Known) -> tuple[list[Latest], int | None]:
    """A page, newest first, all of one moment, and the ``before`` of the next one; see ``Queries.pipelines``."""
    with store.snapshot() as connection:
        found, following = queries.page(connection, wanted, limit)
        return _latest(connection, found, known), following


def _latest(connection: Connection, heads: Sequence[Head], known: Known) -> list[Latest]:
    had = {head.id: known(head.id) for head in heads}
    moved = {head.id: head.seq for head in heads if had[head.id] != head.seq}
    found = moves.read_since(connection, _since(had, moved)) if moved else {}
    return [Latest(head.id, found.get(head.id)) for head in heads]


def _since(had: Mapping[str, int | None], now: Mapping[str, int]) -> dict[str, int | None]:
    """The positions that are known and near, None for the others; all that lies behind them fits into one reading."""
    known = {name: seq for name in now if (seq := had[name]) is not None and now[name] - FAR < seq < now[name]}
    if sum(now[name] - seq for name, seq in known.items()) > EVENTS_PAGE:
        known = {}
    return {name: known.get(name) for name in now}
