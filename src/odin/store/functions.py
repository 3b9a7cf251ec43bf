"""What SQLite and PostgreSQL call by different names, or write in different forms."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, Text, bindparam, cast, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Position(FunctionElement[int]):
    """Where a text begins in another, from 1; 0 if it is not in it. Case counts, and no sign has a meaning."""

    inherit_cache = True


class _Items(FunctionElement[Any]):
    """The items of a JSON array as rows of one column, ``value``."""

    inherit_cache = True


@compiles(Position, "sqlite")
def _instr(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(Position, "postgresql")
def _strpos(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


@compiles(_Items, "sqlite")
def _json_each(element: _Items, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Items, "postgresql")
def _jsonb_array_elements(element: _Items, compiler: SQLCompiler, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


# The rows that ``given`` gives to a statement, and their first two items as text and number.
GIVEN = _Items(bindparam("given", type_=Text)).table_valued("value")
GIVEN_NAME: ColumnElement[str] = cast(GIVEN.c.value.op("->>")(0), Text)
GIVEN_NUMBER: ColumnElement[int] = cast(GIVEN.c.value.op("->>")(1), BigInteger)


def given(rows: Iterable[tuple[object, ...]]) -> dict[str, str]:
    """The parameter of a statement over many rows."""
    return {"given": json.dumps([*rows])}


def insert_into(connection: Connection, table: Table) -> Any:
    """An insert that can say what becomes of a conflict, of the connection's own dialect."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        return of_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(table)


def only_one(connection: Connection, table: Table) -> None:
    """Let nobody else write in a table until this transaction ends; a writer of SQLite is alone anyhow."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))
