"""Dimensions: how the rows of an entity are cut by owner, team, region, product ...

A dimension is a column of the entity, or one that is looked up by id (``team`` through ``owner_id``). Look-ups are left joins
on the id of the other table, so they neither lose nor multiply rows. ``region`` is the row's own if it has one, else its owner's.
``deal_size_band`` goes by a deal's amount in the deal's own currency: where deals are in several, bands are approximate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, case, func
from sqlalchemy.sql.expression import FromClause

from kpid.errors import ConfigError
from kpid.plugin.entities import accounts, users
from kpid.plugin.kpi import Kpi

_owners = users.alias("dim_owner")
_accounts = accounts.alias("dim_account")
_REFERENCES = {
    "owner": ("owner_id", "users"),
    "account": ("account_id", "accounts"),
    "pipeline": ("pipeline_id", "pipelines"),
    "stage": ("stage_id", "stages"),
}
_LOOKED_UP: dict[str, tuple[str, FromClause]] = {
    "team": ("owner_id", _owners),
    "region": ("owner_id", _owners),
    "segment": ("account_id", _accounts),
    "industry": ("account_id", _accounts),
    "size_band": ("account_id", _accounts),
    "country": ("account_id", _accounts),
}
_COLUMNS = {"source": "source_id", "group": "group_id"}
_SIZES = ((1_000, "1: below 1k"), (5_000, "2: 1k-5k"), (20_000, "3: 5k-20k"), (100_000, "4: 20k-100k"))
_LARGEST = "5: 100k and more"
"""Bands of deal sizes, each up to and without its limit. They are numbered, so that sorting their names sorts them by size."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """How to get a dimension's value for a row.

    ``joins`` are left joins ``(table, condition)``; ``labels`` names the table that the values are ids of, None where the value
    is its own label; ``depends_on`` names the tables whose changes move rows from one segment to another.
    """

    name: str
    expression: ColumnElement[Any]
    joins: tuple[tuple[FromClause, ColumnElement[bool]], ...] = ()
    labels: str | None = None
    depends_on: str | None = None


Custom: TypeAlias = Mapping[str, Callable[[FromClause], Dimension | None]]
"""Dimensions that the configuration makes from custom fields, by name: what each is for an entity."""

NO_CUSTOM: Custom = MappingProxyType({})


def dimension_of(entity: FromClause, name: str, custom: Custom = NO_CUSTOM) -> Dimension | None:
    """The dimension of an entity, or None if the entity has none of this name."""
    if name in custom:
        return custom[name](entity)
    columns = entity.c
    if name in _REFERENCES:
        column, table = _REFERENCES[name]
        return Dimension(name, columns[column], labels=table) if column in columns else None
    if name == "deal_size_band" and {"amount", "deal_type"} <= set(columns.keys()):
        return Dimension(name, _size_band(columns["amount"]))
    own = columns.get(_COLUMNS.get(name, name))
    if name in _LOOKED_UP:
        column, table_alias = _LOOKED_UP[name]
        if column in columns:
            looked_up = table_alias.c[name]
            expression = looked_up if own is None else func.coalesce(own, looked_up)
            join = (table_alias, table_alias.c.id == columns[column])
            return Dimension(name, expression, (join,), depends_on="users" if table_alias is _owners else "accounts")
    return None if own is None else Dimension(name, own)


def _size_band(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    """The band of an amount; null without one."""
    return case(*((amount < limit, band) for limit, band in _SIZES), (amount.is_not(None), _LARGEST))


def check_dimensions(kpi: Kpi, entities: Iterable[FromClause], names: Iterable[str], custom: Custom = NO_CUSTOM) -> None:
    """Refuse dimensions that a KPI does not have.

    Raises:
        ConfigError: names the dimension, the KPI and what the KPI can be cut by.
    """
    tables = list(entities)
    for name in names:
        if name not in kpi.dimensions or any(dimension_of(table, name, custom) is None for table in tables):
            usable = [one for one in kpi.dimensions if all(dimension_of(table, one, custom) is not None for table in tables)]
            hint = f"It can be cut by {', '.join(usable)}" if usable else "It has no dimensions"
            raise ConfigError(f"KPI {kpi.id} cannot be cut by {name!r}", hint=hint)


def labels_table(name: str) -> str | None:
    """The table that a dimension's values are ids of; None where the value is its own label."""
    return _REFERENCES[name][1] if name in _REFERENCES else None
