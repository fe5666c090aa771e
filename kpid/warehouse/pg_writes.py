"""The SQL of the PostgreSQL warehouse's writes, as text. Pure: names come from our own tables, values always as parameters.

The same steps as in :mod:`kpid.warehouse.writes`: ``was`` (stored rows about to be touched), ``fresh`` (incoming rows that
differ), ``days`` (the days that either has in any clock column). Working tables belong to the transaction and go with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import JSON, Column, Table

from kpid.warehouse.types import clock_columns, entity_table, sql_type

INCOMING = "kpid_incoming"

BOOKKEEPING = (
    "CREATE TABLE IF NOT EXISTS touched (entity VARCHAR, clock VARCHAR, day DATE, seq BIGINT)",
    "CREATE TABLE IF NOT EXISTS seen (source_id VARCHAR, entity VARCHAR, run VARCHAR, id VARCHAR)",
    "CREATE INDEX IF NOT EXISTS seen_ids ON seen (id, run)",
)
"""Side tables, as in the embedded warehouse; without the index a full read looks through all ids for each row."""

LOCK = "SELECT pg_advisory_xact_lock(hashtext($1))"
"""Batches wait for each other, whatever process they are in: positions must not overtake each other."""

NEXT_SEQ = (
    """SELECT greatest(coalesce(max(seq), 0) + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)) FROM touched"""
)

WAS = f"SELECT s.* FROM {{entity}} s WHERE s.id IN (SELECT id FROM {INCOMING})"
WAS_ALIVE = f"""SELECT s.* FROM {{entity}} s JOIN {INCOMING} i ON s.id = i.id
WHERE s.deleted_at IS NULL OR (s.merged_into_id IS NULL AND i.merged_into_id IS NOT NULL)"""

DROP_OLD = "DELETE FROM {entity} t USING fresh f WHERE t.id = f.id"
BURY = f"""UPDATE {{entity}} t SET deleted_at = coalesce(t.deleted_at, g.deleted_at), deleted_reason = g.deleted_reason,
merged_into_id = g.merged_into_id FROM {INCOMING} g, was w WHERE t.id = g.id AND t.id = w.id"""

FORGET_SEEN = "DELETE FROM seen WHERE source_id = $1 AND entity = $2"
MARK_SEEN = f"INSERT INTO seen SELECT $1, $2, $3, id FROM {INCOMING}"

FORGET_TOUCHED = """DELETE FROM touched t USING days d
WHERE t.entity = d.entity AND t.clock = d.clock AND t.day IS NOT DISTINCT FROM d.day"""
ADD_TOUCHED = "INSERT INTO touched SELECT entity, clock, day, CAST($1 AS BIGINT) FROM days"

DROP_WATERMARK = "DELETE FROM watermarks WHERE source_id = $1 AND entity = $2"
ADD_WATERMARK = "INSERT INTO watermarks (source_id, entity, cursor, through, finished_at) VALUES ($1, $2, $3, $4, $5)"
WATERMARKS = "SELECT source_id, entity, cursor, through, finished_at FROM watermarks ORDER BY source_id, entity"
TOUCHED = """SELECT entity, clock, day, seq FROM touched WHERE seq > $1
UNION ALL SELECT NULL, NULL, NULL, coalesce(max(seq), 0) FROM touched"""
PRESENT = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1"

COLUMNS = """SELECT attname AS name FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum"""


def pg_type(column: Column[object]) -> str:
    """PostgreSQL's type for a column: JSON in the form that can be compared."""
    return "JSONB" if isinstance(column.type, JSON) else sql_type(column)


def create_table(table: Table) -> list[str]:
    """A table, and the index that writes find rows by. No unique key: a batch has each id once."""
    columns = ", ".join(_definition(column) for column in table.columns)
    made = [f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})"]
    if "id" in table.columns:
        made.append(f"CREATE INDEX IF NOT EXISTS {table.name}_id ON {table.name} (id)")
    return made


def add_columns(table: Table, present: Iterable[str]) -> list[str]:
    """What brings a database of an older version up to date."""
    there = set(present)
    return [f"ALTER TABLE {table.name} ADD COLUMN {_definition(c)}" for c in table.columns if c.name not in there]


def _definition(column: Column[object]) -> str:
    default = " DEFAULT false" if column.name == "is_test" else ""
    return f'"{column.name}" {pg_type(column)}{default}'


def create_incoming(table: Table, names: Sequence[str]) -> str:
    """An empty working table with some of a table's columns."""
    columns = ", ".join(f'"{name}" {pg_type(table.columns[name])}' for name in names)
    return f"CREATE TEMP TABLE {INCOMING} ({columns}) ON COMMIT DROP"


def as_work(name: str, select: str) -> list[str]:
    """A working table made from a select, in place of an earlier one."""
    return [drop_work(name), f"CREATE TEMP TABLE {name} ON COMMIT DROP AS {select}"]


def drop_work(name: str) -> str:
    """Away with a working table."""
    return f"DROP TABLE IF EXISTS pg_temp.{name}"


def fresh_rows(entity: str) -> str:
    """The incoming rows that are new, or differ from ``was`` in anything but the time of the sync."""
    names = [column.name for column in entity_table(entity).columns if column.name not in ("id", "synced_at")]
    differs = " OR ".join(f'i."{name}" IS DISTINCT FROM w."{name}"' for name in names)
    return f"SELECT i.* FROM {INCOMING} i LEFT JOIN was w ON w.id = i.id WHERE w.id IS NULL OR {differs}"


def add_rows(entity: str, rows: str) -> str:
    """Store all rows of a working table."""
    names = ", ".join(f'"{column.name}"' for column in entity_table(entity).columns)
    return f"INSERT INTO {entity} ({names}) SELECT {names} FROM {rows}"


def touched_days(entity: str, relations: Sequence[str]) -> str:
    """The distinct (entity, clock, day) of the rows in ``relations``; a null day stands for "no value"."""
    parts = [
        f"SELECT '{clock}'::VARCHAR AS clock, CAST(\"{clock}\" AS DATE) AS day FROM {relation}"
        for relation in relations
        for clock in clock_columns(entity)
    ]
    return f"SELECT DISTINCT '{entity}'::VARCHAR AS entity, clock, day FROM ({' UNION ALL '.join(parts)}) AS d"
