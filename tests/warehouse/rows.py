"""Rows of deals for the tests of warehouses."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from kpid.warehouse import Warehouse
from kpid.warehouse.types import arrow_schema

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def deals(*rows: dict[str, Any]) -> pa.Table:
    schema = arrow_schema("deals")
    full = [{"source_id": "crm", "native_id": r["id"].partition(":")[2], "synced_at": NOON, "is_test": False, **r} for r in rows]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in full], schema=schema)


def store(warehouse: Warehouse, *rows: dict[str, Any]) -> Any:
    with warehouse.batch() as batch:
        return batch.upsert("deals", deals(*rows))
