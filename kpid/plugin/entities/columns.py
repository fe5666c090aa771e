"""The kinds of columns that canonical tables are made of, and what every table has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, MetaData, Numeric, Table, Text

metadata = MetaData()


def instant(name: str, doc: str = "") -> Column[Any]:
    """A moment, in UTC."""
    return Column(name, DateTime(timezone=True), doc=doc)


def date(name: str, doc: str = "") -> Column[Any]:
    """A local calendar day, never shifted by a zone."""
    return Column(name, Date, doc=doc)


def money(name: str, doc: str = "") -> Column[Any]:
    """An amount, or another exact decimal."""
    return Column(name, Numeric(20, 6), doc=doc)


def text(name: str, doc: str = "") -> Column[Any]:
    """A text."""
    return Column(name, Text, doc=doc)


def ref(name: str, table: str, doc: str = "") -> Column[Any]:
    """The id of a row of another table: connectors yield the native id."""
    return Column(name, Text, doc=doc, info={"ref": table})


def flag(name: str, doc: str = "") -> Column[Any]:
    """True or false."""
    return Column(name, Boolean, doc=doc)


def number(name: str, doc: str = "") -> Column[Any]:
    """A whole number."""
    return Column(name, Integer, doc=doc)


def json(name: str, doc: str = "") -> Column[Any]:
    """A JSON value."""
    return Column(name, JSON, doc=doc)


def interval(doc: str = "half-open; valid_to null = still") -> tuple[Column[Any], Column[Any]]:
    """The two ends of a history row: ``[valid_from, valid_to)``."""
    return instant("valid_from", doc), instant("valid_to", doc)


def entity(name: str, doc: str, *columns: Column[Any]) -> Table:
    """A canonical table: the given columns, and the ones that all tables have."""
    return Table(
        name,
        metadata,
        Column("id", Text, nullable=False, doc="<source>:<native id>"),
        Column("source_id", Text, nullable=False, doc="name of the configured source"),
        Column("native_id", Text, nullable=False, doc="id in the CRM"),
        instant("created_at", "when the record came to be, by the CRM"),
        instant("updated_at", "when the record last changed, by the CRM"),
        *columns,
        Column("synced_at", DateTime(timezone=True), nullable=False, doc="when kpid stored this version"),
        instant("deleted_at", "tombstone: KPIs leave the row out"),
        text("deleted_reason", "deleted, merged, archived, vanished"),
        ref("merged_into_id", name, "the record that this one was merged into"),
        Column("is_test", Boolean, nullable=False, default=False, doc="a test record: KPIs leave it out"),
        json("extra", "custom fields, as the CRM has them"),
        comment=doc,
    )
