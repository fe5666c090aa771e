"""Spark as an engine that is read in place: a cluster's Spark Connect address, a master, or a session in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import URL

from kpid.errors import ConfigError, StoreError
from kpid.warehouse.columns import GRAMMARS
from kpid.warehouse.parameters import with_marks

_HINTS = (
    ("JAVA_GATEWAY_EXITED", "Java does not start", "Spark needs Java 17 or later: install it, or use a Spark Connect address"),
    (
        "Java gateway process exited",
        "Java does not start",
        "Spark needs Java 17 or later: install it, or use a Spark Connect address",
    ),
    ("JAVA_HOME", "Java does not start", "Spark needs Java 17 or later: install it, or use a Spark Connect address"),
    ("StatusCode.UNAVAILABLE", "the server does not answer", "Is Spark Connect running there (port 15002)?"),
    ("UNAUTHENTICATED", "the server refused our token", "Check `token=` in `warehouse:`"),
    ("TABLE_OR_VIEW_NOT_FOUND", "there is no such table", "Correct `table:` below `tables:`"),
    ("INSUFFICIENT_PERMISSIONS", "the catalogue does not allow it", "Grant SELECT on the mapped tables"),
)
_SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
}


class SparkEngine:
    """Spark SQL.

    Args:
        url: ``sc://host:15002`` (Spark Connect), ``spark://host:7077`` (a master; this process is the driver) or
            ``spark://local`` (all in this process). Keys of its query are settings of the session: ``?spark.sql.catalog.x=...``.

    Raises:
        ConfigError: ``pyspark`` is missing.
        StoreError: the cluster cannot be reached, or refuses.
    """

    dialect = "spark"

    def __init__(self, url: URL) -> None:
        self.where = url.render_as_string(hide_password=True).partition(";")[0]
        self._lock = threading.Lock()
        try:
            self._session = _session(url)
        except ImportError as error:
            raise ConfigError("pyspark is missing", hint='pip install "kpid[spark]"') from error
        except Exception as error:
            raise self._error(error, "the warehouse cannot be opened") from error

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT; one at a time.

        Raises:
            StoreError: the engine refuses it.
        """
        text = with_marks(sql, lambda n: f":p{n}")
        values = {f"p{n}": value for n, value in enumerate(parameters, 1)}
        with self._lock:
            try:
                return self._session.sql(text, args=values).toArrow()
            except Exception as error:
                raise self._error(error, "the warehouse refused a query") from error

    def columns_of(self, table: Sequence[str]) -> Sequence[str] | None:
        """Names of a table's columns; None if there is no such table."""
        try:
            return list(self.query(f"SELECT * FROM {GRAMMARS['spark'].name(*table)} LIMIT 0").column_names)
        except StoreError as error:
            if "no such table" in str(error):
                return None
            raise

    def close(self) -> None:
        """Nothing: the session is shared by all that this process opens."""

    def _error(self, error: Exception, what: str) -> StoreError:
        text = " ".join(str(error).split())
        for part, meaning, hint in _HINTS:
            if part in text:
                return StoreError(f"{what}: {meaning}", where=self.where, hint=hint)
        return StoreError(f"{what}: {text.partition(' JVM stacktrace')[0][:500]}", where=self.where)


def _session(url: URL) -> Any:
    """A session; one of this process's own is started once."""
    from pyspark.sql import SparkSession  # noqa: PLC0415

    given, url = {name: str(value) for name, value in url.query.items()}, url.set(query={})
    if url.get_backend_name() == "sc":
        session = SparkSession.builder.remote(url.render_as_string(hide_password=False)).getOrCreate()
    else:
        is_local = url.host in (None, "local")
        master = "local[2]" if is_local else url.render_as_string(hide_password=False)
        builder = SparkSession.builder.appName("kpid").master(master)
        for name, value in {**(_LOCAL if is_local else {}), **given}.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    for name, value in {**given, **_SETTINGS}.items():
        session.conf.set(name, value)
    return session
