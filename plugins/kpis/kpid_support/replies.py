"""Replies: whether customers get an answer, and how long they wait for the first one.

A reply is a public comment by a person of ours; bots do not count. If we opened the ticket and wrote on it first, the second such
comment is the reply. Tickets without any comments have the first reply that the CRM names. A comment that does not say whether it
is public is taken for public. Replies before the ticket's creation are impossible: no duration has them, the remarks count them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Subquery, and_, case, func, or_, select

from kpid.plugin import (
    NOW,
    At,
    Definition,
    Kpi,
    Measure,
    Param,
    Values,
    count,
    entities,
    in_business_time,
    living,
    seconds_between,
)
from kpid_support.tickets import CLOCK, DIMENSIONS, STAT, duration, kept, known_calendars, requests, spans, stat, told

OPTIONAL = ("ticket_comments", "ticket_schedule_history")
_DEGRADES = {"business_hours": "Without opening hours of your own, Monday to Friday from 9 to 17 o'clock count."}


def _comments() -> Subquery:
    """What the comments of a ticket say: its first and second reply by us, who wrote first, whether the customer wrote at all."""
    c = living(entities.ticket_comments, "comment_rows").c
    public = and_(func.coalesce(c.is_public, True), c.author_role.in_(["agent", "end_user"]), c.at <= NOW)
    is_public = case((public, 1), else_=0).label("is_public")
    ranked = select(c.ticket_id, c.author_role, c.at, c.id, is_public).subquery("comments")
    r = ranked.c
    place = func.row_number().over(partition_by=[r.ticket_id, r.is_public], order_by=[r.at, r.id]).label("place")
    own = func.row_number().over(partition_by=[r.ticket_id, r.is_public, r.author_role], order_by=[r.at, r.id]).label("own")
    placed = select(r.ticket_id, r.author_role, r.at, r.is_public, place, own).subquery("placed_comments")
    p = placed.c
    is_ours, is_theirs = and_(p.is_public == 1, p.author_role == "agent"), and_(p.is_public == 1, p.author_role == "end_user")
    return (
        select(
            p.ticket_id,
            func.min(case((and_(is_ours, p.own == 1), p.at))).label("first"),
            func.min(case((and_(is_ours, p.own == 2), p.at))).label("second"),
            func.max(case((and_(is_ours, p.place == 1), 1), else_=0)).label("begins_ours"),
            func.max(case((is_theirs, 1), else_=0)).label("has_theirs"),
        )
        .group_by(p.ticket_id)
        .subquery("commented")
    )


def _replies() -> Subquery:
    """Tickets with ``replied_at`` (null: not yet), ``waits`` (1: somebody waits for a reply) and the ``calendar`` they go by."""
    ticket, comment = requests("asked"), _comments()
    schedule, known = spans(entities.ticket_schedule_history, "schedule_id", "last_schedule"), known_calendars("asked_calendars")
    t, c, s = ticket.c, comment.c, schedule.c
    by_us = func.coalesce(t.created_by_agent, False)
    own = case((and_(by_us, c.begins_ours == 1), c.second), else_=c.first)
    replied = case((c.ticket_id.is_not(None), own), (t.first_reply_at <= NOW, t.first_reply_at))
    waits = case((and_(by_us, func.coalesce(c.has_theirs, 0) == 0), 0), else_=1)
    is_last = and_(s.ticket_id == t.id, s.follows.is_(None))
    joined = ticket.outerjoin(comment, c.ticket_id == t.id).outerjoin(schedule, is_last)
    joined = joined.outerjoin(known, known.c.calendar == func.coalesce(t.schedule_id, s.schedule_id))
    calendar = func.coalesce(known.c.calendar, "").label("calendar")
    return (
        select(*kept(ticket), replied.label("replied_at"), waits.label("waits"), calendar).select_from(joined).subquery("replies")
    )


REPLIES = _replies()
REPLIES_BY_LAST = in_business_time(
    REPLIES, "replies_by_last", calendar=REPLIES.c.calendar, wait=(REPLIES.c.created_at, REPLIES.c.replied_at)
)


def _pieces() -> Subquery:
    """Waits cut by schedules: ``ticket_id, hours, from_at, to_at``. The first schedule reaches back to the creation."""
    history, known = spans(entities.ticket_schedule_history, "schedule_id", "schedules"), known_calendars("schedule_calendars")
    r, s = REPLIES.c, history.c
    overlaps = and_(
        s.ticket_id == r.id, or_(s.place == 1, s.valid_from < r.replied_at), or_(s.follows.is_(None), s.follows > r.created_at)
    )
    start = case((or_(s.ticket_id.is_(None), s.place == 1, s.valid_from < r.created_at), r.created_at), else_=s.valid_from)
    end = case((s.follows < r.replied_at, s.follows), else_=r.replied_at)
    hours = case((s.ticket_id.is_(None), r.calendar), else_=func.coalesce(known.c.calendar, ""))
    joined = REPLIES.outerjoin(history, overlaps).outerjoin(known, known.c.calendar == s.schedule_id)
    return (
        select(r.id.label("ticket_id"), hours.label("hours"), start.label("from_at"), end.label("to_at"))
        .select_from(joined)
        .where(r.replied_at >= r.created_at)
        .subquery("waiting_pieces")
    )


def _by_history() -> Subquery:
    pieces = _pieces()
    timed = in_business_time(pieces, "timed_pieces", calendar=pieces.c.hours, wait=(pieces.c.from_at, pieces.c.to_at))
    total = (
        select(timed.c.ticket_id, func.sum(timed.c.wait).label("wait")).group_by(timed.c.ticket_id).subquery("waits_by_history")
    )
    joined = REPLIES.outerjoin(total, total.c.ticket_id == REPLIES.c.id)
    return select(REPLIES, total.c.wait).select_from(joined).subquery("replies_by_history")


REPLIES_BY_HISTORY = _by_history()


def _waiting(clock: str, schedule: str) -> tuple[Subquery, ColumnElement[object]]:
    """The entity to measure, and how long a ticket of it waited."""
    if clock == "calendar":
        return REPLIES, seconds_between(REPLIES.c.created_at, REPLIES.c.replied_at)
    entity = REPLIES_BY_LAST if schedule == "last" else REPLIES_BY_HISTORY
    return entity, entity.c.wait


def _first_reply_time(params: Mapping[str, str]) -> Definition:
    entity, wait = _waiting(params["clock"], params["schedule"])
    c = entity.c
    clock = At(c.created_at if params["by"] == "created" else c.replied_at)
    unanswered = and_(c.replied_at.is_(None), c.waits == 1)
    measures = {
        "wait": Measure(entity, clock, stat(params["stat"], wait, c.replied_at >= c.created_at), label="answered tickets"),
        "unanswered": Measure(entity, At(c.created_at), count(unanswered), label="tickets without a reply"),
        "impossible": Measure(entity, clock, count(c.replied_at < c.created_at), label="replies before the ticket"),
    }

    def remarks(m: Values) -> list[str]:
        left = told(m.unanswered.numerator, "tickets have no reply yet: they are in no duration")
        return left + told(m.impossible.numerator, "tickets were answered before they were created: left out")

    return Definition(measures, lambda m: m.wait, sample="wait", remarks=remarks, optional=OPTIONAL)


FIRST_REPLY_TIME = Kpi(
    id="first_reply_time",
    name="First reply time",
    category="support",
    unit="seconds",
    better="down",
    define=_first_reply_time,
    period="week",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "stat": STAT,
        "clock": CLOCK,
        "schedule": Param(("last", "history"), "Opening hours: those the ticket came under last, or each for its time."),
        "by": Param(("created", "replied"), "The period that the ticket was created in, or answered in."),
    },
    formula_text="time from a ticket's creation to the first public reply by a person, over tickets created in the period",
    why="The first thing a customer notices.",
    misleads="Tickets without a reply are not in it: the worst waits are missing until they end. See the response rate.",
    source="Zendesk (last schedule); fivetran dbt_zendesk (all schedules)",
    additivity="N",
    number=52,
    degrades={
        "ticket_comments": "The first reply is the one that the CRM names, whoever wrote it.",
        "ticket_schedule_history": "Business hours are those of the schedule that a ticket is under now.",
        **_DEGRADES,
    },
)


def _share(within_text: str, clock: str, answered_label: str) -> Definition:
    entity, wait = _waiting(clock, "last")
    c = entity.c
    within = duration(within_text, "within")
    answered: ColumnElement[bool] = c.replied_at.is_not(None)
    if within is not None:
        answered = and_(c.replied_at >= c.created_at, wait <= int(within.total_seconds()))
    measures = {
        "answered": Measure(entity, At(c.created_at), count(and_(answered, c.waits == 1)), label=answered_label),
        "tickets": Measure(entity, At(c.created_at), count(c.waits == 1), label="tickets"),
    }
    horizon = within if clock == "calendar" else None
    return Definition(measures, lambda m: m.answered / m.tickets, sample="tickets", horizon=horizon, optional=OPTIONAL)


TICKET_RESPONSE_RATE = Kpi(
    id="ticket_response_rate",
    name="Response rate",
    category="support",
    unit="ratio",
    better="up",
    define=lambda params: _share(params["within"], "calendar", "answered tickets"),
    period="week",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"within": Param.text("", "Only replies within so long (30m, 4h, 2d); empty: whenever.")},
    formula_text="tickets created in the period that a person has publicly replied to / tickets created in the period",
    why="Whether customers get an answer at all.",
    misleads="Recent tickets have had less time to be answered; tickets that we opened count only if the customer wrote on them.",
    source="support response rate",
    additivity="C",
    number=51,
    degrades={"ticket_comments": "A reply is what the CRM calls the first one, whoever wrote it."},
)

SLA_ATTAINMENT = Kpi(
    id="sla_attainment",
    name="Replies within the promised time",
    category="support",
    unit="ratio",
    better="up",
    define=lambda params: _share(params["within"] or "8h", params["clock"], "tickets answered in time"),
    period="week",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"within": Param.text("8h", "What is promised (30m, 4h, 2d)."), "clock": CLOCK},
    formula_text="tickets created in the period with a first reply within the promised time / tickets created in the period",
    why="Whether the promise is kept, ticket by ticket.",
    misleads="One promise for all: where priorities have their own, measure them one by one (by priority).",
    source="own",
    additivity="C",
    degrades=_DEGRADES,
)

KPIS = (TICKET_RESPONSE_RATE, FIRST_REPLY_TIME, SLA_ATTAINMENT)
