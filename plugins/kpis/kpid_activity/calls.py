"""Calls: how many were made, and how many reached somebody.

A call reached somebody if its outcome says so, or if it has no outcome and lasted at all. Planned and cancelled calls are none.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import At, Definition, Kpi, Measure, Param, count, entities

activities = entities.activities
DIMENSIONS = ("owner", "team", "region", "account", "segment", "industry", "country", "direction", "outcome", "source")
DIRECTION = Param(("outbound", "inbound", "all"), "Calls made by us, to us, or both.")
CONNECTED = ("connected", "answered", "reached", "conversation", "completed")


def is_call(entity: FromClause, direction: str) -> ColumnElement[bool]:
    """Whether a row is a call that took place, in the wanted direction."""
    c = entity.c
    made = and_(c.type == "call", func.coalesce(c.status, "completed") == "completed")
    return made if direction == "all" else and_(made, c.direction == direction)


def calls(direction: str) -> Measure:
    """The calls of a period, by the time they took place."""
    return Measure(activities, At(activities.c.occurred_at), count(is_call(activities, direction)), label="calls")


def _calls_made(params: Mapping[str, str]) -> Definition:
    if params["connected_only"] == "false":
        return Definition({"calls": calls(params["direction"])}, lambda m: m.calls)
    c = activities.c
    reached = or_(func.lower(c.outcome).in_(CONNECTED), and_(c.outcome.is_(None), c.duration_s > 0))
    where = and_(is_call(activities, params["direction"]), reached)
    connected = Measure(activities, At(c.occurred_at), count(where), label="calls that reached somebody")
    return Definition({"calls": connected}, lambda m: m.calls)


CALLS_MADE = Kpi(
    id="calls_made",
    name="Calls",
    category="activity",
    unit="count",
    better="up",
    define=_calls_made,
    period="day",
    dimensions=DIMENSIONS,
    params={
        "direction": DIRECTION,
        "connected_only": Param(("false", "true"), "Only calls that reached somebody: by their outcome, else by their length."),
    },
    formula_text="completed calls, by the time they took place",
    why="Effort, days before it shows in results.",
    misleads="More calls are not better calls; what is not logged did not happen.",
    source="base measure",
    additivity="A",
)

KPIS = (CALLS_MADE,)
