"""How long it takes to solve a ticket.

A ticket is solved first at ``first_solved_at``, and last at ``last_solved_at`` (a source that only knows when it closed a ticket
means that). A ticket that is open again is not solved: its full resolution moves to the period in which it is solved next.
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
    days_between,
    entities,
    in_business_time,
    seconds_between,
)
from kpid_support.tickets import CLOCK, DIMENSIONS, SOLVED, STAT, kept, known_calendars, requests, spans, stat, told

_WAITING = ("new", "open", "on_hold")
_DAY = 86_400


def _solved() -> Subquery:
    """Tickets with ``first_at`` and ``last_at``, when they were solved first and last; null: not (or not any more)."""
    ticket, known = requests("to_solve"), known_calendars("solving_calendars")
    t = ticket.c
    last = func.coalesce(t.last_solved_at, t.closed_at)
    first = func.coalesce(t.first_solved_at, case((func.coalesce(t.reopen_count, 0) == 0, last)))
    is_solved = or_(t.status.is_(None), t.status.in_(SOLVED))
    calendar = func.coalesce(known.c.calendar, "").label("calendar")
    columns = (*kept(ticket), first.label("first_at"), case((is_solved, last)).label("last_at"), calendar)
    return select(*columns).select_from(ticket.outerjoin(known, known.c.calendar == t.schedule_id)).subquery("solved_tickets")


SOLVED_TICKETS = _solved()
_s = SOLVED_TICKETS.c
SOLVED_IN_HOURS = in_business_time(
    SOLVED_TICKETS, "solved_in_hours", calendar=_s.calendar, first=(_s.created_at, _s.first_at), full=(_s.created_at, _s.last_at)
)


def _requester_waits() -> Subquery:
    """Solved tickets with the time they were new, open or on hold before: ``calendar_s``, ``business_s``; null: not known."""
    history = spans(entities.ticket_status_history, "status", "solving_status")
    h = history.c
    end = case((h.ends < _s.last_at, h.ends), else_=_s.last_at)
    pieces = (
        select(h.ticket_id, _s.calendar, h.status, h.valid_from.label("from_at"), end.label("to_at"))
        .select_from(SOLVED_TICKETS.join(history, and_(h.ticket_id == _s.id, h.valid_from < _s.last_at)))
        .subquery("status_pieces")
    )
    timed = in_business_time(pieces, "timed_status", calendar=pieces.c.calendar, open_s=(pieces.c.from_at, pieces.c.to_at))
    p = timed.c
    waits = p.status.in_(_WAITING)
    sums = (
        select(
            p.ticket_id,
            func.sum(case((waits, seconds_between(p.from_at, p.to_at)), else_=0)).label("calendar_s"),
            func.sum(case((waits, p.open_s), else_=0)).label("business_s"),
        )
        .group_by(p.ticket_id)
        .subquery("waited")
    )
    joined = SOLVED_TICKETS.outerjoin(sums, sums.c.ticket_id == _s.id)
    return select(SOLVED_TICKETS, sums.c.calendar_s, sums.c.business_s).select_from(joined).subquery("requester_waits")


REQUESTER_WAITS = _requester_waits()


def _entity(which: str, clock: str) -> tuple[Subquery, ColumnElement[object], ColumnElement[object]]:
    """The entity, when a row of it was solved, and how long it took."""
    if which == "requester_wait":
        c = REQUESTER_WAITS.c
        return REQUESTER_WAITS, c.last_at, c[f"{clock}_s"]
    entity = SOLVED_TICKETS if clock == "calendar" else SOLVED_IN_HOURS
    at = entity.c.first_at if which == "first" else entity.c.last_at
    return entity, at, seconds_between(entity.c.created_at, at) if clock == "calendar" else entity.c[which]


def _resolution_time(params: Mapping[str, str]) -> Definition:
    which = params["which"]
    entity, at, took = _entity(which, params["clock"])
    is_possible = at >= entity.c.created_at
    measures = {
        "time": Measure(entity, At(at), stat(params["stat"], took, is_possible), label="solved tickets"),
        "impossible": Measure(entity, At(at), count(at < entity.c.created_at), label="tickets solved before they were created"),
        "unknown": Measure(entity, At(at), count(and_(is_possible, took.is_(None))), label="tickets without a history"),
    }

    def remarks(m: Values) -> list[str]:
        found = told(m.impossible.numerator, "tickets were solved before they were created: left out")
        return found + told(m.unknown.numerator, "solved tickets left out: nobody knows how long they waited")

    optional = () if which == "requester_wait" else ("ticket_status_history",)
    return Definition(measures, lambda m: m.time, sample="time", remarks=remarks, optional=optional)


RESOLUTION_TIME = Kpi(
    id="resolution_time",
    name="Resolution time",
    category="support",
    unit="seconds",
    better="down",
    define=_resolution_time,
    period="week",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "which": Param(
            ("full", "first", "requester_wait"),
            "To the last solving, to the first, or only the time that the customer waited for us.",
        ),
        "clock": CLOCK,
        "stat": STAT,
    },
    formula_text="time from a ticket's creation to its (last) solving, over tickets solved in the period",
    why="How long a customer's problem stays one.",
    misleads="Only solved tickets: clearing old ones makes it rise, leaving them open makes it look good.",
    source="Zendesk (full and first resolution, requester wait time); fivetran dbt_zendesk",
    additivity="N",
    number=53,
    degrades={
        "ticket_status_history": "There is no requester_wait: nobody knows who waited for whom.",
        "business_hours": "Without opening hours of your own, Monday to Friday from 9 to 17 o'clock count.",
    },
)


def _same_day(params: Mapping[str, str]) -> Definition:
    created, first = _s.created_at, _s.first_at
    took = seconds_between(created, first)
    in_time = days_between(created, first) == 0 if params["basis"] == "calendar" else took <= _DAY
    clock = At(created)
    measures = {
        "same": Measure(SOLVED_TICKETS, clock, count(and_(first <= NOW, first >= created, in_time)), label="solved at once"),
        "tickets": Measure(SOLVED_TICKETS, clock, count(), label="tickets"),
    }
    return Definition(measures, lambda m: m.same / m.tickets, sample="tickets")


SAME_DAY_CLOSE_RATE = Kpi(
    id="same_day_close_rate",
    name="Solved on the same day",
    category="support",
    unit="ratio",
    better="up",
    define=_same_day,
    period="day",
    min_sample=20,
    dimensions=DIMENSIONS,
    params={"basis": Param(("calendar", "24h"), "On the same local calendar day, or within 24 hours.")},
    formula_text="tickets solved (first) on the local day of their creation / tickets created on that day",
    why="What is done at once never becomes backlog.",
    misleads="A ticket of 23:50 that is solved at 00:10 is not solved on the same day; evening tickets lower it.",
    source="cases closed the same day (EasyERP)",
    additivity="R",
    number=55,
)

KPIS = (RESOLUTION_TIME, SAME_DAY_CLOSE_RATE)
