"""Rows of every table out of a database and into another, exactly, whichever of the two it is.

The tables are read from the database itself, not from `tutelage.store.schema`, so that a database of an earlier
revision can be backed up before it is upgraded. JSON columns are the delicate part: a column that holds nothing and one
that holds the JSON value null are two things, and stay so.

Leaves out: the file the rows are kept in (`tutelage.store.archive`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Connection, MetaData, Table, Text, cast, insert, select, text
from sqlalchemy.exc import DBAPIError, StatementError

from tutelage.errors import StoreError
from tutelage.store.failures import explained, said
from tutelage.store.migrate import VERSION_TABLE

AT_ONCE = 1000


def tables_of(connection: Connection) -> list[Table]:
    """The tables that are there, those first that others point at; without Alembic's own."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != VERSION_TABLE]


def read_rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    """The rows by primary key, as JSON values; a column that holds nothing is left out."""
    as_json = {column.name for column in table.columns if isinstance(column.type, JSON)}
    columns = [cast(column, Text).label(column.name) if column.name in as_json else column for column in table.columns]
    query = select(*columns).order_by(*table.primary_key.columns)
    for row in connection.execute(query, execution_options={"yield_per": AT_ONCE}).mappings():
        there = {name: value for name, value in row.items() if value is not None}
        yield {name: json.loads(value) if name in as_json else value for name, value in there.items()}


def write_rows(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert rows as `read_rows` gave them; how many. `StoreError` for one that the database will not take."""
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = type(column.type)(none_as_null=True)
    waiting, count = iter(rows), 0
    while batch := [_as_stored(table, row) for row in islice(waiting, AT_ONCE)]:
        try:
            connection.execute(insert(table), batch)
        except StatementError as error:
            raise _refused(connection, table, count, error) from error
        count += len(batch)
    return count


def _as_stored(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := [name for name in row if name not in table.columns]:
        raise StoreError(f"the table {table.name} has no column {unknown[0]!r}; nothing was restored")
    return {
        column.name: JSON.NULL if isinstance(column.type, JSON) and row.get(column.name, "") is None
        else row.get(column.name)
        for column in table.columns
    }  # fmt: skip


def _refused(connection: Connection, table: Table, before: int, error: StatementError) -> Exception:
    url = connection.engine.url
    if isinstance(error, DBAPIError):
        if explained(error, url, writing=True) is not None:
            return error  # a full disk, a lost connection: the store says so better
        why = said(error, url)
    else:
        why = str(error.orig)
    return StoreError(
        f"the table {table.name}, rows {before + 1} to {before + AT_ONCE}: the database does not take them ({why}); "
        "nothing was restored"
    )


@contextmanager
def references_last(connection: Connection, tables: Iterable[Table]) -> Iterator[None]:
    """Let rows come in any order: what they point at is checked when the block ends.

    A connection of `Store.rebuild` does that by itself on SQLite. On PostgreSQL the rules are deferred meanwhile.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    quote = connection.dialect.identifier_preparer.quote
    rules = [(quote(table.name), quote(str(rule.name))) for table in tables for rule in table.foreign_key_constraints]
    for table, rule in rules:
        connection.execute(text(f"ALTER TABLE {table} ALTER CONSTRAINT {rule} DEFERRABLE INITIALLY DEFERRED"))
    yield
    try:
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    except DBAPIError as error:
        raise StoreError(
            f"a row would point at nothing ({said(error, connection.engine.url)}); nothing was kept"
        ) from error
    for table, rule in rules:
        connection.execute(text(f"ALTER TABLE {table} ALTER CONSTRAINT {rule} NOT DEFERRABLE"))
