"""One statement for each table whatever the batch: its rows come as one JSON text, an array of arrays.

SQLite opens it with ``json_each``, PostgreSQL with ``jsonb_array_elements``, whose items are texts to be cast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column
from sqlalchemy.schema import Table

_encode = msgspec.json.Encoder().encode
_CASTS = {"Integer": "integer", "BigInteger": "bigint", "Float": "double precision"}


class Batch:
    """Writes statements over a batch in the words of one dialect; ``?`` or ``%s`` stands for the batch."""

    def __init__(self, dialect: str) -> None:
        self._is_postgresql = dialect == "postgresql"
        self._rows = "jsonb_array_elements(%s::jsonb) AS j" if self._is_postgresql else "json_each(?) AS j"

    def insert(self, table: Table, columns: Sequence[str]) -> str:
        """Each row has these columns, in this order."""
        items = ", ".join(self._items(table, columns))
        # Without the condition SQLite takes what follows for that of a join.
        return f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {items} FROM {self._rows} WHERE true"

    def update(self, table: Table, where: Sequence[str], change: Sequence[str]) -> str:
        """Each row has what is to be found first, then what it becomes."""
        found = self._items(table, where)
        made = self._items(table, change, after=len(where))
        changes = ", ".join(f"{name} = {item}" for name, item in zip(change, made, strict=True))
        conditions = " AND ".join(f"{table.name}.{name} = {item}" for name, item in zip(where, found, strict=True))
        return f"UPDATE {table.name} SET {changes} FROM {self._rows} WHERE {conditions}"

    def select(self, table: Table, column: str) -> str:
        """What the table has of the batch in one column."""
        (item,) = self._items(table, [column])
        return f"SELECT {column} FROM {table.name} WHERE {column} IN (SELECT {item} FROM {self._rows})"

    def _items(self, table: Table, columns: Sequence[str], after: int = 0) -> list[str]:
        return [self._item(number, table.c[name]) for number, name in enumerate(columns, start=after)]

    def _item(self, number: int, column: Column[Any]) -> str:
        kind = _CASTS.get(type(column.type).__name__)
        item = f"(j.value ->> {number})"
        return f"{item}::{kind}" if kind and self._is_postgresql else item

    @staticmethod
    def parameter(rows: Collection[Any]) -> str:
        """The batch. SQLite would end a text at a NUL, PostgreSQL refuse it: U+FFFD stands for it."""
        text = _encode(rows).decode()
        if "\\u0000" in text:
            text = _encode([_without_nul(row) for row in rows]).decode()
        return text


def _without_nul(row: Iterable[object]) -> list[object]:
    return [item.replace("\0", "\ufffd") if isinstance(item, str) else item for item in row]
