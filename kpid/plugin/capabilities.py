"""What a source can tell: the names by which KPIs say what they need, and what follows from the entities that are read.

A capability is the name of a canonical table (its rows come), of a column (``deals.loss_reason``: it is filled), or one of
:data:`CAPABILITIES`. ``full``: as the source has it, of the past, too; ``since_sync``: only what kpid has seen itself since its
first sync; ``none``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from kpid.plugin.entities import ENTITIES

if TYPE_CHECKING:
    from kpid.plugin.connector import EntityReads

Known: TypeAlias = Literal["full", "since_sync", "none"]

CAPABILITIES: Mapping[str, str] = {
    "deletes": "records that are deleted in the source are told",
    "merges": "which record a merged one lives on in is told",
    "fx_dated": "exchange rates with the dates that they hold for",
    "email_events": "deliveries, bounces, openings and clicks of each e-mail sent",
    "business_hours": "opening hours, from the source or the configuration",
    "attribution": "which campaign a deal or an order is put down to, with weights",
}
"""Capabilities that are no table and no column."""

OBSERVED = {"deals": "deal_stage_history"}
"""Histories that kpid keeps itself for sources that keep none: entity that is watched -> table that is filled."""

_FOLLOWS = {
    "fx_dated": "fx_rates",
    "email_events": "email_sends",
    "business_hours": "calendar_intervals",
    "attribution": "attributions",
}
_SELDOM_DELETED = {
    "users", "teams", "pipelines", "stages", "products", "calendars", "calendar_intervals", "holidays", "fx_rates",
    "email_sends",
}  # fmt: skip
_DELETES: Mapping[str, Known] = {"pass": "full", "inline": "full", "absence": "since_sync", "none": "none"}
_ORDER: tuple[Known, ...] = ("none", "since_sync", "full")


def derived_capabilities(reads: Iterable[EntityReads]) -> dict[str, Known]:
    """What a connector can tell by what it reads; one that knows better says so in ``capabilities``."""
    entities = list(reads)
    found: dict[str, Known] = {name: "full" for one in entities for name in (one.entity, *one.carries)}
    for one in entities:
        observed = OBSERVED.get(one.entity)
        if observed and observed not in found and one.history == "since_sync":
            found[observed] = "since_sync"
    for name, table in _FOLLOWS.items():
        found[name] = found.get(table, "none")
    told = [_DELETES[one.deletes] for one in entities if one.entity not in _SELDOM_DELETED]
    found["deletes"] = min(told, key=_ORDER.index, default="none")
    return found


def is_capability(name: str) -> bool:
    """Whether there can be such a capability at all."""
    table, _, column = name.partition(".")
    return name in CAPABILITIES or (table in ENTITIES and (not column or column in ENTITIES[table].c))


def better(one: Known, other: Known) -> Known:
    """The better of two."""
    return max(one, other, key=_ORDER.index)
