"""Owner and team as they were when something happened, from the histories that sources deliver.

A closing counts for the person who owned the deal then, and for that person's team of then. Where a history says nothing of a
record or a user, today's owner and team stand in. Histories that overlap neither lose nor multiply rows: what began last holds.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, func, or_, select
from sqlalchemy.sql.expression import CTE, FromClause

from kpid.metrics.dimensions import Dimension
from kpid.plugin.entities import owner_history, team_memberships, teams, users
from kpid.plugin.expressions import living

HISTORIES = ("owner_history", "team_memberships")
"""The tables that are asked whether they have rows: an empty one is not joined."""
BASIS = frozenset({"owner", "team", "region"})
_ACTED = frozenset({"activities", "mrr_movements", "survey_responses"})
"""Entities whose owner is the person who acted: no history changes that."""
_Join = tuple[FromClause, ColumnElement[bool]]


def _spans(table: Table, name: str, keys: tuple[str, ...], value: str, *, prefer: str | None = None) -> CTE:
    """A history as half-open spans that do not overlap: each is cut off where the next one begins."""
    c = living(table).c
    newest = [*([c[prefer].desc().nulls_last()] if prefer else []), c.updated_at.desc().nulls_last(), c.id]
    place = func.row_number().over(partition_by=[*(c[key] for key in keys), c.valid_from], order_by=newest)
    columns = [*(c[key] for key in keys), c.valid_from, c.valid_to, c[value]]
    first = select(*columns, place.label("place")).where(c.valid_from.is_not(None)).subquery(f"{name}_all").c
    follows = func.lead(first.valid_from).over(partition_by=[first[key] for key in keys], order_by=first.valid_from)
    ends = func.least(func.coalesce(first.valid_to, follows), func.coalesce(follows, first.valid_to))
    kept = [*(first[key] for key in keys), first[value], first.valid_from, ends.label("ends")]
    return select(*kept).where(first.place == 1).cte(name)


_OWNERS = _spans(owner_history, "kpid_owner_history", ("object_type", "object_id"), "owner_id")
_MEMBERS = _spans(team_memberships, "kpid_team_memberships", ("user_id",), "team_id", prefer="is_primary")
_OWNER_THEN, _MEMBER_THEN = _OWNERS.alias("dim_owner_history"), _MEMBERS.alias("dim_membership")
_USER_THEN, _TEAM_THEN = users.alias("dim_owner_then"), teams.alias("dim_team")
"""One object each: two dimensions of one statement share their joins."""


def dimension_at(entity: FromClause, name: str, instant: ColumnElement[Any], history: frozenset[str]) -> Dimension | None:
    """A dimension as it was at an instant; None if no history changes it.

    Args:
        entity: the entity that is measured.
        name: ``owner``, ``team`` or ``region``; others have no history.
        instant: when the event took place.
        history: the history tables that have rows.
    """
    table = _table_of(entity)
    if name not in BASIS or table is None:
        return None
    owner, joins = _owner_at(entity, table, instant, history)
    if name == "owner":
        return Dimension(name, owner, tuple(joins), labels="users") if joins else None
    is_team = name == "team" and "team_memberships" in history
    if not joins and not is_team:
        return None
    joins.append((_USER_THEN, _USER_THEN.c.id == owner))
    value: ColumnElement[Any] = _USER_THEN.c[name]
    if is_team:
        members, known = _MEMBER_THEN, _TEAM_THEN
        joins.append((members, and_(members.c.user_id == owner, *_holds(members, instant))))
        joins.append((known, known.c.id == members.c.team_id))
        value = func.coalesce(known.c.name, members.c.team_id, value)
    own = entity.c.get(name)
    return Dimension(name, value if own is None else func.coalesce(own, value), tuple(joins), depends_on="users")


def _table_of(entity: FromClause) -> Table | None:
    """The canonical table that an entity's rows are of: its ids and owners are that table's; None if it has no such rows."""
    if isinstance(entity, Table):
        return entity if "owner_id" in entity.c else None
    if "id" not in entity.c or "owner_id" not in entity.c:
        return None
    roots = [
        {(root.table, root.name) for root in entity.c[name].base_columns if isinstance(root, Column)}
        for name in ("id", "owner_id")
    ]
    tables = {table for table, name in roots[0] if name == "id"} & {table for table, name in roots[1] if name == "owner_id"}
    is_one = len(roots[0]) == len(roots[1]) == len(tables) == 1
    return next((table for table in tables if isinstance(table, Table)), None) if is_one else None


def _owner_at(
    entity: FromClause, table: Table, instant: ColumnElement[Any], history: frozenset[str]
) -> tuple[ColumnElement[Any], list[_Join]]:
    if "owner_history" not in history or table.name in _ACTED:
        return entity.c.owner_id, []
    then = _OWNER_THEN
    same = and_(then.c.object_type == table.name, then.c.object_id == entity.c.id, *_holds(then, instant))
    return func.coalesce(then.c.owner_id, entity.c.owner_id), [(then, same)]


def _holds(span: FromClause, instant: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """Half-open, and with the instant of a change itself for the one before: who closed the deal owned it until then."""
    return [span.c.valid_from < instant, or_(span.c.ends.is_(None), span.c.ends >= instant)]
