"""Answers kept for clients that repeat a request: the same key gives the same answer for a day.

Source: api.md, "Errors" (``Idempotency-Key``); reliability.md, F-70.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from odin.model.errors import ValidationFailed
from odin.store.functions import insert_into
from odin.store.schema import idempotency

KEPT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What identifies a repeated request: who, where, the client's key, and a hash of the body (hex)."""

    user_uid: int
    route: str
    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A kept answer: HTTP status and JSON body."""

    status: int
    body: str


def recalled(connection: Connection, request: Idempotency, *, now: float) -> Answer | None:
    """The answer given before, None for a new key; ValidationFailed if the key came with another body."""
    row = connection.execute(
        select(idempotency).where(
            idempotency.c.user_uid == request.user_uid,
            idempotency.c.route == request.route,
            idempotency.c.key == request.key,
            idempotency.c.at > now - KEPT_S,
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_hash != request.body_hash:
        raise ValidationFailed("this Idempotency-Key was used with another body; send a new key")
    return Answer(row.status, row.answer)


def keep(connection: Connection, request: Idempotency, answer: Answer, *, now: float) -> bool:
    """Keep an answer in the caller's transaction; also drops those that are a day old.

    False where one is kept for that key already, also by another server: this waits for its transaction then.
    """
    connection.execute(delete(idempotency).where(idempotency.c.at <= now - KEPT_S))
    made = connection.execute(
        insert_into(connection, idempotency)
        .values(
            user_uid=request.user_uid,
            route=request.route,
            key=request.key,
            body_hash=request.body_hash,
            status=answer.status,
            answer=answer.body,
            at=now,
        )
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    )
    return made.first() is not None


def drop(connection: Connection, request: Idempotency) -> None:
    """What the answer was of did not come to be."""
    connection.execute(
        delete(idempotency).where(
            idempotency.c.user_uid == request.user_uid,
            idempotency.c.route == request.route,
            idempotency.c.key == request.key,
        )
    )
