"""Tasks and events as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kpid_salesforce.values import Place, Record, Row, core, custom, midnight

TYPES = {"Call": "call", "Email": "email", "ListEmail": "email"}
DIRECTIONS = {"Inbound": "inbound", "Outbound": "outbound", "Internal": "internal"}
OBJECTS = {"003": "contact_id", "00Q": "lead_id", "001": "account_id", "006": "deal_id"}
"""What an id refers to, by its first letters."""
LINKED = {"003": "contacts", "00Q": "leads", "001": "accounts", "006": "deals", "005": "users"}


def task_row(record: Record, place: Place) -> Row:
    """A call, an e-mail or a task: done when it was completed. Its date is the day on which it is due."""
    is_done = bool(record.get("IsClosed"))
    return {
        **_activity(record, place),
        "type": TYPES.get(record.get("TaskSubtype") or "", "task"),
        "direction": DIRECTIONS.get(record.get("CallType") or "", "unknown"),
        "scheduled_start": None,
        "scheduled_end": midnight(record.get("ActivityDate"), place.zone),
        "occurred_at": (record.get("CompletedDateTime") or record.get("CreatedDate")) if is_done else None,
        "ended_at": None,
        "status": "completed" if is_done else "planned",
        "outcome": record.get("CallDisposition"),
        "duration_s": record.get("CallDurationInSeconds"),
        "is_automated": None,
    }


def event_row(record: Record, place: Place) -> Row:
    """A meeting. Salesforce does not say whether it was held: without a status it counts once its time has come."""
    start, end = record.get("StartDateTime") or midnight(record.get("ActivityDate"), place.zone), record.get("EndDateTime")
    return {
        **_activity(record, place),
        "type": "meeting",
        "direction": "unknown",
        "scheduled_start": start,
        "scheduled_end": end,
        "occurred_at": start,
        "ended_at": end,
        "status": None,
        "outcome": None,
        "duration_s": None,
        "is_automated": None,
    }


def _activity(record: Record, place: Place) -> Row:
    about = {"contact_id": None, "lead_id": None, "deal_id": None, "account_id": None}
    for native_id in (record.get("WhoId"), record.get("WhatId")):
        if column := _column(native_id):
            about[column] = native_id
    return {
        **core(record),
        **about,
        "account_id": record.get("AccountId") or about["account_id"],
        "owner_id": record.get("OwnerId"),
        "subject": record.get("Subject"),
        **custom(record, place, "activities"),
    }


def _column(native_id: Any) -> str | None:
    return OBJECTS.get(native_id[:3]) if isinstance(native_id, str) else None


def directed(rows: Iterable[Row], mails: Iterable[Record]) -> None:
    """Say of e-mails who wrote to whom, and whether a machine did: the task alone does not tell."""
    by_task = {str(mail.get("ActivityId")): mail for mail in mails}
    for row in rows:
        if mail := by_task.get(row["native_id"]):
            row["direction"] = "inbound" if mail.get("Incoming") else "outbound"
            row["is_automated"] = mail.get("AutomationType") == "AiAutomated"


def link_rows(rows: Iterable[Row], relations: Iterable[Record], of: str, source: str) -> list[Row]:
    """Whom and what activities are about or who takes part, beyond their own references; who has declined does not."""
    own = {row["native_id"]: {row.get(column) for column in (*OBJECTS.values(), "owner_id")} for row in rows}
    found = []
    for relation in relations:
        activity, other = str(relation.get(of)), str(relation.get("RelationId"))
        kind = LINKED.get(other[:3])
        if kind and other not in own.get(activity, ()) and relation.get("Status") != "Declined":
            row = {"activity_id": activity, "object_type": kind, "object_id": f"{source}:{other}"}
            found.append({**core(relation), **row})
    return found
