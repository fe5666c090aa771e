"""The embedded warehouse: one DuckDB 2 file, owned by one process. The only module that knows ``duckdb``.

Writes go through one connection under a lock, a transaction per batch; readers have cursors of their own and see whole batches
only. Nothing is ever downloaded: extensions that are not built in are switched off.
"""

from __future__ import annotations

import glob
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from kpid.errors import BusyError, StoreError
from kpid.warehouse import Changes, Watermark, writes
from kpid.warehouse.duckdb_batch import DuckDBBatch
from kpid.warehouse.spans import Spans

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIDY_EVERY = 5  # batches, then cached pages are let go: a long sync takes no more memory than a short one
_STORAGE = "v1.5.0"
"""File format: readable by DuckDB 1.5 and 2.x, until the one of 2.x has settled."""

_CONFIG = {
    "storage_compatibility_version": _STORAGE,
    "memory_limit": "640MB",  # DuckDB takes a third more at its peak; beyond, it spills to disk at the same cost of CPU
    "async_threads": "1",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "preserve_insertion_order": "false",
}
_THRIFTY = {"memory_limit": "96MB", "threads": "1", "max_vacuum_tasks": "0"}
"""While rows are stored and nobody reads: batches need no more, and what they leave in memory makes no later batch faster. Parts
of tables are not joined to larger ones then, which takes tens of megabytes: that is for checkpoints at other times. With 48 MB a
batch of deals with three histories fails: each column of each table that it writes to holds a block."""
_LEAST = {**_THRIFTY, "memory_limit": "32MB"}
"""While a sync looks something up, and nobody else reads: it may go through whole tables, and a larger limit is filled with their
pages. What does not fit goes to disk and comes back."""
_REBUILD = "Restore a copy of the file; or move it away and run `kpid sync --full`: the CRM is read again"


def open_duckdb(path: Path | str, *, read_only: bool = False) -> DuckDBWarehouse:
    """Open the warehouse file, made or extended as needed.

    Args:
        path: the file; its folder is made.
        read_only: for a snapshot: nothing is made or changed.

    Raises:
        BusyError: another process, or another part of this one, holds the file.
        StoreError: the file cannot be made, is not a DuckDB file, or is damaged.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps twenty megabytes of what the largest batch took
    file = Path(path)
    if read_only and not file.exists():
        raise StoreError("the warehouse does not exist yet", where=str(file), hint="Run `kpid sync` first")
    try:
        if not read_only:
            _make_file(file)
        connection = duckdb.connect(str(file), read_only=read_only, config=dict(_CONFIG))
    except (duckdb.Error, OSError) as error:
        raise _open_error(file, error) from error
    try:
        return DuckDBWarehouse(file, connection, read_only=read_only)
    except duckdb.Error as error:
        connection.close()
        raise _open_error(file, error) from error


def _make_file(file: Path) -> None:
    """A new database is made beside its place: a kill half-way through its first page must not leave a file nobody can open."""
    if file.exists() and file.stat().st_size:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    duckdb.connect(str(beside), config=dict(_CONFIG)).close()
    if file.exists():
        file.unlink()  # an empty one
    try:
        os.link(beside, file)  # unlike a rename this never takes the place of a file that another process has just made
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        beside.replace(file)
    beside.unlink(missing_ok=True)


def _open_error(file: Path, error: Exception) -> StoreError | BusyError:
    text = str(error).split("\n", maxsplit=1)[0]
    if "set lock on file" in text:
        holder = text.partition("(PID ")[2].partition(")")[0]
        who = f"another process (PID {holder})" if holder else "another process"
        return BusyError(
            f"the warehouse is held by {who}",
            where=str(file),
            hint="If it is the kpid daemon, stop it or ask it; else close that program",
        )
    if "different configuration" in text:
        return BusyError("this process has the warehouse open already, in another mode", where=str(file))
    if "not a valid DuckDB" in text:
        return StoreError(
            "this is not a DuckDB file", where=str(file), hint="Correct `warehouse:` in the configuration, or move the file away"
        )
    if isinstance(error, OSError) or "Cannot open" in text or "No such file" in text or "Permission" in text:
        return StoreError(f"the warehouse cannot be opened: {text}", where=str(file), hint="Check the path and its permissions")
    return StoreError(f"the warehouse cannot be read: {text}", where=str(file), hint=_REBUILD)


class DuckDBWarehouse:
    """A :class:`~kpid.warehouse.Warehouse` in one file.

    Args:
        path: the file, for error messages and snapshots.
        connection: the open database.
        read_only: no tables are made and no batches taken.
    """

    dialect = "duckdb"
    in_place = False

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool = False) -> None:
        self.path = path
        self._connection = connection
        self._cursors = threading.Lock()
        self._readers = 0
        self._batches = 0
        [(threads,)] = connection.execute("SELECT current_setting('threads')").fetchall()
        self._usual = {"memory_limit": _CONFIG["memory_limit"], "threads": str(threads), "max_vacuum_tasks": "2"}
        self._room = self._usual
        self._sparing: set[int] = set()
        self._in_batch = False
        self._spans = Spans()
        self._writing = threading.RLock()
        self._copying = threading.Lock()
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        self._writer = None if read_only else connection.cursor()
        if self._writer is not None:
            _migrate(self._writer)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT on a cursor of its own and give its whole result.

        Raises:
            StoreError: the engine refuses it.
        """
        with self._cursor() as cursor:
            try:
                try:
                    return _result(cursor, sql, parameters)
                except duckdb.OutOfMemoryException:  # while this thread was sparing
                    self._take_room()
                    return _result(cursor, sql, parameters)
            except duckdb.Error as error:
                raise StoreError(f"the warehouse refused a query: {error}", where=str(self.path)) from error

    @contextmanager
    def batch(self) -> Iterator[DuckDBBatch]:
        """A transaction; rolled back if the block raises. Batches of several threads wait for each other.

        Raises:
            StoreError: the file was opened for reading only, or the disk refused the rows.
        """
        if self._writer is None:
            raise StoreError("the warehouse was opened for reading only", where=str(self.path))
        with self._writing:
            with self._cursors:
                self._in_batch = True
                self._set_room(self._usual if self._readers else _THRIFTY)
            try:
                self._writer.execute("BEGIN")
                try:
                    yield DuckDBBatch(self._writer, self._take_room, self._spans)
                    for statement in writes.DROP_WORK:
                        self._writer.execute(statement)
                except BaseException:
                    self._writer.execute("ROLLBACK")
                    raise
                self._writer.execute("COMMIT")
                self._batches += 1
                if self._batches % _TIDY_EVERY == 0:
                    with suppress(duckdb.Error):  # what was stored is stored
                        self._writer.execute(writes.JOIN_TOUCHED)
                    self.give_back_memory()
            except duckdb.Error as error:
                raise StoreError(f"the warehouse could not store rows: {error}", where=str(self.path)) from error
            finally:
                self._in_batch = False

    def may_hold(self, entity: str, ids: Iterable[str]) -> bool:
        """Whether rows with any of these ids may be stored; False is certain, and costs nothing."""
        return self._spans.may_hold(entity, ids)

    def watermarks(self) -> Sequence[Watermark]:
        """All watermarks, by source and entity."""
        rows = self.query(
            "SELECT source_id, entity, cursor, epoch_us(through) AS through, epoch_us(finished_at) AS finished "
            "FROM watermarks ORDER BY source_id, entity"
        )
        return [
            Watermark(
                row["source_id"],
                row["entity"],
                json.loads(row["cursor"] or "null"),
                _instant(row["through"]),
                _instant(row["finished"]),
            )
            for row in rows.to_pylist()
        ]

    def changes(self, after: int) -> Changes:
        """Days of each clock column that were written since position ``after``."""
        found = self.query(
            "SELECT entity, clock, day, seq FROM touched WHERE seq > $1 "
            "UNION ALL SELECT NULL, NULL, NULL, coalesce(max(seq), 0) FROM touched",
            [after],
        )
        days: dict[tuple[str, str], set[date | None]] = {}
        position = after
        for row in found.to_pylist():
            position = max(position, row["seq"])
            if row["entity"] is not None:
                days.setdefault((row["entity"], row["clock"]), set()).add(row["day"])
        return Changes(position, {key: frozenset(values) for key, values in days.items()})

    def snapshot_to(self, path: Path | str) -> Path:
        """A consistent copy for readers in other processes: written beside ``path``, then put in its place at once.

        Raises:
            StoreError: the copy cannot be written.
        """
        target = Path(path)
        beside = target.with_name(f"{target.name}.{os.getpid()}.new")
        with self._copying, self._cursor() as cursor:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                for left in target.parent.glob(f"{glob.escape(target.name)}.*.new"):  # by a process that was killed
                    left.unlink(missing_ok=True)
                name = cursor.execute("SELECT current_database()").fetchall()[0][0]
                place = str(beside).replace("'", "''")
                cursor.execute(f"ATTACH '{place}' AS kpid_snapshot (STORAGE_VERSION '{_STORAGE}')")
                try:
                    cursor.execute(f'COPY FROM DATABASE "{name}" TO kpid_snapshot')
                finally:
                    cursor.execute("DETACH kpid_snapshot")
                beside.replace(target)
            except (duckdb.Error, OSError) as error:
                raise StoreError(f"no snapshot could be written: {error}", where=str(target), hint="Is the disk full?") from error
            finally:
                beside.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        """Flush and let go of the file."""
        with self._writing, suppress(duckdb.Error):
            if self._writer is not None:
                self._writer.close()
            self._connection.close()

    def give_back_memory(self) -> None:
        """Let go of rows and pages in memory, unless somebody is reading or writing.

        Rows of the last batches stay in memory until they are written into the file; a small limit makes DuckDB free its pages at
        once.
        """
        if not self._writing.acquire(blocking=False):
            return
        with self._cursors:
            limits = (f"SET memory_limit = '{limit}'" for limit in ("8MB", self._room["memory_limit"]))
            for statement in () if self._readers else ("CHECKPOINT", *limits):
                with suppress(duckdb.Error):  # closed, read-only, or more is held than that: what can be freed is
                    self._connection.execute(statement)
        self._writing.release()

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """Queries of this thread make do with little."""
        thread = threading.get_ident()
        self._sparing.add(thread)
        try:
            yield
        finally:
            self._sparing.discard(thread)

    def _take_room(self) -> None:
        with self._cursors:
            self._set_room(self._usual)

    def _set_room(self, room: dict[str, str]) -> None:
        """Make do with little, or not."""
        if room is not self._room:
            self._room = room
            for name, value in room.items():
                with suppress(duckdb.Error):  # more is held than that
                    self._connection.execute(f"SET GLOBAL {name} = '{value}'")

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._cursors:
            try:
                cursor = self._connection.cursor()
            except duckdb.Error as error:
                raise StoreError(f"the warehouse is closed: {error}", where=str(self.path)) from error
            self._readers += 1
            if threading.get_ident() not in self._sparing:
                self._set_room(self._usual)
            elif self._readers == 1 and not self._in_batch:
                self._set_room(_LEAST)
        try:
            yield cursor
        finally:
            with self._cursors:
                cursor.close()
                self._readers -= 1


def _result(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any]) -> pa.Table:
    relation = cursor.sql(sql, params=list(parameters) or None)
    return pa.table({}) if relation is None else relation.to_arrow_table()


def _migrate(cursor: duckdb.DuckDBPyConnection) -> None:
    cursor.execute("BEGIN")
    present: dict[str, set[str]] = {}
    for table, column in cursor.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall():
        present.setdefault(table, set()).add(column)
    for table in writes.all_tables():
        if table.name not in present:
            cursor.execute(writes.create_table(table))
        for statement in writes.add_columns(table, present.get(table.name, table.columns.keys())):
            cursor.execute(statement)
    for statement in writes.BOOKKEEPING:
        cursor.execute(statement)
    cursor.execute("COMMIT")


def _instant(microseconds: int | None) -> datetime | None:
    """As numbers, since Arrow loads pandas, where it is installed, to make instants of its own: a fifth of a second."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
