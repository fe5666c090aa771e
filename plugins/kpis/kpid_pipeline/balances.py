"""What is open: its amount, what it is worth, and whether it is enough for the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Numeric, Subquery, and_, case, cast, func, select

from kpid.plugin import (
    AS_OF,
    NOW,
    PERIODS,
    SNAP,
    Balance,
    Benchmark,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Quantity,
    Target,
    Use,
    Values,
    count,
    dates_between,
    entities,
    living,
    local_date,
    sum_,
)
from kpid_pipeline.then import DEGRADES, DIMENSIONS, HISTORIES, MISSING_FX, OPEN, OPTIONAL, TODAY, UNKNOWN, deals, known

PLAIN = Balance(deals.c.created_at, deals.c.closed_at, deals.c.state == "open")
RATE_AT = (deals.c.expected_close_date, AS_OF)
AT_END = InPeriod(OPEN.c.no)
_SHARE = Numeric(12, 8)


def remarks(*more: Callable[[Values], Sequence[str]]) -> Callable[[Values], Sequence[str]]:
    """Says what is left out or odd: deals of unknown age, amounts below zero, and what ``more`` says."""

    def said(m: Values) -> Sequence[str]:
        found = [text for remark in more for text in remark(m)]
        if "unknown" in m and m.unknown.value:
            found.append(f"{m.unknown.value} open deals left out: nobody knows since when they are open")
        if "negative" in m and m.negative.value:
            found.append(f"negative amounts among the open deals: {m.negative.value}")
        return found

    return said


def unknown_deals() -> Measure:
    """Open deals that may not have been there yet."""
    return Measure(OPEN, AT_END, count(UNKNOWN), label="open deals")


def _soon(days: str, expected: ColumnElement[Any], today: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    return [dates_between(today, expected).between(0, int(days))] if int(days) else []


def _open_amount(params: Mapping[str, str]) -> Definition:
    plain = _soon(params["close_within"], deals.c.expected_close_date, local_date(AS_OF))
    then = _soon(params["close_within"], OPEN.c.expected_close_date, TODAY)
    where = and_(*plain) if plain else None
    if params["as"] == "count":
        now = {"open": Measure(deals, PLAIN, count(where), label="open deals")}
        exact = {"open": Measure(OPEN, AT_END, count(known(*then)), label="open deals")}
    else:
        below = deals.c.amount < 0
        now = {
            "open": Measure(deals, PLAIN, sum_(deals.c.amount, where), deals.c.currency, RATE_AT, "open deals"),
            "negative": Measure(deals, PLAIN, count(below if where is None else and_(where, below)), label="open deals"),
        }
        exact = {
            "open": Measure(OPEN, AT_END, sum_(OPEN.c.value, known(*then)), label="open deals", lacks=OPEN.c.value_lacks),
            "negative": Measure(OPEN, AT_END, count(known(*then, OPEN.c.value < 0)), label="open deals"),
            "empty": Measure(OPEN, AT_END, count(known(*then, OPEN.c.amount.is_(None))), label="open deals"),
        }
    unit: Literal["count"] | None = "count" if params["as"] == "count" else None
    exact["unknown"] = unknown_deals()
    finer = Definition(exact, lambda m: m.open, "open", unit, remarks=remarks(_empty), optional=OPTIONAL)
    return Definition(now, lambda m: m.open, "open", unit, remarks=remarks(), finer=dict.fromkeys(HISTORIES, finer))


def _empty(m: Values) -> Sequence[str]:
    return [f"{m.empty.value} open deals have no amount"] if "empty" in m and m.empty.value else []


PIPELINE_OPEN_AMOUNT = Kpi(
    id="pipeline_open_amount",
    name="Open pipeline",
    category="pipeline",
    unit="currency",
    better="up",
    define=_open_amount,
    period="week",
    dimensions=DIMENSIONS,
    params={
        "as": Param(("amount", "count"), "The amount, or the number of deals."),
        "close_within": Param.number("0", "Deals that should be closed in the next so many days; 0: all.", least=0),
        "snap": SNAP,
        "missing_fx": MISSING_FX,
    },
    formula_text="sum of the amounts of deals that are open at the end of the period (or now)",
    why="What the coming periods can be won from.",
    misleads="Old deals that nobody closes keep it high; amounts are guesses until a deal is won.",
    source="fivetran dbt_salesforce total_pipeline_amount",
    additivity="S",
    degrades=DEGRADES,
    number=10,
)


def _chance(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """A probability from 0 to 1, whether the CRM counts to 1 or to 100; what is neither is none."""
    share = case((and_(number >= 0, number <= 1), number), (and_(number > 1, number <= 100), number / 100))
    return cast(share, _SHARE)


def _experience() -> Subquery:
    """By period and stage, the share of deals won among those that were there and have been decided by the period's end."""
    h, d, p = living(entities.deal_stage_history).c, living(deals, "decided_deals").c, PERIODS.c
    been = select(h.deal_id, h.stage_id).where(h.valid_from <= NOW).distinct().subquery("deals_in_stages").c
    won = func.sum(case((d.state == "won", 1), else_=0))
    return (
        select(p.no, been.stage_id, cast(won, Numeric(18, 0)).label("won"), func.count().label("decided"))
        .select_from(been.deal_id.table.join(d.id.table, d.id == been.deal_id).join(PERIODS, d.closed_at < p.until))
        .where(d.state.in_(["won", "lost"]))
        .group_by(p.no, been.stage_id)
        .subquery("experience")
    )


@cache
def weighted() -> Subquery:
    """Open deals with what is known of their chances: their own, their stage's, and what became of others in that stage."""
    stage, past = living(entities.stages, "stage_now").c, _experience().c
    joined = OPEN.outerjoin(stage.id.table, stage.id == OPEN.c.stage_id)
    joined = joined.outerjoin(past.no.table, and_(past.no == OPEN.c.no, past.stage_id == OPEN.c.stage_id))
    columns = [column for column in OPEN.c if column.key != "probability"]
    return (
        select(
            *columns,
            _chance(OPEN.c.probability).label("of_deal"),
            _chance(stage.probability).label("of_stage"),
            cast(past.won / past.decided, _SHARE).label("of_past"),
        )
        .select_from(joined)
        .subquery("weighted_deals")
    )


def _weighted_amount(params: Mapping[str, str]) -> Definition:
    deals_open = weighted()
    c = deals_open.c
    chain = {"deal": (c.of_deal, c.of_stage, c.of_past), "stage": (c.of_stage, c.of_past), "history": (c.of_past,)}[
        params["prob"]
    ]
    p = func.coalesce(*chain) if len(chain) > 1 else chain[0]
    clock, worth = InPeriod(c.no), cast(c.value, Numeric(24, 6)) * cast(p, _SHARE)
    lacks = and_(c.value_lacks, p.is_not(None))

    def number(*conditions: ColumnElement[bool]) -> Measure:
        return Measure(deals_open, clock, count(and_(c.is_known, *conditions)), label="open deals")

    measures = {
        "worth": Measure(deals_open, clock, sum_(worth, c.is_known), label="open deals", lacks=lacks),
        "without": number(p.is_(None)),
        "certain": number(p == 1),
        "judged": number(p.is_not(None)),
        "negative": number(c.value < 0),
        "unknown": Measure(deals_open, clock, count(c.is_known.is_(False)), label="open deals"),
    }
    return Definition(measures, lambda m: m.worth, "worth", remarks=remarks(_chances), optional=(*OPTIONAL,))


def _chances(m: Values) -> Sequence[str]:
    said = []
    if m.without.value:
        said.append(f"{m.without.value} open deals left out: they have no probability")
    if m.judged.value and m.certain.exact == m.judged.exact:
        said.append("every probability is 100 %: the weighted pipeline is the plain one; are probabilities configured?")
    return said


PIPELINE_WEIGHTED_AMOUNT = Kpi(
    id="pipeline_weighted_amount",
    name="Weighted pipeline",
    category="pipeline",
    unit="currency",
    better="up",
    define=_weighted_amount,
    period="week",
    dimensions=DIMENSIONS,
    params={
        "prob": Param(
            ("deal", "stage", "history"),
            "Whose probability: the deal's own, else its stage's, else that of past deals in that stage; or begin further back.",
        ),
        "snap": SNAP,
        "missing_fx": MISSING_FX,
    },
    formula_text="sum of amount x probability over deals that are open at the end of the period (or now)",
    why="What the pipeline is worth if chances are what they seem.",
    misleads="Probabilities are often a default of the stage, in some CRMs 100 %; a few large deals decide it.",
    source="Pipedrive, OnePageCRM, Freshsales",
    additivity="S",
    degrades={**DEGRADES, "deal_stage_history": "Without a history of stages no probability can be learnt from past deals."},
    number=11,
)


def _coverage(params: Mapping[str, str]) -> Definition:
    inside = OPEN.c.expected_close_date.between(OPEN.c.first_day, OPEN.c.whole_last_day)
    measures = {
        "open": Measure(OPEN, AT_END, sum_(OPEN.c.value, known(inside)), label="open deals", lacks=OPEN.c.value_lacks),
        "undated": Measure(OPEN, AT_END, count(known(OPEN.c.expected_close_date.is_(None))), label="open deals"),
    }
    is_remaining = params["base"] == "remaining"

    def formula(m: Values) -> Quantity:
        if not m.target.is_defined:
            return Quantity(None, reason=m.target.reason)
        if not is_remaining:
            return m.open / m.target
        missing = (m.target.exact or 0) - (m.won.exact or 0)
        if missing <= 0:
            return Quantity.settled("the target is met: nothing is left to cover")
        return m.open / Quantity(missing, label="remaining target")

    return Definition(
        measures,
        formula,
        "open",
        uses={"won": Use("won_amount", {"missing_fx": params["missing_fx"]})},
        targets={"target": Target("won_amount")},
        remarks=_undated,
        optional=OPTIONAL,
    )


def _undated(m: Values) -> Sequence[str]:
    return [f"{m.undated.value} open deals have no expected closing date: they cover nothing"] if m.undated.value else []


PIPELINE_COVERAGE = Kpi(
    id="pipeline_coverage",
    name="Pipeline coverage",
    category="pipeline",
    unit="times",
    better="up",
    define=_coverage,
    period="quarter",
    dimensions=DIMENSIONS,
    params={
        "base": Param(("remaining", "full"), "Against what is still missing to the target, or against the whole target."),
        "missing_fx": MISSING_FX,
    },
    formula_text="amount of open deals that should be closed in the period (of qtd: the whole quarter) / (target - won so far)",
    why="Whether there is enough to win the rest of the period's target from.",
    misleads="Expected closing dates are hopes. How much is enough depends on the win rate: 1 / win rate by amount.",
    source="Salesforce pipeline dashboard; Optifai multiplies by the win rate, which is not done here",
    additivity="R",
    benchmark=Benchmark("3", "three times what is missing is a common rule of thumb", "several sales guides", 2023),
    degrades=DEGRADES,
    number=12,
)

KPIS = (PIPELINE_OPEN_AMOUNT, PIPELINE_WEIGHTED_AMOUNT, PIPELINE_COVERAGE)
