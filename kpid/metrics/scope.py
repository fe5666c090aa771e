"""Which rows of the canonical tables there are for KPIs, where a company measures only a part of its records. Pure.

Internal accounts never count, nor what belongs to them; deals outside the configured pipelines do not, nor what belongs to those.
A statement does not say so itself: where a canonical table is restricted, the compiler reads ``kpid_scoped_deals`` in its place,
and the statement is led in by what that is. So it holds for every KPI, however it is written, and costs nothing where nothing is
restricted. Teams are no property of rows: whose an event was depends on its time; scans leave those out like any other segment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sqlalchemy import ColumnElement, Text, and_, case, column, false, not_, or_, select
from sqlalchemy.sql.expression import FromClause

from kpid.metrics.constructs import LiteralRows
from kpid.plugin.entities import ENTITIES, accounts, activities, activity_links, contacts, deals, leads

PREFIX = "kpid_scoped_"
FEW = 200
"""Up to so many ids stand in a condition; more become a table of their own."""
_PARENTS = {
    "deal_id": "deals",
    "order_id": "orders",
    "ticket_id": "tickets",
    "subscription_id": "subscriptions",
    "send_id": "survey_sends",
}
"""What a row is a part of: where that does not count, neither does the row."""
_PEOPLE = ("contact_id", "requester_id")
_ANYBODY = ("recipient_id", "person_id", "respondent_id")
"""Contacts or leads, with or without the source in front."""
_LINKED = ("accounts", "contacts", "deals", "leads")
Ids = tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """What a population comes to in the data.

    Args:
        internal: ids of internal records by table: accounts, contacts, deals, leads; as pairs, so that it can be a key.
        pipelines: ids of the pipelines that count; None: all.
        without_pipelines: ids of those that do not.
        teams: names of the teams that count; empty: all.
        without_teams: names of those that do not.
        has_links: activities name more than their own columns do.
        strange: names that the data does not know, each with what it should be (``pipeline`` or ``team``).
        nowhere: ``pipeline`` or ``team`` where some are named, and the data knows none of them.
        identity: equal where the same records count.
    """

    internal: tuple[tuple[str, Ids], ...] = ()
    pipelines: Ids | None = None
    without_pipelines: Ids = ()
    teams: Ids = ()
    without_teams: Ids = ()
    has_links: bool = False
    strange: tuple[tuple[str, str], ...] = ()
    nowhere: tuple[str, ...] = ()
    identity: str = field(default="", compare=False)

    @property
    def has_teams(self) -> bool:
        """Whether people's teams decide."""
        return bool(self.teams or self.without_teams)

    @property
    def has_pipelines(self) -> bool:
        """Whether pipelines decide."""
        return self.pipelines is not None or bool(self.without_pipelines)

    def ids(self, table: str) -> Ids:
        """Internal records of a table."""
        return next((ids for name, ids in self.internal if name == table), ())

    def in_team(self, team: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """Conditions on whose a row is."""
        wanted = [team.in_(self.teams)] if self.teams else []
        return wanted + ([or_(team.is_(None), team.not_in(self.without_teams))] if self.without_teams else [])


@lru_cache(maxsize=64)
def restricted(scope: Scope) -> frozenset[str]:
    """Names of the canonical tables that a scope leaves rows out of."""
    return frozenset(name for name in ENTITIES if kept(scope, name, ENTITIES[name]))


def kept(scope: Scope, name: str, rows: FromClause) -> list[ColumnElement[bool]]:
    """Which rows of a canonical table count, as conditions that are never null; none if all do.

    Args:
        scope: what counts.
        name: of the table.
        rows: the table, or an alias of it.
    """
    if name == activities.name:
        return [*_not_ours(scope, rows), *_in_pipelines_by(rows.c.deal_id, scope)]
    own = {
        accounts.name: lambda: _none_of(rows.c.id, scope.ids("accounts")),
        contacts.name: lambda: _none_of(rows.c.id, scope.ids("contacts")),
        leads.name: lambda: _none_of(rows.c.id, scope.ids("leads")),
        deals.name: lambda: [*_none_of(rows.c.account_id, scope.ids("accounts")), *_in_pipelines(rows, scope)],
    }
    return own[name]() if name in own else [*_by_account(scope, rows), *_by_parent(scope, name, rows)]


def _among(value: ColumnElement[str], ids: Ids) -> ColumnElement[bool]:
    """Whether a value that is there is one of the ids."""
    if not ids:
        return false()
    if len(ids) <= FEW:
        return value.in_(ids)
    rows = LiteralRows(("id",), tuple((one,) for one in ids)).table_valued(column("id", Text()), name="kpid_ids")
    return value.in_(select(rows.c.id))


def _none_of(value: ColumnElement[str], ids: Ids) -> list[ColumnElement[bool]]:
    return [or_(value.is_(None), not_(_among(value, ids)))] if ids else []


def _by_account(scope: Scope, rows: FromClause) -> list[ColumnElement[bool]]:
    """By the account that a row names; where it names none, by the person."""
    c = rows.c
    people = [(c[name], scope.ids("contacts")) for name in _PEOPLE if name in c]
    if "account_id" not in c:
        found = [one for value, ids in people for one in _none_of(value, ids)]
    else:
        found = _none_of(c.account_id, scope.ids("accounts"))
        found += [or_(c.account_id.is_not(None), *_none_of(value, ids)) for value, ids in people if ids]
    persons = (*scope.ids("contacts"), *scope.ids("leads"))
    for name in _ANYBODY:
        if name in c and persons:
            is_other = or_(c[name].is_(None), not_(_among(_full_id(c[name], c.source_id), persons)))
            found.append(is_other if "account_id" not in c else or_(c.account_id.is_not(None), is_other))
    return found


def _full_id(value: ColumnElement[str], source: ColumnElement[str]) -> ColumnElement[str]:
    return case((value.like(source + ":%"), value), else_=source + ":" + value)


def _by_parent(scope: Scope, name: str, rows: FromClause) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for key, parent in _PARENTS.items():
        if key not in rows.c or parent == name:
            continue
        if parent == deals.name:
            found += _none_of(rows.c[key], scope.ids("deals")) + _in_pipelines_by(rows.c[key], scope)
            continue
        whole = ENTITIES[parent].alias(f"kpid_all_{parent}_of_{name}")
        if conditions := kept(scope, parent, whole):
            found.append(_not_in(rows.c[key], whole, not_(and_(*conditions))))
    return found


def _not_in(key: ColumnElement[str], others: FromClause, where: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(key.is_(None), key.not_in(select(others.c.id).where(where)))


def _in_pipelines(rows: FromClause, scope: Scope) -> list[ColumnElement[bool]]:
    pipeline = rows.c.pipeline_id
    wanted = [] if scope.pipelines is None else [and_(pipeline.is_not(None), _among(pipeline, scope.pipelines))]
    return [*wanted, *_none_of(pipeline, scope.without_pipelines)]


def _in_pipelines_by(key: ColumnElement[str], scope: Scope) -> list[ColumnElement[bool]]:
    """What names a deal counts where the deal does; a deal that no source has delivered is taken as it stands."""
    whole = deals.alias("kpid_deals_elsewhere")
    conditions = _in_pipelines(whole, scope)
    return [_not_in(key, whole, not_(and_(*conditions)))] if conditions else []


# ---- activities: they name several, and count unless all of those are ours


def _not_ours(scope: Scope, rows: FromClause) -> list[ColumnElement[bool]]:
    if not scope.internal:
        return []
    inside, ours = _named(scope, rows)
    if not scope.has_links:
        return [not_(and_(ours, inside))]
    link = activity_links.alias("kpid_links")
    of = _full_id(link.c.object_id, link.c.source_id)
    is_ours = or_(*(and_(link.c.object_type == name, _among(of, scope.ids(name))) for name in _LINKED))
    tells = (link.c.activity_id.is_not(None), link.c.object_id.is_not(None), link.c.deleted_at.is_(None))
    linked = select(link.c.activity_id).where(*tells, link.c.object_type.in_(_LINKED))
    by_link = linked.where(is_ours)
    whole = activities.alias("kpid_all_ours")
    by_itself = select(whole.c.id).where(*reversed(_named(scope, whole)))
    mixed = linked.where(not_(is_ours), or_(link.c.activity_id.in_(by_itself), link.c.activity_id.in_(by_link)))
    return [not_(and_(ours, or_(inside, rows.c.id.in_(by_link)), rows.c.id.not_in(mixed)))]


def _named(scope: Scope, rows: FromClause) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether an activity's own columns name something of ours, and whether they name nothing else."""
    named = [(rows.c[f"{name[:-1]}_id"], scope.ids(name)) for name in _LINKED]
    inside = or_(*(and_(value.is_not(None), _among(value, ids)) for value, ids in named if ids))
    ours = and_(*(or_(value.is_(None), _among(value, ids)) if ids else value.is_(None) for value, ids in named))
    return inside, ours


# ---- what it means for one KPI


def limits_of(scope: Scope, tables: Collection[str], *, has_team: bool) -> frozenset[str]:
    """What of a scope matters to a KPI: ``internal``, ``pipeline``, ``team``.

    Args:
        scope: which records count.
        tables: the canonical tables that the KPI is made from.
        has_team: its rows are somebody's.
    """
    by_pipeline = restricted(replace(scope, internal=())) if scope.has_pipelines else frozenset[str]()
    internal = restricted(Scope(internal=scope.internal)) if scope.internal else frozenset[str]()
    found = {"pipeline": by_pipeline.intersection(tables), "internal": internal.intersection(tables)}
    return frozenset(name for name, some in found.items() if some) | ({"team"} if has_team and scope.has_teams else set())


def remarks_of(scope: Scope, limits: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """What to say of names that the data does not know, and whether nothing is left that could count."""
    remarks = tuple(f"population: no {noun} is called {name!r}" for noun, name in scope.strange if noun in limits)
    return remarks, any(noun in limits for noun in scope.nowhere)
