"""Instants that a source does not tell, so that its connector gives those of the last change: the first one seen is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from kpid.plugin import EntityReads
from kpid.warehouse import Warehouse

_STATES = {"deals": "state", "leads": "status", "tickets": "status"}
"""What an instant belongs to: as long as this stays, the first one holds; once it has changed, there is a new one."""


def keep_first(warehouse: Warehouse, reads: EntityReads, table: pa.Table) -> pa.Table:
    """Rows about to be stored, with the instants that were seen first.

    Without this the edit of a deal that was won long ago would move its closing into the present.

    Args:
        warehouse: what is stored.
        reads: says in ``observed`` which columns are such.
        table: rows of the entity, in the order in which they were read.
    """
    if not reads.observed or not table.num_rows:
        return table
    state = _STATES.get(reads.entity)
    names = [*([state] if state else []), *reads.observed]
    ids = table.column("id").to_pylist()
    known = _stored(warehouse, reads.entity, names, ids)
    rows = table.select(names).to_pylist()
    for key, row in zip(ids, rows, strict=True):
        before = known.get(key)
        if before is not None and (state is None or before[state] == row[state]):
            row |= {name: before[name] for name in reads.observed if row[name] is not None and before[name] is not None}
        known[key] = row
    for name in reads.observed:
        number = table.column_names.index(name)
        values = pa.array([row[name] for row in rows], table.schema.field(number).type)
        table = table.set_column(number, table.schema.field(number), values)
    return table


def _stored(warehouse: Warehouse, entity: str, names: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not warehouse.may_hold(entity, ids):
        return {}
    sql = f"SELECT id, {', '.join(names)} FROM {entity} WHERE id IN (SELECT unnest($1::VARCHAR[]))"
    return {row["id"]: row for row in warehouse.query(sql, [ids]).to_pylist()}
