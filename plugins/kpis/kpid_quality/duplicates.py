"""Records that are there twice: accounts of one domain (without one: of one name), contacts and leads of one e-mail address."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import Definition, Kpi, Measure, Now, count, entities, living


def _key(table: FromClause) -> ColumnElement[object]:
    """What two records of one thing have in common; null: nothing is known."""
    c = table.c
    written = func.coalesce(func.nullif(func.trim(c.domain), ""), c.name) if "domain" in c else c.email
    return func.nullif(func.lower(func.trim(written)), "")


def _records() -> Subquery:
    """Accounts, contacts and leads: ``entity, id, source_id, owner_id, is_double`` (1: there is an older one)."""
    parts = []
    for name in ("accounts", "contacts", "leads"):
        rows = living(getattr(entities, name), f"{name}_to_compare")
        r, key = rows.c, _key(rows)
        place = func.row_number().over(partition_by=[r.source_id, key], order_by=[r.created_at, r.id])
        is_double = case((and_(key.is_not(None), place > 1), 1), else_=0)
        parts.append(select(literal(name).label("entity"), r.id, r.source_id, r.owner_id, is_double.label("is_double")))
    return union_all(*parts).subquery("compared_records")


RECORDS = _records()

DUPLICATE_RATE = Kpi(
    id="duplicate_rate",
    name="Duplicate records",
    category="ops",
    unit="ratio",
    better="down",
    define=Definition(
        {
            "doubles": Measure(RECORDS, Now(), count(RECORDS.c.is_double == 1), label="duplicates"),
            "records": Measure(RECORDS, Now(), count(), label="records"),
        },
        lambda m: m.doubles / m.records,
        sample="records",
        optional=("accounts", "contacts", "leads"),
    ),
    period="week",
    dimensions=("entity", "owner", "team", "source"),
    formula_text="accounts, contacts and leads that an older one of the same domain, name or address is there of / all of them",
    why="Duplicates split histories: conversion and retention look worse than they are.",
    misleads="Branches of a company may share a domain; a person may have two addresses.",
    source="own",
    additivity="S",
)

KPIS = (DUPLICATE_RATE,)
