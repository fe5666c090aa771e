"""Many rows at once. On SQLite by one prepared statement, past what SQLAlchemy does for each row, which is most of the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Table, Update
from sqlalchemy.dialects import postgresql


def add_rows(conn: Connection, table: Table, names: Sequence[str], rows: Iterable[Any], *, replace: bool = False) -> None:
    """Insert rows, in their order.

    Args:
        conn: a transaction.
        table: where they go.
        names: the columns that are given; the others must have no default of ours.
        rows: objects that have an attribute of each of these names.
        replace: rows whose primary key is there already replace what is there.

    Raises:
        ValueError: a value is not fit for its column.
    """
    get = attrgetter(*names)
    found = [get(row) for row in rows]
    if not found:
        return
    if conn.dialect.name != "sqlite":
        _add_elsewhere(conn, table, names, found, replace=replace)
        return
    columns = [_bound(conn, table, name, values) for name, values in zip(names, zip(*found, strict=True), strict=True)]
    conn.exec_driver_sql(_statement(conn, table, names, replace=replace), list(zip(*columns, strict=True)))


def _bound(conn: Connection, table: Table, name: str, values: Sequence[Any]) -> Sequence[Any]:
    """A column's values as the driver takes them."""
    bind = table.c[name].type.dialect_impl(conn.dialect).bind_processor(conn.dialect)
    return values if bind is None else list(map(bind, values))


def _statement(conn: Connection, table: Table, names: Sequence[str], *, replace: bool) -> str:
    quote = conn.dialect.identifier_preparer.quote
    places = ", ".join("?" * len(names))
    text = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES ({places})"
    if not replace:
        return text
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in names if name not in keys)
    return f"{text} ON CONFLICT ({', '.join(map(quote, keys))}) DO UPDATE SET {changed}"


def _add_elsewhere(
    conn: Connection, table: Table, names: Sequence[str], found: Sequence[tuple[Any, ...]], *, replace: bool
) -> None:
    statement = postgresql.insert(table)
    if replace:
        keys = [column.name for column in table.primary_key]
        changed = {name: statement.excluded[name] for name in names if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    conn.execute(statement, [dict(zip(names, values, strict=True)) for values in found])


def change_rows(conn: Connection, statement: Update, given: Sequence[Mapping[str, Any]]) -> int:
    """Execute an update once for each set of values of its ``bindparam``s; how many rows were changed.

    Args:
        conn: a transaction.
        statement: the same for all.
        given: values by name; each has the same names.
    """
    if not given:
        return 0
    if conn.dialect.name != "sqlite":
        return conn.execute(statement, given).rowcount
    compiled = statement.compile(dialect=conn.dialect)
    columns = []
    for name in compiled.positiontup or ():
        held = compiled.binds[name]
        values = [one[name] for one in given] if name in given[0] else [held.effective_value] * len(given)
        bind = held.type.dialect_impl(conn.dialect).bind_processor(conn.dialect)
        columns.append(values if bind is None else list(map(bind, values)))
    return conn.exec_driver_sql(str(compiled), list(zip(*columns, strict=True))).rowcount
