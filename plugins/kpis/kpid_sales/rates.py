"""How often deals are won: of those that were decided, and of the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from sqlalchemy import ColumnElement, Subquery, and_, case, or_, select

from kpid.plugin import (
    AS_OF,
    NOW,
    PERIODS,
    At,
    Benchmark,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Quantity,
    Values,
    converted,
    count,
    dates_between,
    living,
    local_date,
    seconds_between,
    sum_,
)
from kpid_sales.closings import (
    CLOSING,
    DEGRADES,
    DIMENSIONS,
    LOST_EXCLUDES,
    MISSING_FX,
    PLAIN,
    closed_by,
    deals,
)
from kpid_sales.spells import in_pipeline

_DAY = 86_400
_OF_TODAY = (
    case((deals.c.state.in_(["won", "lost"]), deals.c.closed_at)),
    case((deals.c.state == "open", deals.c.expected_close_date)),
    case((deals.c.state == "open", AS_OF)),
)
"""The dates that a deal's amount is converted by: of its closing; while it is open of its expected closing, else of today."""


@cache
def overdue(grace: int) -> Subquery:
    """Open deals that should have been closed in a period and were not within ``grace`` days, with their amounts."""
    alive, p = living(deals), PERIODS.c
    d = converted(alive, "overdue_amounts", value=(alive.c.amount, alive.c.currency, alive.c.expected_close_date, NOW)).c
    due = and_(d.expected_close_date >= p.first_day, d.expected_close_date <= p.last_day)
    is_open = or_(and_(d.closed_at.is_(None), d.state == "open"), d.closed_at > NOW)
    columns = [column for column in d if column.key not in {"name", "next_step"}]
    return (
        select(p.no, *columns)
        .select_from(d.id.table.join(PERIODS, due))
        .where(
            is_open,
            dates_between(d.expected_close_date, local_date(NOW)) > grace,
            or_(d.created_at.is_(None), d.created_at <= NOW),
        )
        .subquery("overdue_deals")
    )


def _win_rate(params: Mapping[str, str]) -> Definition:
    return _cohort(params) if params["mode"] == "cohort" else _period(params)


def _period(params: Mapping[str, str]) -> Definition:
    """Of the deals closed in the period, the won ones."""
    closed, excludes = closed_by(params), params["lost_excludes"]
    won, decided = closed.won(), closed.decided(excludes)
    measures = {"closed": closed.number(decided, "closed deals")}
    late_deals = overdue(int(params["closed_late_grace_days"]))
    c, late = late_deals.c, InPeriod(late_deals.c.no)
    is_by_amount, is_strict = params["weight"] == "amount", params["overdue_as_lost"] == "true"
    if is_by_amount:
        measures |= {"won": closed.amount(won, "amount of won deals"), "all": closed.amount(decided, "amount of closed deals")}
        measures |= {"negative": closed.negative(decided)}
    else:
        measures |= {"won": closed.number(won, "won deals")}
    if is_strict:
        amount = Measure(late_deals, late, sum_(c.value), label="amount of overdue deals", lacks=c.value_lacks)
        measures |= {"overdue": amount if is_by_amount else Measure(late_deals, late, count(), label="overdue deals")}

    def formula(m: Values) -> Quantity:
        decided = m["all"] if is_by_amount else m.closed
        return m.won / (_labelled(decided + m.overdue, "closed or overdue deals") if is_strict else decided)

    return Definition(measures, formula, sample="closed", optional=closed.optional, remarks=_remarks if is_by_amount else None)


def _cohort(params: Mapping[str, str]) -> Definition:
    """Of the deals created in the period, those that were won since; open ones stay in the denominator."""
    closed, excludes, days = closed_by(params), params["lost_excludes"], int(params["horizon_days"])
    c = closed.entity.c
    in_time = [seconds_between(c.created_at, closed.instant) <= days * _DAY] if days else []
    once = [] if closed.counts_once is None else [closed.counts_once]
    won = and_(c.state == "won", *once, closed.instant <= NOW, *in_time)
    kept = _kept(excludes)
    measures = {"created": Measure(deals, At(deals.c.created_at), count(kept), label="created deals")}
    if params["weight"] == "amount":
        dates = _OF_TODAY if closed is PLAIN else (closed.instant,)
        amount = sum_(c.amount, won)
        measures |= {
            "won": Measure(closed.entity, At(c.created_at), amount, c.currency, dates, "amount of won deals"),
            "all": Measure(
                deals, At(deals.c.created_at), sum_(deals.c.amount, kept), deals.c.currency, _OF_TODAY, "created deals"
            ),
            "negative": Measure(deals, At(deals.c.created_at), count(and_(deals.c.amount < 0)), label="negative amounts"),
        }
    else:
        measures |= {"won": Measure(closed.entity, At(c.created_at), count(won), label="won deals")}
    return Definition(
        measures,
        lambda m: m.won / m.get("all", m.created),
        sample="created",
        horizon=timedelta(days=days) if days else None,
        optional=closed.optional,
        remarks=_remarks if params["weight"] == "amount" else None,
    )


def _kept(excludes: str) -> ColumnElement[bool] | None:
    """Deals of a cohort: all, less those lost for reasons that are no loss."""
    if not excludes:
        return None
    state = deals.c.state
    return or_(state.is_(None), state != "lost", PLAIN.lost(excludes))


def _remarks(m: Values) -> list[str]:
    found = m.negative.value
    return [f"negative amounts among the deals: {found}; a share of amounts means little then"] if found else []


def _labelled(quantity: Quantity, label: str) -> Quantity:
    quantity.label = label
    return quantity


def _close_rate(params: Mapping[str, str]) -> Definition:
    by = closed_by(params)
    outcome = by.won() if params["closed"] == "won" else by.decided(params["lost_excludes"])
    closed = by.number(and_(outcome, by.entity.c.created_at.is_not(None)), "closed deals")
    measures = {"closed": closed, "pipeline": in_pipeline(params)}
    return Definition(measures, lambda m: m.closed / m.pipeline, sample="pipeline", optional=by.optional)


WIN_RATE = Kpi(
    id="win_rate",
    name="Win rate",
    category="sales",
    unit="ratio",
    better="up",
    define=_win_rate,
    period="quarter",
    min_sample=30,
    min_sample_by={"owner": 10},
    dimensions=(*DIMENSIONS, "loss_competitor", "deal_size_band"),
    params={
        "weight": Param(("count", "amount"), "Weigh each deal alike, or by its amount."),
        "missing_fx": MISSING_FX,
        "mode": Param(("period", "cohort"), "Of the deals closed in the period, or of those created in it."),
        "horizon_days": Param.number("0", "Cohorts: won within so many days of creation; 0: until now.", least=0),
        "overdue_as_lost": Param(("false", "true"), "Count open deals as lost in the period that they should have closed in."),
        "closed_late_grace_days": Param.number("0", "With overdue_as_lost: a deal may be so many days late.", least=0),
        "lost_excludes": LOST_EXCLUDES,
        **CLOSING,
    },
    formula_text="won / (won + lost) among the deals closed in the period",
    why="How well opportunities turn into sales once somebody decides.",
    misleads="Deals that nobody closes are in neither number; a clean-up of old deals makes it fall at once. Young cohorts look "
    "bad until their deals are decided. deal_size_band goes by amounts in the deals' own currencies.",
    source="Oracle CX metrics; fivetran dbt_salesforce weighs by amount; Zoho Motivator takes overdue deals for lost",
    additivity="R",
    benchmark=Benchmark(
        "0.333", "about one of three opportunities is closed as a sale", "EasyERP, 7 essential CRM metrics", 2016
    ),
    degrades=DEGRADES,
    number=1,
)

CLOSE_RATE = Kpi(
    id="close_rate",
    name="Pipeline close rate",
    category="sales",
    unit="ratio",
    better="up",
    define=_close_rate,
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "closed": Param(("won", "won_lost"), "Count deals that were won, or all that were decided."),
        "lost_excludes": LOST_EXCLUDES,
        **CLOSING,
    },
    formula_text="deals closed in the period / deals that were open at its start or created in it",
    why="How much of the pipeline a period resolves.",
    misleads="Not the win rate: open deals stay in the denominator, so short periods look worse than long ones. A deal that was "
    "re-opened counts as open since its creation, unless reopen=every: then it comes back into the pipeline each time, and there "
    "may be more closings than deals.",
    source="10 of 50 deals closed = 20 %",
    additivity="R",
    degrades=DEGRADES,
    number=2,
)

KPIS = (WIN_RATE, CLOSE_RATE)
