"""How fast leads are answered.

The answer is the first outbound call, mail, meeting or message of a person (not automated) after the lead was created: of the
activities that name the lead, directly or by a link, or the CRM's own ``first_response_at``, whichever came first. A lead whose
only answer is dated before its creation is left out. A lead without an answer is not left out: it waits without end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, or_, select, union_all
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import (
    NOW,
    At,
    Benchmark,
    Definition,
    Kpi,
    KpidError,
    Measure,
    Param,
    Quantity,
    Values,
    count,
    entities,
    from_reach,
    in_business_time,
    in_reach,
    living,
    mean,
    quantile,
    seconds_between,
)

_ENDLESS = 10**10
_LONGEST = 5 * 10**8
"""Waits from here on are made of endless ones: even an interpolated quantile gets a tenth of ``_ENDLESS``."""
_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
DIMENSIONS = ("lead_source", "campaign", "owner", "team", "region", "status", "source")
CLOCK = Param(("calendar", "business"), "Elapsed time, or opening hours only.")


def _touches() -> Subquery:
    """When somebody turned to a lead: ``lead_id, at``."""
    activities, linked = living(entities.activities, "reply"), living(entities.activities, "linked_reply")
    links = living(entities.activity_links, "reply_link")
    link = links.c
    direct = select(activities.c.lead_id, activities.c.occurred_at.label("at")).where(*_is_human(activities))
    of = case((link.object_id.like(link.source_id + ":%"), link.object_id), else_=link.source_id + ":" + link.object_id)
    joined = linked.join(links, link.activity_id == linked.c.id)
    by_link = select(of.label("lead_id"), linked.c.occurred_at.label("at")).select_from(joined)
    by_link = by_link.where(link.object_type == "leads", *_is_human(linked))
    return union_all(direct, by_link).subquery("lead_touches")


def _is_human(activities: Subquery) -> tuple[ColumnElement[bool], ...]:
    a = activities.c
    return (
        a.type.in_(["call", "email", "meeting", "message"]),
        a.direction == "outbound",
        func.coalesce(a.status, "completed") == "completed",
        func.coalesce(a.is_automated, False).is_(False),
        from_reach(a.occurred_at),
    )


def _responses() -> Subquery:
    """The leads that count, with ``answered_at`` (null: not yet) and whether all that is known of it is impossible."""
    lead, touched, touch = living(entities.leads, "asked"), living(entities.leads, "touched"), _touches()
    first = (
        select(touch.c.lead_id, func.min(touch.c.at).label("at"))
        .select_from(touch.join(touched, touched.c.id == touch.c.lead_id))
        .where(touch.c.at >= touched.c.created_at, touch.c.at <= NOW, in_reach(touched.c.created_at))
        .group_by(touch.c.lead_id)
        .subquery("first_touches")
    )
    of, at = lead.c, first.c.at
    own = case((and_(of.first_response_at >= of.created_at, of.first_response_at <= NOW), of.first_response_at))
    answered = case((own.is_(None), at), (at.is_(None), own), (own < at, own), else_=at)
    is_impossible = and_(of.first_response_at < of.created_at, at.is_(None))
    return (
        select(
            of.id, of.source_id, of.owner_id, of.lead_source, of.campaign, of.region, of.status, of.created_at,
            answered.label("answered_at"), case((is_impossible, 1), else_=0).label("is_impossible"),
        )
        .select_from(lead.outerjoin(first, first.c.lead_id == of.id))
        .subquery("lead_answers")
    )  # fmt: skip


_ANSWERS = _responses()
_a = _ANSWERS.c
_ELAPSED = select(
    *_a, seconds_between(_a.created_at, _a.answered_at).label("wait"), seconds_between(_a.created_at, NOW).label("age")
).subquery("lead_waits")
RESPONSES = {
    "calendar": _ELAPSED,
    "business": in_business_time(_ANSWERS, "lead_business_waits", wait=(_a.created_at, _a.answered_at), age=(_a.created_at, NOW)),
}


def _lead_response(params: Mapping[str, str]) -> Definition:
    entity = RESPONSES[params["clock"]]
    c, clock = entity.c, At(entity.c.created_at)
    counted = c.is_impossible == 0
    is_answered = and_(counted, c.answered_at.is_not(None))
    endless = case((c.answered_at.is_(None), _ENDLESS), else_=cast(c.wait, BigInteger))
    q = {"median": 0.5, "p90": 0.9}.get(params["stat"])
    agg = mean(c.wait, is_answered) if q is None else quantile(q, endless, counted)
    return Definition(
        {
            "wait": Measure(entity, clock, agg, label="answered leads" if q is None else "leads"),
            "leads": Measure(entity, clock, count(counted), label="leads"),
            "answered": Measure(entity, clock, count(is_answered), label="answered leads"),
            "impossible": Measure(entity, clock, count(c.is_impossible == 1), label="leads answered before they came"),
        },
        _reached,
        sample="answered" if q is None else "leads",
        remarks=_waiting,
        optional=("activities", "activity_links"),
    )


def _reached(m: Values) -> Quantity:
    if m.wait.exact is not None and m.wait.exact >= _LONGEST:
        return Quantity(None, reason="not reached: too many leads have not been answered")
    return m.wait


def _waiting(m: Values) -> Sequence[str]:
    leads, answered, impossible = (int(q.numerator or 0) for q in (m.leads, m.answered, m.impossible))
    found = [f"{leads - answered} of {leads} leads not answered yet"] if answered < leads else []
    return [*found, f"{impossible} leads left out: answered before they were created"] if impossible else found


_PARAMS = {
    "stat": Param(
        ("median", "p90", "mean"), "Middle, nine of ten (leads without an answer wait without end), or mean of answers."
    ),
    "clock": CLOCK,
}

LEAD_RESPONSE_TIME = Kpi(
    id="lead_response_time",
    name="Lead response time",
    category="activity",
    unit="seconds",
    better="down",
    define=_lead_response,
    period="week",
    min_sample=10,
    dimensions=DIMENSIONS,
    params=_PARAMS,
    formula_text="time from a lead's creation to the first outbound touch by a person, over the leads created in the period; a "
    "lead without an answer counts as endless",
    why="A lead that waits talks to somebody else: the odds fall within the first hour.",
    misleads="stat=mean leaves out who was never answered; touches that nobody logs look like silence.",
    source="Harvard Business Review 2011 (read through secondary pages)",
    additivity="N",
    degrades={"business_hours": "Without opening hours, clock=business counts Monday to Friday, nine to five."},
    benchmark=Benchmark("151200", "mean of 42 hours among firms that answered at all", "HBR, audit of 2 241 firms", 2011),
    number=23,
)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if found is None:
        raise KpidError(f"within={text} is no span of time", hint="Write minutes, hours or days: 60m, 4h, 2d")
    return int(found[1]) * _UNITS[found[2]]


def _answered(params: Mapping[str, str]) -> Definition:
    entity, limit = RESPONSES[params["clock"]], _seconds(params["within"])
    c, clock = entity.c, At(entity.c.created_at)
    counted = c.is_impossible == 0
    waits = and_(counted, c.answered_at.is_(None), or_(c.age.is_(None), c.age < limit))
    return Definition(
        {
            "in_time": Measure(entity, clock, count(and_(counted, c.wait <= limit)), label="leads answered in time"),
            "leads": Measure(entity, clock, count(counted), label="leads"),
            "waiting": Measure(entity, clock, count(waits), label="leads that can still be answered in time"),
        },
        lambda m: m.in_time / m.leads,
        sample="leads",
        doubts=_undecided,
        optional=("activities", "activity_links"),
    )


def _undecided(m: Values) -> str | None:
    waiting = int(m.waiting.numerator or 0)
    return f"{waiting} leads can still be answered in time" if waiting else None


ANSWERED_SHARE = Kpi(
    id="answered_share",
    name="Leads answered in time",
    category="activity",
    unit="ratio",
    better="up",
    define=_answered,
    period="week",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"within": Param.text("60m", "Minutes, hours or days: 60m, 4h, 2d."), "clock": CLOCK},
    formula_text="of the leads created in the period, the share answered by a person within the time",
    why="The promise to answer within the hour, kept or not: unlike a median it does not hide who was forgotten.",
    misleads="A quick answer that says nothing counts like a good one.",
    source="companion of lead_response_time",
    additivity="C",
    benchmark=Benchmark("0.37", "answered within one hour; 23 % never", "HBR, audit of 2 241 firms", 2011),
)

KPIS = (LEAD_RESPONSE_TIME, ANSWERED_SHARE)
