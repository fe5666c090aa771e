"""Real stores for the ingest tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kpid.ingest.sync import SyncResult, sync_source
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDBWarehouse]:
    opened = open_duckdb(tmp_path / "crm.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/kpid.db")
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def sync(warehouse: DuckDBWarehouse, store: Store) -> Callable[..., SyncResult]:
    def run(connector: Any, **options: Any) -> SyncResult:
        return sync_source("crm", connector, warehouse=warehouse, store=store, clock=connector.context.clock, **options)

    return run
