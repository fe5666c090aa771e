"""Calls per salesperson. Active sellers are users with the role seller who could work on at least one working day of the period.

Working days are those of the seller's calendar (the company's, if it names none that is known). A user who is marked as inactive
without a date of leaving is counted in no period: nobody knows when they left.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Subquery, and_, func, or_, select

from kpid.plugin import (
    NOW,
    OPEN_HOURS,
    PERIODS,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    count,
    entities,
    holds_at,
    living,
    local_date,
    sum_,
)
from kpid_activity.calls import DIRECTION, calls


def _working_days() -> Subquery:
    """The local days on which each calendar opens, with the first opening and the last closing."""
    hours = OPEN_HOURS.c
    days = select(hours.calendar, local_date(hours.from_at).label("day"), hours.from_at, hours.to_at).where(hours.is_open)
    d = days.subquery("open_days").c
    columns = (d.calendar, d.day, func.min(d.from_at).label("opens"), func.max(d.to_at).label("closes"))
    return select(*columns).group_by(d.calendar, d.day).subquery("working_days")


def _sellers() -> Subquery:
    """A row per period and active seller, with the working days on which the seller was active: ``no, owner_id, days``."""
    user, days = living(entities.users, "seller"), _working_days()
    known = select(days.c.calendar).distinct().subquery("known_calendars")
    u, d, p = user.c, days.c, PERIODS.c
    is_there = or_(u.active_to.is_not(None), func.coalesce(u.is_active, True))
    works = and_(
        d.calendar == func.coalesce(known.c.calendar, ""),
        d.day >= p.first_day,
        d.day <= p.last_day,
        d.opens < p.until,
        or_(u.active_from.is_(None), u.active_from < d.closes),
        or_(u.active_to.is_(None), u.active_to > d.opens),
    )
    joined = user.outerjoin(known, known.c.calendar == u.calendar_id).join(PERIODS, p.starts <= NOW).join(days, works)
    return (
        select(p.no, u.id.label("owner_id"), u.source_id, func.count().label("days"))
        .select_from(joined)
        .where(u.role == "seller", is_there)
        .group_by(p.no, u.id, u.source_id)
        .subquery("sellers_at_work")
    )


def _teams() -> Subquery:
    """The team of each user at the end of each period: ``no, user_id, team``."""
    member, team = living(entities.team_memberships, "seller_membership"), living(entities.teams, "seller_team")
    m, p = member.c, PERIODS.c
    newest = [m.is_primary.desc().nulls_last(), m.valid_from.desc(), m.id]
    place = func.row_number().over(partition_by=[p.no, m.user_id], order_by=newest).label("place")
    joined = member.join(PERIODS, holds_at(m.valid_from, m.valid_to, p.until))
    ranked = select(p.no, m.user_id, m.team_id, place).select_from(joined).subquery("seller_memberships")
    r = ranked.c
    name = func.coalesce(team.c.name, r.team_id).label("team")
    known = ranked.outerjoin(team, team.c.id == r.team_id)
    return select(r.no, r.user_id, name).select_from(known).where(r.place == 1).subquery("seller_teams")


def _in_teams() -> Subquery:
    """Active sellers with their ``team`` at the end of the period; null: that of the user stands in."""
    seller, team = _sellers(), _teams()
    joined = seller.outerjoin(team, and_(team.c.no == seller.c.no, team.c.user_id == seller.c.owner_id))
    return select(seller, team.c.team).select_from(joined).subquery("active_sellers")


SELLERS = _in_teams()
_OPTIONAL = ("team_memberships", "teams")


def _calls_per_rep(params: Mapping[str, str]) -> Definition:
    clock = InPeriod(SELLERS.c.no)
    sellers = Measure(SELLERS, clock, count(), label="active sellers")
    if params["per"] == "period":
        return Definition(
            {"calls": calls(params["direction"]), "sellers": sellers},
            lambda m: m.calls / m.sellers,
            "sellers",
            optional=_OPTIONAL,
        )
    days = Measure(SELLERS, clock, sum_(SELLERS.c.days), label="working days of sellers")
    measures = {"calls": calls(params["direction"]), "days": days, "sellers": sellers}
    return Definition(measures, lambda m: m.calls / m.days, "sellers", optional=_OPTIONAL)


CALLS_PER_REP = Kpi(
    id="calls_per_rep",
    name="Calls per salesperson",
    category="activity",
    unit="count",
    better="up",
    define=_calls_per_rep,
    period="week",
    dimensions=("owner", "team", "region", "source"),
    params={
        "direction": DIRECTION,
        "per": Param(("period", "working_day"), "Per seller, or per seller and working day on which the seller was active."),
    },
    formula_text="completed calls / users with role seller who were active on a working day of the period",
    why="Effort per head: it does not rise because somebody was hired.",
    misleads="Sellers without a call count too; others may call too. Who changed teams counts in the last one.",
    source="sales calls per executive (2019); calls per salesperson (EasyERP)",
    additivity="R",
    number=18,
)

KPIS = (CALLS_PER_REP,)
