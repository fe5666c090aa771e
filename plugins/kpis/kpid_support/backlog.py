"""What waits: tickets created, and tickets that were not solved at an instant.

Where a ticket has a status history that covers the instant, that says whether it was open; elsewhere its creation and closing do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Subquery, and_, case, func, or_, select

from kpid.plugin import (
    NOW,
    PERIODS,
    SNAP,
    At,
    Definition,
    InPeriod,
    Kpi,
    KpidError,
    Measure,
    Param,
    Values,
    count,
    entities,
    holds_at,
    later,
    seconds_between,
)
from kpid_support.tickets import DIMENSIONS, SOLVED, is_request, kept, requests, spans, told

tickets = entities.tickets
_DAY = 86_400
_FIRST_HOUR, _LAST_HOUR = 4, 24
_BANDS = ((1, "0-1 days"), (3, "1-3 days"), (7, "3-7 days"), (30, "7-30 days"))

TICKETS_CREATED = Kpi(
    id="tickets_created",
    name="Tickets created",
    category="support",
    unit="count",
    better="none",
    define=Definition(
        {"tickets": Measure(tickets, At(tickets.c.created_at), count(is_request(tickets)), label="tickets")}, lambda m: m.tickets
    ),
    period="day",
    dimensions=(*DIMENSIONS, "status"),
    formula_text="tickets, by the time they were created; without spam",
    why="The work that comes in: what every other support figure is weighed against.",
    misleads="One fault in the product may bring a hundred tickets on one day.",
    source="base measure",
    additivity="A",
)


@cache
def backlog(hour: int) -> Subquery:
    """Unsolved tickets per period: ``no``, the ticket's columns, ``age_band``, ``is_known`` (0: nobody knows since when).

    Args:
        hour: of the period's last local day, when they are counted; 24: at its end.
    """
    ticket, history = requests("waiting"), spans(entities.ticket_status_history, "status", "waiting_status")
    t, h, p = ticket.c, history.c, PERIODS.c
    until, as_of = _at(hour, p.until), _at(hour, p.as_of)
    age = seconds_between(t.created_at, as_of)
    bands = case(*((age < days * _DAY, name) for days, name in _BANDS), else_="over 30 days")
    band = case((t.created_at.is_(None), "unknown"), else_=bands)
    is_known = case((or_(t.created_at.is_not(None), p.is_current), 1), else_=0)
    unsolved = func.coalesce(t.status, "open").not_in(SOLVED)
    by_dates = or_(t.closed_at >= until, and_(t.closed_at.is_(None), unsolved))
    is_open = or_(and_(h.status.is_not(None), h.status.not_in(SOLVED)), and_(h.status.is_(None), by_dates))
    covers = and_(h.ticket_id == t.id, holds_at(h.valid_from, h.ends, until))
    created = or_(t.created_at.is_(None), t.created_at < until)
    columns = [column for column in kept(ticket) if column.key != "status"]
    return (
        select(
            p.no, *columns, func.coalesce(h.status, t.status).label("status"), band.label("age_band"), is_known.label("is_known")
        )
        .select_from(ticket.join(PERIODS, and_(created, p.starts <= NOW)).outerjoin(history, covers))
        .where(is_open)
        .subquery("backlog")
    )


def _at(hour: int, end: ColumnElement[Any]) -> ColumnElement[Any]:
    """An hour of the last day, or the end where that comes first. Clocks change before ``_FIRST_HOUR``: elapsed time is exact."""
    if hour == _LAST_HOUR:
        return end
    then = later(PERIODS.c.ends, seconds=(hour - _LAST_HOUR) * 3_600)
    return case((and_(then > PERIODS.c.starts, then < end), then), else_=end)


def _ticket_backlog(params: Mapping[str, str]) -> Definition:
    hour = int(params["at_hour"])
    if hour > _LAST_HOUR:
        raise KpidError(f"at_hour={hour} is no hour of the day", hint=f"Write {_FIRST_HOUR} to {_LAST_HOUR}; 24 is midnight")
    waiting = backlog(hour)
    c, clock = waiting.c, InPeriod(waiting.c.no)
    return Definition(
        {
            "open": Measure(waiting, clock, count(c.is_known == 1), label="unsolved tickets"),
            "unknown": Measure(waiting, clock, count(c.is_known == 0), label="tickets without a date"),
        },
        lambda m: m.open,
        remarks=_remarks,
        optional=("ticket_status_history",),
    )


def _remarks(m: Values) -> list[str]:
    return told(m.unknown.numerator, "unsolved tickets left out: nobody knows since when they are open")


TICKET_BACKLOG = Kpi(
    id="ticket_backlog",
    name="Ticket backlog",
    category="support",
    unit="count",
    better="down",
    define=_ticket_backlog,
    period="day",
    dimensions=(*DIMENSIONS, "status", "age_band"),
    params={
        "at_hour": Param.number("24", "Local hour of the last day at which tickets are counted, 4 to 24 (midnight).", least=4),
        "snap": SNAP,
    },
    formula_text="tickets that are neither solved nor closed at the end of the period (or now)",
    why="Customers who wait; a backlog that grows for weeks is a staffing question.",
    misleads="Taken at local midnight: a help desk that takes its own at another hour (at_hour) differs by the tickets of those "
    "hours.",
    source="Zendesk backlog",
    additivity="S",
    number=50,
    degrades={
        "ticket_status_history": "A re-opened ticket counts as open since its creation, a closed one until its last closing."
    },
)

KPIS = (TICKETS_CREATED, TICKET_BACKLOG)
