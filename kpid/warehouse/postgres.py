"""The warehouse on PostgreSQL: the canonical tables in a schema of their own, written by syncs like the embedded one.

Any number of processes may read; batches of all processes take turns. There is nothing to copy for readers and no file to hold.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import compute, csv
from sqlalchemy import Column, Table
from sqlalchemy.engine import URL

from kpid.errors import StoreError
from kpid.plugin.entities import ENTITIES, watermarks
from kpid.warehouse import Changes, Watermark, Written, pg_writes
from kpid.warehouse.pg_connections import Connections
from kpid.warehouse.types import INSTANT, conform, entity_table

if TYPE_CHECKING:
    import psycopg

_MANY = 1_000
"""Rows of a working table from which on the server is told how many there are, lest it joins them one by one."""

SCHEMA = "kpid_crm"
"""The schema of the canonical tables, unless the URL says ``?schema=``."""


def open_postgres(url: URL, *, read_only: bool = False) -> PostgresWarehouse:
    """Open the warehouse, its schema and tables made or extended as needed.

    Args:
        url: ``postgresql://user@host/db?schema=kpid_crm``; other keys go to libpq.
        read_only: nothing is made or changed.

    Raises:
        ConfigError: the driver is missing.
        StoreError: the server cannot be reached, or refuses.
    """
    schema = str(url.query.get("schema") or SCHEMA)
    connections = Connections(url, schema, read_only=read_only)
    try:
        if not read_only:
            _migrate(connections, schema)
        return PostgresWarehouse(connections, read_only=read_only)
    except BaseException:
        connections.close()
        raise


class PostgresEngine:
    """PostgreSQL whose tables are read in place; every transaction only reads.

    Args:
        url: ``postgresql://reader@host/db``; ``?schema=`` is where unqualified tables are looked for.

    Raises:
        ConfigError: the driver is missing.
        StoreError: the server cannot be reached, or refuses.
    """

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._connections = Connections(url, str(url.query.get("schema") or "public"), read_only=True)
        self.where = self._connections.where

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT and give its whole result."""
        return self._connections.query(sql, parameters)

    def columns_of(self, table: Sequence[str]) -> Sequence[str] | None:
        """Names of a table's columns; None if there is no such table."""
        name = ".".join('"' + part.replace('"', '""') + '"' for part in table)
        found = self.query(pg_writes.COLUMNS, [name]).column("name").to_pylist()
        return found or None

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()


def _migrate(connections: Connections, schema: str) -> None:
    with connections.borrowed() as connection, connection.transaction():
        run = connection.execute
        run(pg_writes.LOCK, [f"kpid {schema}"])
        quoted = schema.replace('"', '""')
        present: dict[str, set[str]] = {}
        for table, column in run(pg_writes.PRESENT, [schema]).fetchall():
            present.setdefault(table, set()).add(column)
        if not present:
            run(f'CREATE SCHEMA IF NOT EXISTS "{quoted}"')
        for table in (*ENTITIES.values(), watermarks):
            statements = (
                pg_writes.add_columns(table, present[table.name]) if table.name in present else pg_writes.create_table(table)
            )
            for statement in statements:
                run(statement)
        for statement in pg_writes.BOOKKEEPING:
            run(statement)


class PostgresWarehouse:
    """A :class:`~kpid.warehouse.Warehouse` in a schema of a PostgreSQL database."""

    dialect = "postgresql"
    in_place = False

    def __init__(self, connections: Connections, *, read_only: bool = False) -> None:
        self._connections = connections
        self._read_only = read_only
        self._writing = threading.RLock()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT and give its whole result.

        Raises:
            StoreError: the engine refuses it.
        """
        return self._connections.query(sql, parameters)

    @contextmanager
    def batch(self) -> Iterator[PostgresBatch]:
        """A transaction; rolled back if the block raises. Batches wait for each other, in all processes.

        Raises:
            StoreError: opened for reading only, or the server refused the rows.
        """
        if self._read_only:
            raise StoreError("the warehouse was opened for reading only", where=self._connections.where)
        with self._writing, self._connections.borrowed() as connection, connection.transaction():
            connection.execute(pg_writes.LOCK, ["kpid batches"])
            yield PostgresBatch(connection)

    def may_hold(self, entity: str, ids: Iterable[str]) -> bool:
        """For all it knows: the server finds ids by an index."""
        return True

    def watermarks(self) -> Sequence[Watermark]:
        """All watermarks, by source and entity."""
        return [
            Watermark(row["source_id"], row["entity"], json.loads(row["cursor"] or "null"), row["through"], row["finished_at"])
            for row in self.query(pg_writes.WATERMARKS).to_pylist()
        ]

    def changes(self, after: int) -> Changes:
        """Days of each clock column that were written since position ``after``."""
        days: dict[tuple[str, str], set[date | None]] = {}
        position = after
        for row in self.query(pg_writes.TOUCHED, [after]).to_pylist():
            position = max(position, row["seq"])
            if row["entity"] is not None:
                days.setdefault((row["entity"], row["clock"]), set()).add(row["day"])
        return Changes(position, {key: frozenset(values) for key, values in days.items()})

    def snapshot_to(self, path: Path | str) -> Path:
        """Not needed: other processes read the database itself.

        Raises:
            StoreError: always.
        """
        hint = "Let the other process use the same `warehouse:`; for a backup use pg_dump"
        raise StoreError(
            f"no copy is written to {path}: PostgreSQL can be read by many", where=self._connections.where, hint=hint
        )

    def give_back_memory(self) -> None:
        """Nothing is cached on this side."""

    def sparing(self) -> AbstractContextManager[None]:
        """The server sees to its memory itself."""
        return nullcontext()

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()


class PostgresBatch:
    """Writes of one transaction; see :class:`kpid.warehouse.Batch`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._seq: int | None = None

    def upsert(self, entity: str, rows: pa.Table) -> Written:
        """Store rows by ``id``: the last one wins, equal ones are left alone, changed ones are replaced whole."""
        if not rows.num_rows:
            return Written()
        self._bring(entity_table(entity), conform(entity, rows))
        if not self._work("was", pg_writes.WAS.format(entity=entity)):
            self._touch(entity, [pg_writes.INCOMING])
            return Written(rows.num_rows, self._run(pg_writes.add_rows(entity, pg_writes.INCOMING)))
        changed = self._work("fresh", pg_writes.fresh_rows(entity))
        if changed:
            self._touch(entity, ["fresh", "(SELECT w.* FROM was w WHERE w.id IN (SELECT id FROM fresh)) AS old"])
            self._run(pg_writes.DROP_OLD.format(entity=entity))
            self._run(pg_writes.add_rows(entity, "fresh"))
        return Written(rows.num_rows, changed)

    def tombstone(self, entity: str, gone: Sequence[tuple[str, datetime, str, str | None]]) -> int:
        """Mark rows as deleted; how many were still alive. Unknown ids are passed over."""
        table = entity_table(entity)
        if not gone:
            return 0
        columns = list(zip(*{item[0]: item for item in gone}.values(), strict=True))
        names = ["id", "deleted_at", "deleted_reason", "merged_into_id"]
        kinds = [pa.string(), INSTANT, pa.string(), pa.string()]
        self._bring(table, pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names=names))
        count = self._work("was", pg_writes.WAS_ALIVE.format(entity=entity))
        if count:
            self._touch(entity, ["was"])
            self._run(pg_writes.BURY.format(entity=entity))
        return count

    def mark_seen(self, source: str, entity: str, run: str, ids: pa.Array | pa.ChunkedArray) -> None:
        """Remember that a full read has met these ids."""
        self._bring(entity_table(entity), pa.table({"id": ids}))
        self._run(pg_writes.MARK_SEEN, [source, entity, run])

    def forget_seen(self, source: str, entity: str) -> None:
        """A full read begins, or is over."""
        self._run(pg_writes.FORGET_SEEN, [source, entity])

    def save_watermark(self, watermark: Watermark) -> None:
        """Remember how far the read has come."""
        cursor = None if watermark.cursor is None else json.dumps(watermark.cursor, sort_keys=True)
        self._run(pg_writes.DROP_WATERMARK, [watermark.source, watermark.entity])
        values = [watermark.source, watermark.entity, cursor, watermark.through, watermark.finished_at]
        self._run(pg_writes.ADD_WATERMARK, values)

    def _touch(self, entity: str, relations: Sequence[str]) -> None:
        if self._seq is None:
            [[self._seq]] = self._connection.execute(pg_writes.NEXT_SEQ).fetchall()
        self._work("days", pg_writes.touched_days(entity, relations))
        self._run(pg_writes.FORGET_TOUCHED)
        self._run(pg_writes.ADD_TOUCHED, [self._seq])

    def _work(self, name: str, select: str) -> int:
        """Make a working table; how many rows it has."""
        count = 0
        for statement in pg_writes.as_work(name, select):
            count = self._run(statement)
        if count > _MANY:
            self._run(f"ANALYZE {name}")
        return count

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it wrote."""
        return max(0, self._connection.execute(sql, list(parameters) or None).rowcount)

    def _bring(self, table: Table, rows: pa.Table) -> None:
        """Copy rows into a working table."""
        self._run(pg_writes.drop_work(pg_writes.INCOMING))
        self._run(pg_writes.create_incoming(table, rows.column_names))
        text = io.BytesIO()
        sendable = [_sendable(rows.column(name), table.columns[name]) for name in rows.column_names]
        csv.write_csv(pa.table(sendable, names=rows.column_names), text, csv.WriteOptions(include_header=False))
        with self._connection.cursor().copy(f"COPY {pg_writes.INCOMING} FROM STDIN (FORMAT csv)") as copy:
            copy.write(text.getbuffer())


def _sendable(values: pa.ChunkedArray, column: Column[Any]) -> pa.ChunkedArray:
    """Texts without what PostgreSQL cannot store: the zero character, and halves of characters inside JSON."""
    if not pa.types.is_string(values.type):
        return values
    if pg_writes.pg_type(column) == "JSONB":
        return pa.chunked_array([[None if text is None else _storable_json(text) for text in values.to_pylist()]], pa.string())
    return compute.replace_substring(values, "\0", "\ufffd")


def _storable_json(text: str) -> str:
    if "\\u0000" not in text and "\\ud" not in text.lower():
        return text
    return json.dumps(_storable(json.loads(text)), ensure_ascii=False)


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case _:
            return value
