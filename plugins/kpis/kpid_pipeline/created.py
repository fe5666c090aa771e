"""What comes into the pipeline: deals created, or that reach a stage for the first time.

Amounts are today's unless ``amount_at`` says otherwise, so that weeks add up to quarters: at their own ends, the same deal may be
worth something else at the end of its week than at the end of its quarter.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Subquery, and_, case, func, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import (
    AS_OF,
    NOW,
    PERIODS,
    At,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    converted,
    count,
    entities,
    living,
    number_of,
    sum_,
)
from kpid_pipeline.then import COLUMNS, DIMENSIONS, MISSING_FX, at, deals, spans

Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
QUALIFIED = "qualified"
_KEPT = (*COLUMNS, "stage_id", "amount", "currency", "state", "closed_at", "expected_close_date")


def _rate_at(c: Columns, as_of: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """The dates to convert by: of the closing, or while a deal is open of its expected closing, else of today."""
    return (
        case((c["state"].in_(["won", "lost"]), c["closed_at"])),
        case((c["state"] == "open", c["expected_close_date"])),
        case((c["state"] == "open", as_of)),
    )


def _first_entries(*, by_name: bool) -> Subquery:
    """Deals with ``entered_at``: when they first reached a qualified stage, or (``by_name``) each name of a stage."""
    h, t, d = living(entities.deal_stage_history).c, living(entities.stages).c, living(deals).c
    name = func.lower(func.trim(t.name))
    group = [h.deal_id, *([name] if by_name else [])]
    place = func.row_number().over(partition_by=group, order_by=[h.valid_from, h.id])
    entries = (
        select(h.deal_id, h.valid_from.label("entered_at"), name.label("entered"), place.label("place"))
        .select_from(h.id.table.join(t.id.table, t.id == h.stage_id))
        .where(h.valid_from <= NOW, *([] if by_name else [t.is_qualified]))
        .subquery("stage_entries_all")
        .c
    )
    return (
        select(*(d[column] for column in _KEPT), entries.entered_at, entries.entered)
        .select_from(d.id.table.join(entries.deal_id.table, entries.deal_id == d.id))
        .where(entries.place == 1)
        .subquery("first_entries" if by_name else "first_qualified")
    )


_ENTRIES = {"by_name": _first_entries(by_name=True), QUALIFIED: _first_entries(by_name=False)}


@lru_cache
def _source(entry: str) -> FromClause:
    """Deals, or their entries, as a narrow subquery with ``entered_at``."""
    if entry:
        return _ENTRIES[entry]
    d = living(deals).c
    return select(*(d[name] for name in _KEPT), d.created_at.label("entered_at")).subquery("created_deals")


@lru_cache
def _at_creation(entry: str) -> Subquery:
    """The same with the first amount that is known of each deal."""
    source, amount, money = _source(entry), spans("amount"), spans("currency")
    c = source.c
    joined = source.outerjoin(amount, and_(amount.c.deal_id == c.id, amount.c.place == 1))
    joined = joined.outerjoin(money, and_(money.c.deal_id == c.id, money.c.place == 1))
    return _valued(c, amount.c, money.c, joined, f"created_first_{entry}")


@lru_cache
def _at_period_end(entry: str) -> Subquery:
    """A row per period and deal that came in it, with the amount as of its end."""
    source, p, amount, money = _source(entry), PERIODS.c, spans("amount"), spans("currency")
    c = source.c
    joined = source.join(PERIODS, and_(c.entered_at >= p.starts, c.entered_at < p.until))
    joined = joined.outerjoin(amount, at(amount, c.id, p.until)).outerjoin(money, at(money, c.id, p.until))
    raw = _valued(c, amount.c, money.c, joined, f"created_then_{entry}", p.no, p.as_of)
    dates = _rate_at(raw.c, raw.c.as_of)
    return converted(raw, f"created_value_{entry}", value=(raw.c.amount, raw.c.currency, *dates))


def _valued(c: Columns, amount: Columns, money: Columns, joined: FromClause, name: str, *more: ColumnElement[Any]) -> Subquery:
    """The source with its amounts and currencies where a history has them."""
    worth = case((amount.deal_id.is_not(None), number_of(amount.value)), else_=c.amount).label("amount")
    coin = case((money.deal_id.is_not(None), func.nullif(func.trim(money.value), "")), else_=c.currency).label("currency")
    kept = [column for column in c if column.key not in {"amount", "currency"}]
    return select(*more, *kept, worth, coin).select_from(joined).subquery(name)


def _created(params: Mapping[str, str]) -> Definition:
    wanted, when = params["entry_stage"].strip().lower(), params["amount_at"]
    is_count = params["as"] == "count"
    entry = "" if not wanted else QUALIFIED if wanted == QUALIFIED else "by_name"
    optional = ("deal_field_history",) if when != "current" and not is_count else ()
    if when == "period_end" and not is_count:
        entity: FromClause = _at_period_end(entry)
        where = entity.c.entered == wanted if entry == "by_name" else None
        measure = Measure(
            entity, InPeriod(entity.c.no), sum_(entity.c.value, where), label="created deals", lacks=entity.c.value_lacks
        )
        return Definition({"created": measure}, lambda m: m.created, optional=optional)
    is_first = when == "creation" and not is_count
    entity = _at_creation(entry) if is_first else _source(entry) if entry else deals
    c = entity.c
    clock = At(c.created_at if entity is deals else c.entered_at)
    where = c.entered == wanted if entry == "by_name" else None
    if is_count:
        return Definition(
            {"created": Measure(entity, clock, count(where), label="created deals")}, lambda m: m.created, unit="count"
        )
    measure = Measure(entity, clock, sum_(c.amount, where), c.currency, _rate_at(c, AS_OF), label="created deals")
    return Definition({"created": measure}, lambda m: m.created, optional=optional)


PIPELINE_CREATED = Kpi(
    id="pipeline_created",
    name="Pipeline created",
    category="pipeline",
    unit="currency",
    better="up",
    define=_created,
    period="week",
    dimensions=DIMENSIONS,
    params={
        "as": Param(("amount", "count"), "The amount, or the number of deals."),
        "missing_fx": MISSING_FX,
        "entry_stage": Param.text(
            "", "Count deals when they first reach a stage: `qualified` for any qualified one, or its name; empty: when created."
        ),
        "amount_at": Param(
            ("current", "creation", "period_end"),
            "The amount of today, the first one known, or the one at the end of the period.",
        ),
    },
    formula_text="sum of the amounts of deals created in the period",
    why="The earliest sign of the quarters to come.",
    misleads="Deals opened late, just before they are won, make it look healthy. Amounts grow after creation: see amount_at.",
    source="base measure",
    additivity="A",
    degrades={
        "deal_field_history": "Without a history of fields amount_at gives today's amounts.",
        "deal_stage_history": "Without a history of stages entry_stage counts nothing.",
    },
)

KPIS = (PIPELINE_CREATED,)
