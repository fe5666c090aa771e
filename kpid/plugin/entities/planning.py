"""Targets, exchange rates, opening hours, and how far each sync has come."""

from __future__ import annotations

from sqlalchemy import JSON, Column, DateTime, Numeric, Table, Text

from kpid.plugin.entities.columns import date, entity, flag, instant, metadata, money, number, ref, text

targets = entity(
    "targets",
    "Targets for KPIs, versioned by valid_from: a new target never rewrites old attainments.",
    text("kpi"),
    Column("dims", JSON, doc="{dimension: id}"),
    text("period_kind"),
    date("period_start"),
    date("period_end", "exclusive"),
    money("value"),
    text("currency"),
    text("direction", "up, down"),
    text("origin", "who set it"),
    instant("valid_from"),
)

fx_rates = entity(
    "fx_rates",
    "Exchange rates: 1 from_currency = rate to_currency in [valid_from, valid_to).",
    text("from_currency"),
    text("to_currency"),
    date("valid_from"),
    date("valid_to"),
    Column("rate", Numeric(20, 10)),
    text("origin", "who published it"),
)

calendars = entity("calendars", "Opening hours by name.", text("name"), text("timezone"))

calendar_intervals = entity(
    "calendar_intervals",
    "When a calendar is open in each week, in its own local time; no interval crosses midnight.",
    ref("calendar_id", "calendars"),
    number("weekday", "0 = Monday"),
    number("opens_s", "seconds after midnight"),
    number("closes_s", "seconds after midnight, exclusive"),
)

holidays = entity(
    "holidays",
    "Days on which a calendar is closed, wholly or in the afternoon.",
    ref("calendar_id", "calendars"),
    date("date"),
    text("name"),
    flag("is_half_day"),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("source_id", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("cursor", JSON, doc="where the next read begins; the connector's own shape"),
    Column("through", DateTime(timezone=True), doc="everything that changed up to here has been stored"),
    Column("finished_at", DateTime(timezone=True), doc="end of the last complete read, our clock"),
    comment="One row per source and entity: how far its sync has come. Written in the transaction of the page it belongs to.",
)
