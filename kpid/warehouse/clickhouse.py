"""ClickHouse as an engine that is read in place: a server by HTTP, or ``chdb`` inside this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import URL

from kpid.errors import ConfigError, StoreError
from kpid.warehouse.columns import GRAMMARS
from kpid.warehouse.parameters import with_marks

SETTINGS: Mapping[str, Any] = {
    "join_use_nulls": 1,
    "group_by_use_nulls": 1,
    "prefer_column_name_to_alias": 1,
    "transform_null_in": 0,
    "cast_keep_nullable": 1,
    "cast_string_to_date_time_mode": "best_effort",
    "session_timezone": "UTC",
    "max_query_size": 64 * 2**20,
    "max_ast_elements": 5_000_000,
    "max_expanded_ast_elements": 10_000_000,
    "output_format_arrow_string_as_string": 1,
}
"""What makes ClickHouse's SQL standard."""

_HINTS = (
    ("AUTHENTICATION_FAILED", "the server refused our credentials", "Check user and password in `warehouse:`"),
    ("UNKNOWN_DATABASE", "there is no such database", "Correct the database in `warehouse:`"),
    ("UNKNOWN_TABLE", "there is no such table", "Correct `table:` below `tables:`"),
    ("ACCESS_DENIED", "the server does not allow it", "Grant the user of `warehouse:` SELECT on the mapped tables"),
    ("NOT_ENOUGH_PRIVILEGES", "the server does not allow it", "Grant the user of `warehouse:` SELECT on the mapped tables"),
    ("READONLY", "the server lets the user set nothing", "kpid needs a user with readonly = 2, or the settings in its profile"),
    ("Connection refused", "the server does not answer", "Is ClickHouse running, and are host and port (HTTP: 8123) right?"),
    ("Max retries exceeded", "the server does not answer", "Is ClickHouse running, and are host and port (HTTP: 8123) right?"),
    ("timed out", "the server does not answer in time", "Is it reachable from here?"),
)


class ClickHouseEngine:
    """ClickHouse by HTTP, or in this process.

    Args:
        url: ``clickhouse://user@host:8123/db`` (``clickhouses://``: by TLS), or ``chdb:///folder``. ``?approximate=yes`` takes
            quick distinct counts and quantiles; their figures are marked.

    Raises:
        ConfigError: the driver is missing.
        StoreError: the server cannot be reached, or refuses.
    """

    def __init__(self, url: URL) -> None:
        self.dialect = "clickhouse~" if str(url.query.get("approximate", "")).lower() in ("yes", "true", "1") else "clickhouse"
        self.where = url.render_as_string(hide_password=True).partition("?")[0]
        self._lock = threading.Lock()
        try:
            self._run = _in_process(url) if url.get_backend_name() == "chdb" else _by_http(url)
            self.query("SELECT 1 AS n")
        except ImportError as error:
            raise ConfigError("the ClickHouse driver is missing", hint='pip install "kpid[clickhouse]"') from error
        except StoreError:
            raise
        except Exception as error:
            raise self._error(error, "the warehouse cannot be opened") from error

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT; one at a time.

        Raises:
            StoreError: the engine refuses it.
        """
        values = dict(enumerate(parameters, 1))
        text = with_marks(sql, lambda n: "NULL" if values[n] is None else f"{{p{n}:{_type(values[n])}}}")
        bound = {f"p{n}": _text(value) for n, value in values.items() if value is not None}
        with self._lock:
            try:
                return self._run.query(text, bound)
            except Exception as error:
                raise self._error(error, "the warehouse refused a query") from error

    def columns_of(self, table: Sequence[str]) -> Sequence[str] | None:
        """Names of a table's columns; None if there is no such table."""
        database = "currentDatabase()" if len(table) < 2 else "$2"
        found = self.query(
            f"SELECT name FROM system.columns WHERE table = $1 AND database = {database} ORDER BY position",
            [table[-1], *table[-2:-1]],
        )
        return found.column("name").to_pylist() or None

    def close(self) -> None:
        """Close the connection."""
        self._run.close()

    def _error(self, error: Exception, what: str) -> StoreError:
        text = " ".join(str(error).split())
        for part, meaning, hint in _HINTS:
            if part in text:
                return StoreError(f"{what}: {meaning}", where=self.where, hint=hint)
        return StoreError(f"{what}: {text.partition(': In scope')[0][:500]}", where=self.where)


class _Http:
    def __init__(self, client: Any) -> None:
        self._client = client

    def query(self, sql: str, parameters: Mapping[str, str]) -> pa.Table:
        """Arrow straight from the server."""
        return _plain(self._client.query_arrow(sql, parameters=dict(parameters), settings=dict(SETTINGS), use_strings=True))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _by_http(url: URL) -> _Http:
    import clickhouse_connect  # noqa: PLC0415

    is_secure = url.get_backend_name() == "clickhouses"
    client = clickhouse_connect.get_client(
        host=url.host or "localhost",
        port=url.port or (8443 if is_secure else 8123),
        username=url.username or "default",
        password=url.password or "",
        database=url.database or "default",
        secure=is_secure,
        connect_timeout=10,
        autogenerate_session_id=False,
    )
    return _Http(client)


class _Process:
    def __init__(self, session: Any) -> None:
        self._session = session

    def query(self, sql: str, parameters: Mapping[str, str]) -> pa.Table:
        """Arrow from the engine in this process."""
        bound = {name: _escaped(value) for name, value in parameters.items()}
        for is_last in (False, True):
            result = self._session.query(sql, "Arrow", params=bound)
            try:
                return _plain(pa.ipc.open_file(pa.BufferReader(result.bytes())).read_all())
            except OSError:  # what a query that failed has left behind is in front of the first answer after it
                if is_last:
                    raise
        raise AssertionError  # the loop returns or raises

    def close(self) -> None:
        """Give the folder back."""
        self._session.close()


def _in_process(url: URL) -> _Process:
    from chdb import session  # noqa: PLC0415

    opened = session.Session(url.database or "chdb")
    for name, value in SETTINGS.items():
        opened.query(f"SET {name} = {GRAMMARS['clickhouse'].text(value) if isinstance(value, str) else value}")
    return _Process(opened)


def _plain(table: pa.Table) -> pa.Table:
    """ClickHouse's truth values and texts in the types that everybody uses."""
    fields = [field.with_type(pa.string()) if pa.types.is_binary(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields))


_TYPES = (
    (bool, "Bool"), (int, "Int64"), (float, "Float64"), (datetime, "DateTime64(6, 'UTC')"), (date, "Date32"),
    ((list, tuple), "Array(String)"),
)  # fmt: skip


def _type(value: Any) -> str:
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return f"Decimal(38, {max(0, -exponent) if isinstance(exponent, int) else 0})"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "String")


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        case Decimal():
            return f"{value:f}"
        case list() | tuple():
            return "[" + ", ".join(GRAMMARS["clickhouse"].text(str(item)) for item in value) + "]"
        case _:
            return str(value)


def _escaped(text: str) -> str:
    """A parameter as the engine reads one: separators of its text format are written with a backslash."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
