"""Users, teams, pipelines and stages as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kpid.plugin import dig
from kpid_salesforce.mapping import state_of
from kpid_salesforce.values import PIPELINE, Place, Record, Row, core, day_after, share, stage_in

KINDS = {"Month": "month", "Quarter": "quarter", "Year": "year"}
"""Kinds of periods."""
LAST = 1000
"""What is added to the place of stages that a pipeline does not offer."""


def user_row(record: Record) -> Row:
    """A person; former ones too, for their deals of the past."""
    return {
        **core(record),
        "name": record.get("Name"),
        "email": record.get("Email"),
        "team": dig(record, "UserRole.Name"),
        "manager_id": record.get("ManagerId"),
        "is_active": record.get("IsActive"),
        "timezone": record.get("TimeZoneSidKey"),
    }


def queue_row(record: Record) -> Row:
    """A queue: it owns what nobody has taken yet."""
    return {**core(record), "name": record.get("Name"), "email": record.get("Email"), "is_active": True}


def team_row(record: Record) -> Row:
    """A role: whoever has it, and the roles below, are a team."""
    return {**core(record), "name": record.get("Name"), "parent_id": record.get("ParentRoleId")}


def pipeline_row(record: Record, number: int) -> Row:
    """A record type of deals."""
    return {**core(record), "name": record.get("Name"), "sort_order": number}


def quota_row(quota: Record, period: Record, place: Place, kpi: str, source: str) -> Row | None:
    """What a person should sell in a period; None for a period that kpid does not know."""
    kind, amount = KINDS.get(str(period.get("Type"))), quota.get("QuotaAmount")
    if kind is None or amount is None:
        return None
    return {
        **core(quota),
        "kpi": kpi,
        "dims": {"owner": f"{source}:{quota.get('QuotaOwnerId')}"},
        "period_kind": kind,
        "period_start": period.get("StartDate"),
        "period_end": day_after(period.get("EndDate")),
        "value": amount,
        "currency": quota.get("CurrencyIsoCode") or place.currency,
        "direction": "up",
        "origin": "Salesforce",
    }


def stage_row(record: Record, place: Place, pipeline: str = PIPELINE, offered: Collection[Any] | None = None) -> Row:
    """A stage; former ones too. Deals name it by its API name.

    Args:
        record: as Salesforce has it, the same for all pipelines.
        place: what the configuration says.
        pipeline: the one that this row is of.
        offered: the stages of its sales process; None: all are. A deal may still be in another one: it is told as one that the
            pipeline has never had.
    """
    name = record.get("ApiName") or record.get("MasterLabel")
    is_offered, made = offered is None or name in offered, record.get("CreatedDate")
    order = record.get("SortOrder")
    return {
        **core(record),
        "native_id": stage_in(pipeline, name),
        "name": record.get("MasterLabel"),
        "pipeline_id": pipeline,
        "sort_order": order if is_offered or not isinstance(order, int) else order + LAST,
        "probability": share(record.get("DefaultProbability")),
        "state": state_of(record, place.states, name, record.get("MasterLabel")),
        "active_to": None if is_offered else made,
    }
