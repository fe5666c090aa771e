"""Tickets and their histories, as all support KPIs see them."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import ColumnElement, Subquery, Table, and_, func, select
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import OPEN_HOURS, Aggregate, KpidError, Param, entities, living, mean, quantile

DIMENSIONS = (
    "owner", "team", "region", "account", "segment", "industry", "country", "group", "channel", "priority", "category", "source",
)  # fmt: skip
SOLVED = ("solved", "closed")
CLOCK = Param(("calendar", "business"), "Elapsed time, or opening hours only.")
STAT = Param(("median", "mean", "p90"), "The ticket in the middle, the mean, or what nine of ten stay below.")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLUMNS = ("id", "source_id", "owner_id", "account_id", "group_id", "channel", "priority", "category", "status", "created_at")


def is_request(entity: FromClause) -> ColumnElement[bool]:
    """Whether a ticket is one at all: spam is none."""
    c = entity.c
    return and_(func.lower(func.coalesce(c.status, "")) != "spam", func.lower(func.coalesce(c.category, "")) != "spam")


def requests(name: str) -> Subquery:
    """The tickets that count."""
    rows = living(entities.tickets, f"{name}_rows")
    return select(rows).where(is_request(rows)).subquery(name)


def kept(entity: FromClause) -> list[ColumnElement[object]]:
    """The columns of tickets that dimensions need, and when they were created."""
    return [entity.c[name] for name in _COLUMNS]


def spans(table: Table, value: str, name: str) -> Subquery:
    """A history of tickets without overlaps: each span is cut off where the next begins.

    Columns: ``ticket_id``, the value, ``valid_from``, ``ends`` (null: still), ``follows`` (when the next one begins), ``place``
    (1 for the first).
    """
    h = living(table, f"{name}_rows").c
    newest = [h.updated_at.desc().nulls_last(), h.id]
    twin = func.row_number().over(partition_by=[h.ticket_id, h.valid_from], order_by=newest).label("twin")
    rows = (
        select(h.ticket_id, h[value], h.valid_from, h.valid_to, twin).where(h.valid_from.is_not(None)).subquery(f"{name}_twins")
    )
    r = rows.c
    follows = func.lead(r.valid_from).over(partition_by=r.ticket_id, order_by=r.valid_from)
    place = func.row_number().over(partition_by=r.ticket_id, order_by=r.valid_from)
    ends = func.least(func.coalesce(r.valid_to, follows), func.coalesce(follows, r.valid_to))
    columns = (r.ticket_id, r[value], r.valid_from, ends.label("ends"), follows.label("follows"), place.label("place"))
    return select(*columns).where(r.twin == 1).subquery(name)


def known_calendars(name: str) -> Subquery:
    """The names of the calendars that there are: tickets under another one are under the company's."""
    return select(OPEN_HOURS.c.calendar).distinct().subquery(name)


def stat(name: str, expression: ColumnElement[object], where: ColumnElement[bool]) -> Aggregate:
    """The wanted aggregate of durations."""
    if name == "mean":
        return mean(expression, where)
    return quantile(0.9 if name == "p90" else 0.5, expression, where)


def duration(text: str, name: str) -> timedelta | None:
    """A duration as ``30m``, ``4h`` or ``2d``; None if nothing is said.

    Raises:
        KpidError: it is none.
    """
    if not text.strip():
        return None
    found = re.fullmatch(r"(\d{1,6})\s*([smhd])", text.strip())
    if found is None:
        raise KpidError(f"{name}={text} is no duration", hint="Write a number and a unit, for example 30m, 4h or 2d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def told(number: object, sentence: str) -> list[str]:
    """A remark that begins with a number, if there is anything to count."""
    return [f"{number} {sentence}"] if number else []
