"""Mailing lists: who comes and who goes.

A person is on a list while an interval of its membership holds; several intervals at once are one membership. Each begin in the
period is a new subscriber, and each end with a reason that counts is a loss, also of somebody who came in the same period.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import PERIODS, Definition, InPeriod, Kpi, Measure, count, entities, holds_at, living, sum_

P = PERIODS.c
_LOSSES = ("unsubscribed", "hard_bounce", "complaint")


def _memberships() -> Subquery:
    """One row per period, list and person: there at the start (1 or 0), and how often it came and went."""
    history = living(entities.list_membership_history, "membership")
    h = history.c
    is_possible = or_(h.valid_to.is_(None), h.valid_to >= h.valid_from)
    came = and_(h.valid_from >= P.starts, h.valid_from < P.until)
    went = and_(h.valid_to >= P.starts, h.valid_to < P.until, h.exit_reason.in_(_LOSSES))
    return (
        select(
            P.no,
            h.source_id,
            h.list_id.label("mailing_list"),
            func.max(case((holds_at(h.valid_from, h.valid_to, P.starts), 1), else_=0)).label("at_start"),
            _different(h.valid_from, came).label("came"),
            _different(h.valid_to, went).label("went"),
        )
        .select_from(history.join(PERIODS, h.valid_from < P.until))
        .where(is_possible, or_(h.valid_to.is_(None), h.valid_to >= P.starts))
        .group_by(P.no, h.source_id, h.list_id, func.coalesce(h.person_id, h.id))
        .subquery("memberships")
    )


def _different(instant: ColumnElement[object], where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((where, instant)).distinct())


MEMBERSHIPS = _memberships()
_c = MEMBERSHIPS.c
_CLOCK = InPeriod(_c.no)

LIST_GROWTH_RATE = Kpi(
    id="list_growth_rate",
    name="List growth",
    category="marketing",
    unit="ratio",
    better="up",
    define=Definition(
        {
            "came": Measure(MEMBERSHIPS, _CLOCK, sum_(_c.came), label="new subscribers"),
            "went": Measure(MEMBERSHIPS, _CLOCK, sum_(_c.went), label="lost subscribers"),
            "at_start": Measure(MEMBERSHIPS, _CLOCK, count(_c.at_start == 1), label="subscribers at the start"),
        },
        lambda m: (m.came - m.went) / m.at_start,
        sample="at_start",
    ),
    min_sample=30,
    dimensions=("mailing_list", "source"),
    formula_text="(new subscribers - unsubscribed - hard bounces - complaints) / subscribers at the start of the period",
    why="A list loses a part of itself every year: without growth it dies.",
    misleads="Bought or imported addresses make it grow, and cost their price in bounces and complaints later.",
    source="named by several guides",
    additivity="C",
    number=48,
)

KPIS = (LIST_GROWTH_RATE,)
