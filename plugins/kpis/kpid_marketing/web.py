"""The web site: visitors, what they do, how long they stay.

Days are the web source's own. Sessions, conversions and seconds of days add up to those of longer periods; visitors do not, so
the visitors of a week or month are those that the source counted for exactly this span (``period_kind`` week, month, quarter or
year), and unknown if it did not. Where the source counted the period's own span, figures are taken from there, else from the
days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import ColumnElement, Integer, Table, and_, case, cast, extract, func, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import (
    NOW,
    PERIODS,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Quantity,
    Values,
    count,
    days_between,
    entities,
    living,
    local_date,
    sum_,
)

P = PERIODS.c
DIMENSIONS = ("channel", "page_group", "source")


def _span() -> ColumnElement[str]:
    """What kind of span a period is, by its days."""
    days = days_between(P.starts, P.ends)
    is_months = and_(_day(P.first_day) == 1, _day(local_date(P.ends)) == 1)
    return case(
        (days == 1, "day"),
        (days == 7, "week"),
        (and_(is_months, days.between(28, 31)), "month"),
        (and_(is_months, days.between(89, 92)), "quarter"),
        (and_(is_months, days.between(365, 366)), "year"),
        else_="other",
    )


def _day(date: ColumnElement[object]) -> ColumnElement[int]:
    return cast(extract("day", date), Integer)


def _visits(table: Table, *measured: str) -> Subquery:
    """Rows of a web table in each period: ``is_own`` counted for the period's own span, ``is_day`` for one of its days."""
    web = living(table, f"{table.name}_rows")
    w = web.c
    kind = func.coalesce(w.period_kind, "day")
    is_day = and_(kind == "day", w.date >= P.first_day, w.date <= P.last_day)
    is_own = and_(kind == _span(), w.date == P.first_day)
    is_whole_day = days_between(P.starts, P.ends) >= 1  # of hours, only the one that ends the day
    known = [case((w[name] >= 0, w[name])).label(name) for name in measured]
    extra = [w.goal] if "goal" in w else []
    return (
        select(
            P.no, w.source_id, w.channel, w.page_group, *extra, *known,
            case((is_own, 1), else_=0).label("is_own"),
            case((is_day, 1), else_=0).label("is_day"),
        )
        .select_from(web.join(PERIODS, and_(or_(is_day, is_own), is_whole_day, w.date <= local_date(NOW))))
        .subquery(f"{table.name}_visits")
    )  # fmt: skip


VISITS = _visits(entities.web_daily, "visitors", "sessions", "bounces", "conversions", "duration_s")
GOALS = _visits(entities.web_goals, "conversions")
_v, _g = VISITS.c, GOALS.c
Pair = dict[str, Measure]


def _pair(
    name: str, entity: Subquery, expression: ColumnElement[object], label: str, where: ColumnElement[bool] | None = None
) -> Pair:
    """A sum over the rows of the period's own span, over its days, and how many of the former there are."""
    own, day = entity.c.is_own == 1, entity.c.is_day == 1
    if where is not None:
        own, day = and_(own, where), and_(day, where)
    clock = InPeriod(entity.c.no)
    return {
        f"{name}_own": Measure(entity, clock, sum_(expression, own), label=label),
        f"{name}_day": Measure(entity, clock, sum_(expression, day), label=label),
        f"{name}_rows": Measure(entity, clock, count(and_(own, expression.is_not(None))), label=label),
    }


def _best(m: Values, name: str) -> Quantity:
    """The figure of the period's own span where there is one, else the sum over its days."""
    return m[f"{name}_own"] if m[f"{name}_rows"].numerator else m[f"{name}_day"]


def _seen(unit: str) -> tuple[Pair, Callable[[Values], Quantity]]:
    """Measures of what conversions are divided by, and how to read them."""
    if unit == "session":
        return _pair("seen", VISITS, _v.sessions, "sessions"), lambda m: _best(m, "seen")
    visitors = Measure(VISITS, InPeriod(_v.no), sum_(_v.visitors, _v.is_own == 1), label="visitors counted for this very period")
    return {"seen_own": visitors}, lambda m: m.seen_own


def _conversion(params: Mapping[str, str]) -> Definition:
    goal = params["goal"]
    if goal:
        done = _pair("done", GOALS, _g.conversions, "conversions", _g.goal == goal)
    else:
        done = _pair("done", VISITS, _v.conversions, "conversions")
    seen, below = _seen(params["unit"])

    def remarks(m: Values) -> Sequence[str]:
        return [f"no conversion of goal {goal!r} in this period"] if goal and not _best(m, "done").numerator else []

    return Definition({**done, **seen}, lambda m: _best(m, "done") / below(m), sample="seen_own", size=below, remarks=remarks)


WEBSITE_CONVERSION_RATE = Kpi(
    id="website_conversion_rate",
    name="Website conversion",
    category="marketing",
    unit="ratio",
    better="up",
    define=_conversion,
    period="week",
    min_sample=100,
    dimensions=DIMENSIONS,
    params={
        "goal": Param.text("", "Name of a goal; empty: all conversions."),
        "unit": Param(("visitor", "session"), "Divide by visitors, as the source counted them for the period, or by sessions."),
    },
    formula_text="conversions / visitors (or sessions) of the period",
    why="Whether the site does its work once people are there.",
    misleads="A campaign that brings the wrong people makes it fall; visitors of days do not add up to those of a month.",
    source="10 of 100 visitors = 10 %",
    additivity="R",
    number=39,
)


def _duration(params: Mapping[str, str]) -> Definition:
    stays: ColumnElement[bool] = _v.duration_s.is_not(None)
    sessions: ColumnElement[object] = _v.sessions
    if params["bounces"] == "exclude":
        stays = and_(stays, _v.bounces <= _v.sessions)
        sessions = _v.sessions - _v.bounces
    known = and_(stays, _v.sessions.is_not(None))
    lacking = or_(_v.duration_s.is_(None), _v.sessions.is_(None))
    if params["bounces"] == "exclude":
        lacking = or_(lacking, _v.bounces.is_(None), _v.bounces > _v.sessions)
    day = _v.is_day == 1
    return Definition(
        {
            **_pair("seconds", VISITS, _v.duration_s, "seconds", known),
            **_pair("sessions", VISITS, sessions, "sessions", known),
            "lacking": Measure(VISITS, InPeriod(_v.no), count(and_(day, lacking)), label="days without a duration"),
        },
        lambda m: _best(m, "seconds") / _best(m, "sessions"),
        sample="sessions_own",
        size=lambda m: _best(m, "sessions"),
        remarks=_left_out,
    )


def _left_out(m: Values) -> Sequence[str]:
    if m.sessions_rows.numerator or not m.lacking.numerator:
        return []
    return [f"{m.lacking.numerator} rows of days left out: no duration, sessions or bounces, or impossible ones"]


AVG_VISIT_DURATION = Kpi(
    id="avg_visit_duration",
    name="Visit duration",
    category="marketing",
    unit="seconds",
    better="none",
    define=_duration,
    period="week",
    min_sample=100,
    dimensions=DIMENSIONS,
    params={"bounces": Param(("include", "exclude"), "Visits of a single page: no seconds, but a visit; or left out.")},
    formula_text="seconds of all visits / visits; bounces=exclude: without visits of a single page",
    why="Whether people find something to read.",
    misleads="Long visits are good for a magazine and bad for a help page; the last page of a visit has no duration.",
    source="named by several guides",
    additivity="R",
    number=49,
)

KPIS = (WEBSITE_CONVERSION_RATE, AVG_VISIT_DURATION)
