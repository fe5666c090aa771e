"""Support KPIs: what waits for an answer."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func

from kpid.plugin import Balance, Definition, Kpi, Measure, count, entities, hookimpl

tickets = entities.tickets
UNSOLVED = func.coalesce(tickets.c.status, "open").not_in(["solved", "closed"])

TICKET_BACKLOG = Kpi(
    id="ticket_backlog",
    name="Ticket backlog",
    category="support",
    unit="count",
    better="down",
    define=Definition(
        {
            "open": Measure(
                tickets, Balance(tickets.c.created_at, tickets.c.closed_at, UNSOLVED), count(), label="unsolved tickets"
            )
        },
        lambda m: m.open,
    ),
    period="day",
    dimensions=("owner", "team", "region", "account", "segment", "channel", "priority", "category", "status", "source"),
    formula_text="tickets that are neither solved nor closed at the end of the period (or now)",
    why="Customers who wait; a backlog that grows for weeks is a staffing question.",
    misleads="A re-opened ticket counts as open since its creation, and a closed one as closed since its last closing.",
    source="Zendesk backlog",
)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Support KPIs."""
    return (TICKET_BACKLOG,)
