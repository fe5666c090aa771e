"""Which engine a ``warehouse:`` URL means, opened. Drivers are imported when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import URL, make_url

from kpid.analysis.language import Mistake, Node
from kpid.config.model import Config
from kpid.config.tables import IN_PLACE, MappedTable, expression
from kpid.errors import ConfigError
from kpid.warehouse import Warehouse
from kpid.warehouse.mapped import Engine, MappedEntity, MappedWarehouse, source_of

Mode = Literal["write", "read", "none"]
_MAX_AGE = timedelta(hours=26)
"""Of tables that say nothing else: they are usually filled once a day."""


def open_warehouse(config: Config, mode: Mode) -> Warehouse | None:
    """Open what ``warehouse:`` names; with ``tables:`` it is read in place.

    Args:
        config: the configuration.
        mode: for writing, for reading only, or not at all.

    Raises:
        ConfigError: nothing can be done with the URL, or its driver is missing.
        StoreError, BusyError: it cannot be opened.
    """
    if mode == "none":
        return None
    url = make_url(config.warehouse)
    if is_in_place(config):
        return MappedWarehouse(open_engine(url), mappings_of(config.tables))
    if url.get_backend_name() == "postgresql":
        from kpid.warehouse.postgres import open_postgres  # noqa: PLC0415

        return open_postgres(url, read_only=mode == "read")
    from kpid.warehouse.duckdb import open_duckdb  # noqa: PLC0415

    return open_duckdb(Path(url.database or "crm.duckdb"), read_only=mode == "read")


def is_in_place(config: Config) -> bool:
    """Whether the warehouse's tables are the company's own."""
    return bool(config.tables) or config.warehouse.partition(":")[0] in IN_PLACE


def ages_of_tables(config: Config) -> dict[str, timedelta]:
    """How old the data of each table that is read in place may be before it is stale, by the name of its freshness."""
    return {source_of(entity): table.max_age or _MAX_AGE for entity, table in config.tables.items()}


def open_engine(url: URL) -> Engine:
    """Connect to an engine whose tables are read in place.

    Raises:
        ConfigError: its driver is missing, or its tables are not read in place.
        StoreError: it cannot be reached.
    """
    kind = url.get_backend_name()
    if kind in ("spark", "sc"):
        from kpid.warehouse.spark import SparkEngine  # noqa: PLC0415

        return SparkEngine(url)
    if kind == "postgresql":
        from kpid.warehouse.postgres import PostgresEngine  # noqa: PLC0415

        return PostgresEngine(url)
    if kind in IN_PLACE:
        from kpid.warehouse.clickhouse import ClickHouseEngine  # noqa: PLC0415

        return ClickHouseEngine(url)
    raise ConfigError(f"tables: a {kind} warehouse is kpid's own: its tables are not mapped", hint="Take `tables:` out")


def mappings_of(tables: Mapping[str, MappedTable]) -> list[MappedEntity]:
    """The mappings of ``tables:``, read.

    Raises:
        ConfigError: an expression cannot be read.
    """
    return [
        MappedEntity(entity, table.parts, _columns(entity, table), table.same_names, table.through)
        for entity, table in tables.items()
    ]


def _columns(entity: str, table: MappedTable) -> dict[str, Node]:
    read = {}
    for name, text in table.columns.items():
        try:
            read[name] = expression(text)
        except Mistake as error:
            raise ConfigError(f"tables.{entity}.columns.{name}: {error}") from error
    return read
