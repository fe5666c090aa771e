"""Why deals are lost.

A share of reasons has all lost deals of a segment below the line, whatever their reason: the denominator is measured *across* the
dimension ``loss_reason``, so that the shares of all reasons add up to 1. Deals without a reason have the reason ``unknown``. Of
several reasons (``price;timing``) the first one counts, or each with its part of the deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Subquery, and_, case, cast, column, func, select, values
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import (
    At,
    Definition,
    Kpi,
    Measure,
    Param,
    Quantity,
    Values,
    count,
    entities,
    living,
    sum_,
    text_part,
)
from kpid_sales.closings import (
    CLOSING,
    CLOSINGS,
    COLUMNS,
    DEGRADES,
    DIMENSIONS,
    LOST_EXCLUDES,
    MISSING_FX,
    PLAIN,
    Closed,
    closed_among,
    closed_by,
)

UNKNOWN = "unknown"
_MOST_PARTS = 5
"""Of a deal with more reasons than that, the first so many count."""


def _reason(text: ColumnElement[str], number: int) -> ColumnElement[str]:
    return func.coalesce(text_part(text, number), UNKNOWN)


def _columns(d: ReadOnlyColumnCollection[str, Any]) -> list[ColumnElement[Any]]:
    """What a lost deal brings along, but for its reason: of the deal's row its date, of a closing all that tells which it is."""
    dates = ("closed_at",) if "closed_at" in d else ("moved_at", "crm_at", "back", "place")
    return [d[name] for name in (*COLUMNS, *dates) if name != "loss_reason"]


def _lost_deals(source: FromClause) -> Subquery:
    """Lost deals with their first reason."""
    d = source.c
    found = select(*_columns(d), _reason(d.loss_reason, 1).label("loss_reason")).where(d.state == "lost")
    return found.subquery(f"lost_{_noun(source)}")


def _noun(source: FromClause) -> str:
    return "closings" if source is CLOSINGS else "deals"


def _lost_parts(source: FromClause) -> Subquery:
    """Lost deals, a row for each of their reasons; ``parts`` is how many there are."""
    d = source.c
    numbers = values(column("number", Integer), name="reason_numbers").data([(number,) for number in range(1, _MOST_PARTS + 1)])
    text = func.coalesce(d.loss_reason, "")
    parts = [text_part(text, number) for number in range(1, _MOST_PARTS + 1)]
    found: ColumnElement[int] = sum(
        (case((part.is_not(None), 1), else_=0) for part in parts[1:]), case((parts[0].is_not(None), 1), else_=0)
    )
    own = case(*((numbers.c.number == number, part) for number, part in enumerate(parts, 1)))
    every = (
        select(*_columns(d), own.label("reason"), found.label("found"), numbers.c.number)
        .select_from(d.id.table.join(numbers, numbers.c.number > 0))
        .where(d.state == "lost")
        .subquery(f"lost_{_noun(source)}_all")
    )
    e = every.c
    columns = [known for known in e if known.key not in {"reason", "found", "number"}]
    whole = case((e.found > 1, e.found), else_=1)
    return (
        select(*columns, func.coalesce(e.reason, UNKNOWN).label("loss_reason"), cast(whole, BigInteger).label("parts"))
        .where((e.reason.is_not(None)) | and_(e.found == 0, e.number == 1))
        .subquery(f"lost_{_noun(source)}_parts")
    )


_PLAIN = living(entities.deals)
LOST, PARTS = _lost_deals(_PLAIN), _lost_parts(_PLAIN)
LOST_CLOSINGS, CLOSING_PARTS = _lost_deals(CLOSINGS), _lost_parts(CLOSINGS)


def _lost_by(params: Mapping[str, str]) -> Closed:
    """Lost deals by ``multi``, ``close_basis`` and ``reopen``."""
    is_split = params["multi"] == "split"
    if closed_by(params) is PLAIN:
        entity = PARTS if is_split else LOST
        return Closed(entity, entity.c.closed_at, None, None)
    return closed_among(CLOSING_PARTS if is_split else LOST_CLOSINGS, params)


def _share(params: Mapping[str, str]) -> Definition:
    lost, is_split = _lost_by(params), params["multi"] == "split"
    c = lost.entity.c
    names = sorted({name.strip().lower() for name in params["lost_excludes"].split(",")} - {""})
    counted: list[ColumnElement[bool]] = [func.lower(c.loss_reason).not_in(names)] if names else []
    wanted = [func.lower(c.loss_reason) == params["reason"].strip().lower()] if params["reason"].strip() else []
    if lost.counts is not None:
        counted.append(lost.counts)
    parts = range(1, _MOST_PARTS + 1) if is_split else range(1, 2)
    measures = {}
    for number in parts:
        of = [c.parts == number] if is_split else []
        measures[f"some{number}"] = _measure(lost, params, [*of, *counted, *wanted], ())
        measures[f"all{number}"] = _measure(lost, params, [*of, *counted], ("loss_reason",))
    measures["lost"] = Measure(
        lost.entity,
        At(lost.instant),
        count(and_(*counted) if counted else None),
        label="reasons of lost deals" if is_split else "lost deals",
        across=("loss_reason",),
    )

    def formula(m: Values) -> Quantity:
        some, every = (
            Quantity(
                sum((Fraction(m[f"{name}{number}"].exact or 0) / number for number in parts), Fraction(0)), label="lost deals"
            )
            for name in ("some", "all")
        )
        return some / every

    return Definition(measures, formula, sample="lost", optional=lost.optional, remarks=None if wanted else _remarks)


def _measure(lost: Closed, params: Mapping[str, str], conditions: list[ColumnElement[bool]], across: tuple[str, ...]) -> Measure:
    c, where = lost.entity.c, and_(*conditions) if conditions else None
    if params["weight"] == "amount":
        return Measure(lost.entity, At(lost.instant), sum_(c.amount, where), c.currency, label="lost deals", across=across)
    return Measure(lost.entity, At(lost.instant), count(where), label="lost deals", across=across)


def _remarks(m: Values) -> list[str]:
    is_whole = all(
        m[f"some{number}"].exact == m[f"all{number}"].exact for number in range(1, _MOST_PARTS + 1) if f"all{number}" in m
    )
    return ["all reasons together: cut it by loss_reason, or name one with reason="] if is_whole else []


LOSS_REASON_SHARE = Kpi(
    id="loss_reason_share",
    name="Share of loss reasons",
    category="sales",
    unit="ratio",
    better="none",
    define=_share,
    period="quarter",
    min_sample=30,
    dimensions=(*DIMENSIONS, "loss_reason", "loss_competitor"),
    params={
        "reason": Param.text(
            "", "The reason; empty: all of them, to be cut by loss_reason. Deals without one have the reason unknown."
        ),
        "weight": Param(("count", "amount"), "Weigh each deal alike, or by its amount."),
        "multi": Param(("first", "split"), "Of several reasons of a deal: the first, or each with its part of the deal."),
        "lost_excludes": LOST_EXCLUDES,
        "missing_fx": MISSING_FX,
        **CLOSING,
    },
    formula_text="lost deals with a reason / lost deals of the same segment",
    why="Whether price, product or timing loses deals: three different things to change.",
    misleads="Reasons are what a seller clicks on the way out; look first at how many are unknown, and mend that above 10 %.",
    source="EasyERP, 7 essential CRM metrics (reasons and objections)",
    additivity="R",
    degrades=DEGRADES,
    number=9,
)

KPIS = (LOSS_REASON_SHARE,)
