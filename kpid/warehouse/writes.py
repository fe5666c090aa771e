"""The SQL of the warehouse's writes, as text. Pure: names come from our own tables, values always as parameters.

A batch works on two temporary tables: ``was`` (the stored rows that a write is about to touch) and ``fresh`` (the incoming rows
that differ from them). The days that either has in any clock column go to ``touched``, so that only those are measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import JSON, Table

from kpid.plugin.entities import ENTITIES, watermarks
from kpid.warehouse.types import clock_columns, entity_table, sql_type

INCOMING = "kpid_incoming"
"""The name under which a batch's Arrow table is registered."""

BOOKKEEPING = (
    "CREATE TABLE IF NOT EXISTS touched (entity VARCHAR, clock VARCHAR, day DATE, seq BIGINT)",
    "CREATE TABLE IF NOT EXISTS seen (source_id VARCHAR, entity VARCHAR, run VARCHAR, id VARCHAR)",
)
"""Side tables: which days have changed since when, and what a full read in progress has met."""

NEXT_SEQ = "SELECT greatest(coalesce(max(seq), 0) + 1, epoch_ms(now())) FROM touched"
"""A position larger than all before it: larger, too, than those of a file that this one took the place of."""

WAS = f"CREATE OR REPLACE TEMP TABLE was AS SELECT s.* FROM {{entity}} s SEMI JOIN {INCOMING} i ON s.id = i.id"
WAS_ALIVE = f"""CREATE OR REPLACE TEMP TABLE was AS SELECT s.* FROM {{entity}} s JOIN {INCOMING} i ON s.id = i.id
WHERE s.deleted_at IS NULL OR (s.merged_into_id IS NULL AND i.merged_into_id IS NOT NULL)"""
"""Rows that a tombstone changes: living ones, and deleted ones of which it now turns out that they were merged."""

DROP_OLD = "DELETE FROM {entity} WHERE id IN (SELECT w.id FROM was w SEMI JOIN fresh f ON w.id = f.id)"
ADD_FRESH = "INSERT INTO {entity} BY NAME SELECT * FROM {rows}"

BURY = f"""UPDATE {{entity}} t SET deleted_at = coalesce(t.deleted_at, g.deleted_at), deleted_reason = g.deleted_reason,
merged_into_id = g.merged_into_id FROM {INCOMING} g WHERE t.id = g.id AND t.id IN (SELECT id FROM was)"""

DROP_WORK = tuple(f"DROP TABLE IF EXISTS temp.{name}" for name in ("was", "fresh", "days"))
"""The end of a batch: its temporary tables would stay in memory until the next one."""

FORGET_SEEN = "DELETE FROM seen WHERE source_id = ? AND entity = ?"
MARK_SEEN = f"INSERT INTO seen SELECT ?, ?, ?, id FROM {INCOMING}"

_SAME_DAY = "t.entity = d.entity AND t.clock = d.clock AND t.day IS NOT DISTINCT FROM d.day"
TOUCH_AGAIN = f"UPDATE touched t SET seq = ? FROM days d WHERE {_SAME_DAY}"
ADD_TOUCHED = f"INSERT INTO touched SELECT entity, clock, day, ? FROM days d WHERE NOT EXISTS (FROM touched t WHERE {_SAME_DAY})"
"""Rows are changed in place, here and below: what is deleted stays in the file, and is read, until parts of tables are joined."""
JOIN_TOUCHED = "CREATE OR REPLACE TABLE touched AS FROM touched"
"""Each batch reads it whole: it is not to lie in as many parts as there have been batches."""

MOVE_WATERMARK = "UPDATE watermarks SET cursor = ?, through = ?, finished_at = ? WHERE source_id = ? AND entity = ?"
ADD_WATERMARK = "INSERT INTO watermarks BY NAME SELECT ? AS cursor, ? AS through, ? AS finished_at, ? AS source_id, ? AS entity"


def all_tables() -> list[Table]:
    """The tables that a warehouse file has, the canonical ones first."""
    return [*ENTITIES.values(), watermarks]


def create_table(table: Table) -> str:
    """A table without keys: a key makes every write slower by an order of magnitude, and upserts look for ids anyway."""
    columns = ", ".join(_definition(table, name) for name in _names(table))
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})"


def add_columns(table: Table, present: Iterable[str]) -> list[str]:
    """What brings a file of an older version up to date: columns are added, nothing is taken away."""
    there = set(present)
    return [f"ALTER TABLE {table.name} ADD COLUMN {_definition(table, name)}" for name in _names(table) if name not in there]


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _definition(table: Table, name: str) -> str:
    column = table.columns[name]
    default = " DEFAULT false" if name == "is_test" else ""
    return f'"{name}" {sql_type(column)}{default}'


def fresh_rows(entity: str) -> str:
    """``fresh``: the incoming rows that are new, or differ from ``was`` in anything but the time of the sync."""
    table = entity_table(entity)
    names = [name for name in _names(table) if name not in ("id", "synced_at")]
    differs = " OR ".join(f'i."{name}" IS DISTINCT FROM {_comparable(table, name)}' for name in names)
    return (
        f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT i.* FROM {INCOMING} i LEFT JOIN was w ON w.id = i.id "
        f"WHERE w.id IS NULL OR {differs}"
    )


def _comparable(table: Table, name: str) -> str:
    return f'CAST(w."{name}" AS VARCHAR)' if isinstance(table.columns[name].type, JSON) else f'w."{name}"'


def touched_days(entity: str, relations: Sequence[str]) -> str:
    """``days``: the distinct (entity, clock, day) of the rows in ``relations``; a null day stands for "no value"."""
    parts = [
        f"SELECT '{clock}' AS clock, CAST(\"{clock}\" AS DATE) AS day FROM {relation}"
        for relation in relations
        for clock in clock_columns(entity)
    ]
    union = " UNION ALL ".join(parts)
    return f"CREATE OR REPLACE TEMP TABLE days AS SELECT DISTINCT '{entity}' AS entity, clock, day FROM ({union})"
