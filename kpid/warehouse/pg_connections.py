"""Connections to PostgreSQL: opened when needed, used again, and what goes wrong with them in words.

The only module of the warehouse that imports ``psycopg``, and only when a PostgreSQL is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy.engine import URL

from kpid.errors import ConfigError, StoreError
from kpid.warehouse.types import INSTANT

if TYPE_CHECKING:
    import psycopg

_KINDS: Mapping[int, pa.DataType] = {
    16: pa.bool_(), 20: pa.int64(), 21: pa.int64(), 23: pa.int64(), 700: pa.float64(), 701: pa.float64(), 1082: pa.date32(),
    1184: INSTANT, 1021: pa.list_(pa.float64()), 1022: pa.list_(pa.float64()), 1007: pa.list_(pa.int64()),
    1016: pa.list_(pa.int64()),
}  # fmt: skip
"""Arrow's type by PostgreSQL's type number; other types are texts, but for numbers."""
_NUMERIC = 1700
_IDLE = 4
_HINTS = (
    ("password authentication failed", "the server refused our credentials", "Check user and password in `warehouse:`"),
    ("no password supplied", "the server wants a password", "Write it as ${env:NAME} in `warehouse:`, or use a .pgpass file"),
    ("authentication failed", "the server refused our credentials", "Check user and password in `warehouse:`"),
    ("Connection refused", "the server does not answer", "Is PostgreSQL running, and are host and port right?"),
    ("could not translate host name", "there is no such host", "Correct the host in `warehouse:`"),
    ("failed to resolve host", "there is no such host", "Correct the host in `warehouse:`"),
    ("timeout", "the server does not answer in time", "Is it reachable from here?"),
    ("does not exist", "there is no such database or role", "Create it, or correct `warehouse:`"),
    ("permission denied", "the server does not allow it", "Grant the role of `warehouse:` what is missing"),
)


class Connections:
    """A few connections that queries and batches take turns with.

    Args:
        url: of the database; its query is handed to libpq, but for ``schema``.
        schema: where unqualified names are looked up first.
        read_only: every transaction only reads.

    Raises:
        ConfigError: the driver is missing.
        StoreError: the server cannot be reached, or refuses.
    """

    def __init__(self, url: URL, schema: str, *, read_only: bool = False) -> None:
        self.where = url.render_as_string(hide_password=True).partition("?")[0]
        self._url, self._schema, self._read_only = url, schema, read_only
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self._give_back(self._connect())

    @contextmanager
    def borrowed(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for the length of the block; given up if it broke.

        Raises:
            StoreError: the server cannot be reached, or refused a statement.
        """
        import psycopg  # noqa: PLC0415

        connection = self._take()
        try:
            yield connection
        except psycopg.Error as error:
            raise self.error(error, "the warehouse refused a query") from error
        finally:
            self._give_back(connection)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT; a connection that was lost while idle is replaced once."""
        import psycopg  # noqa: PLC0415

        for is_last in (False, True):
            with self.borrowed() as connection:
                try:
                    return _table(connection.execute(sql, list(parameters) or None))
                except psycopg.OperationalError:
                    if is_last or not connection.closed:
                        raise
        raise AssertionError  # the loop returns or raises

    def error(self, error: Exception, what: str) -> StoreError:
        """A driver's error in our words; it never has the password."""
        text = " ".join(str(error).split())
        for part, meaning, hint in _HINTS:
            if part in text and not text.startswith(("relation", "column", "function")):
                return StoreError(f"{what}: {meaning}", where=self.where, hint=hint)
        return StoreError(f"{what}: {text.partition(' LINE 1:')[0]}", where=self.where)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._is_closed:
                raise StoreError("the warehouse is closed", where=self.where)
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            if not connection.closed and not self._is_closed and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            import psycopg  # noqa: PLC0415
            from psycopg.types.string import TextLoader  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("the PostgreSQL driver is missing", hint='pip install "kpid[postgres]"') from error
        url = self._url
        given = {key: value for key, value in url.query.items() if key != "schema"}
        named = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
        options: dict[str, Any] = {
            "connect_timeout": "10",
            **given,
            **{key: value for key, value in named.items() if value is not None},
        }
        try:
            connection: psycopg.Connection[Any] = psycopg.connect(**options, autocommit=True, cursor_factory=psycopg.RawCursor)
        except (psycopg.Error, ValueError) as error:
            raise self.error(error, "the warehouse cannot be opened") from error
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
        with suppress(psycopg.Error):
            connection.execute("SET intervalstyle = 'iso_8601'")
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SELECT set_config('search_path', $1, false)", [f'"{self._schema}"' if self._schema else "public"])
        if self._read_only:
            connection.execute("SET default_transaction_read_only = on")
        return connection


def _table(cursor: Any) -> pa.Table:
    """The result of a statement in Arrow."""
    if cursor.description is None:
        return pa.table({})
    rows = cursor.fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * len(cursor.description)
    arrays = [_array(values, column) for values, column in zip(columns, cursor.description, strict=True)]
    return pa.Table.from_arrays(arrays, names=[column.name for column in cursor.description])


def _array(values: Sequence[Any], column: Any) -> pa.Array:
    kind = column.type_code
    if kind == _NUMERIC and column.precision:
        return pa.array(values, pa.decimal128(column.precision, column.scale))
    if kind == _NUMERIC:
        return pa.array(values) if any(value is not None for value in values) else pa.array(values, pa.decimal128(38, 6))
    if kind in _KINDS:
        return pa.array(values, _KINDS[kind])
    return pa.array([value if value is None or isinstance(value, str) else str(value) for value in values], pa.string())
