"""Why deals are lost.

A share of reasons has all lost deals of a segment below the line, whatever their reason: the denominator is measured *across* the
dimension ``loss_reason``, so that the shares of all reasons add up to 1. Deals without a reason have the reason ``unknown``. Of
several reasons (``price;timing``) the first one counts, or each with its part of the deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sqlalchemy import BigInteger, ColumnElement, Integer, Subquery, and_, case, cast, column, func, select, values

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
from kpid_sales.closings import COLUMNS, DEGRADES, DIMENSIONS, LOST_EXCLUDES, MISSING_FX

UNKNOWN = "unknown"
_MOST_PARTS = 5
"""Of a deal with more reasons than that, the first so many count."""


def _reason(text: ColumnElement[str], number: int) -> ColumnElement[str]:
    return func.coalesce(text_part(text, number), UNKNOWN)


def _lost_deals() -> Subquery:
    """Lost deals with their first reason."""
    d = living(entities.deals).c
    kept = [d[name] for name in (*COLUMNS, "closed_at") if name != "loss_reason"]
    return select(*kept, _reason(d.loss_reason, 1).label("loss_reason")).where(d.state == "lost").subquery("lost_deals")


def _lost_parts() -> Subquery:
    """Lost deals, a row for each of their reasons; ``parts`` is how many there are."""
    d = living(entities.deals).c
    numbers = values(column("number", Integer), name="reason_numbers").data([(number,) for number in range(1, _MOST_PARTS + 1)])
    text = func.coalesce(d.loss_reason, "")
    parts = [text_part(text, number) for number in range(1, _MOST_PARTS + 1)]
    found: ColumnElement[int] = sum(
        (case((part.is_not(None), 1), else_=0) for part in parts[1:]), case((parts[0].is_not(None), 1), else_=0)
    )
    own = case(*((numbers.c.number == number, part) for number, part in enumerate(parts, 1)))
    kept = [d[name] for name in (*COLUMNS, "closed_at") if name != "loss_reason"]
    every = (
        select(*kept, own.label("reason"), found.label("found"), numbers.c.number)
        .select_from(d.id.table.join(numbers, numbers.c.number > 0))
        .where(d.state == "lost")
        .subquery("lost_parts_all")
    )
    e = every.c
    columns = [known for known in e if known.key not in {"reason", "found", "number"}]
    whole = case((e.found > 1, e.found), else_=1)
    return (
        select(*columns, func.coalesce(e.reason, UNKNOWN).label("loss_reason"), cast(whole, BigInteger).label("parts"))
        .where((e.reason.is_not(None)) | and_(e.found == 0, e.number == 1))
        .subquery("lost_parts")
    )


LOST, PARTS = _lost_deals(), _lost_parts()


def _share(params: Mapping[str, str]) -> Definition:
    entity = PARTS if params["multi"] == "split" else LOST
    c = entity.c
    names = sorted({name.strip().lower() for name in params["lost_excludes"].split(",")} - {""})
    counted = [func.lower(c.loss_reason).not_in(names)] if names else []
    wanted = [func.lower(c.loss_reason) == params["reason"].strip().lower()] if params["reason"].strip() else []
    parts = range(1, _MOST_PARTS + 1) if entity is PARTS else range(1, 2)
    measures = {}
    for number in parts:
        of = [c.parts == number] if entity is PARTS else []
        measures[f"some{number}"] = _measure(entity, params, [*of, *counted, *wanted], ())
        measures[f"all{number}"] = _measure(entity, params, [*of, *counted], ("loss_reason",))
    measures["lost"] = Measure(
        entity,
        At(c.closed_at),
        count(and_(*counted) if counted else None),
        label="lost deals" if entity is LOST else "reasons of lost deals",
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

    return Definition(measures, formula, sample="lost", remarks=None if wanted else _remarks)


def _measure(
    entity: Subquery, params: Mapping[str, str], conditions: list[ColumnElement[bool]], across: tuple[str, ...]
) -> Measure:
    c, where = entity.c, and_(*conditions) if conditions else None
    if params["weight"] == "amount":
        return Measure(entity, At(c.closed_at), sum_(c.amount, where), c.currency, label="lost deals", across=across)
    return Measure(entity, At(c.closed_at), count(where), label="lost deals", across=across)


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
