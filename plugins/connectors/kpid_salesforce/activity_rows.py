"""Tasks, events, e-mails and calls as canonical rows. Pure.

Salesforce makes a task of most e-mails and of calls that are logged. Such a task is the row, with what the e-mail or the call
tells better; e-mails and calls without a task are rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kpid.plugin import dig
from kpid_salesforce.values import Place, Record, Row, core, custom, midnight

TYPES = {"Call": "call", "Email": "email", "ListEmail": "email"}
DIRECTIONS = {
    "Inbound": "inbound", "Outbound": "outbound", "Internal": "internal", "InternalCall": "internal", "Consult": "internal",
    "Bridge": "internal", "Coach": "internal",
}  # fmt: skip
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


def message_row(record: Record, _: Place) -> Row:
    """An e-mail of which there is no task, on a case above all. Whom it went to its relations say."""
    sender, of_case = str(record.get("FromId") or ""), record.get("Parent") or {}
    is_ours = not record.get("Incoming") and dig(record, "CreatedBy.UserType") == "Standard"
    about = _about(record.get("RelatedToId"), record.get("FromId"))
    return {
        **core(record),
        **about,
        "account_id": about["account_id"] or of_case.get("AccountId"),
        "contact_id": about["contact_id"] or (None if about["lead_id"] else of_case.get("ContactId")),
        "owner_id": sender if sender.startswith("005") else record.get("CreatedById") if is_ours else None,
        "subject": record.get("Subject"),
        "type": "email",
        "scheduled_start": None,
        "scheduled_end": None,
        "occurred_at": record.get("CreatedDate"),
        "ended_at": None,
        "status": "completed",
        "outcome": None,
        "duration_s": None,
        **_sent(record),
    }


def call_row(record: Record, _: Place) -> Row:
    """A call of which there is no task."""
    return {
        **core(record),
        **_about(record.get("RelatedRecordId")),
        "owner_id": record.get("UserId") or record.get("OwnerId"),
        "subject": None,
        "scheduled_start": None,
        "scheduled_end": None,
        "is_automated": None,
        **_spoken([record]),
    }


def _sent(mail: Record) -> Row:
    """What a message says of itself."""
    found = {
        "direction": "inbound" if mail.get("Incoming") else "outbound",
        "is_automated": mail.get("AutomationType") == "AiAutomated",
        "status": "completed",
    }
    return found | ({"occurred_at": mail["MessageDate"]} if mail.get("MessageDate") else {})


def _spoken(legs: Sequence[Record]) -> Row:
    """What the legs of a call say: each time that it is handed on, another begins."""
    first, last = legs[0], legs[-1]
    lengths = [leg["CallDurationInSeconds"] for leg in legs if leg.get("CallDurationInSeconds") is not None]
    return {
        "type": "call",
        "direction": DIRECTIONS.get(first.get("CallType") or "", "unknown"),
        "occurred_at": first.get("CallStartDateTime"),
        "ended_at": last.get("CallEndDateTime"),
        "status": "completed" if last.get("CallEndDateTime") else None,
        "outcome": _outcome(legs),
        "duration_s": sum(lengths) if lengths else None,
    }


def _outcome(legs: Sequence[Record]) -> str | None:
    """Whether somebody was reached. ``completed`` is no word on that: it says that the call is over."""
    if any(leg.get("CallConnectDateTime") for leg in legs):
        return "connected"
    if legs[0].get("CallType") == "Inbound" and not any(leg.get("UserId") for leg in legs):
        return "missed"
    said = legs[-1].get("CallDisposition")
    return None if said == "completed" else said


def _about(*ids: Any) -> dict[str, Any]:
    found = {"contact_id": None, "lead_id": None, "deal_id": None, "account_id": None}
    for native_id in ids:
        if column := _column(native_id):
            found[column] = native_id
    return found


def _activity(record: Record, place: Place) -> Row:
    about = _about(record.get("WhoId"), record.get("WhatId"))
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
    """Say of e-mails who wrote to whom, when, and whether a machine did: the task alone does not tell."""
    by_task = {str(mail.get("ActivityId")): mail for mail in mails}
    for row in rows:
        if mail := by_task.get(row["native_id"]):
            row.update({"type": "email", **_sent(mail)})


def called(rows: Iterable[Row], calls: Mapping[str, Sequence[Record]]) -> None:
    """Say of tasks behind which there are calls when and how long these were; what became of them the task knows better."""
    for row in rows:
        if legs := calls.get(row["native_id"]):
            told = {name: value for name, value in _spoken(legs).items() if value not in {None, "unknown"}}
            row.update(told | ({"outcome": row["outcome"]} if row["outcome"] else {}))


def addressed(rows: Iterable[Row], relations: Iterable[Record]) -> None:
    """Say of e-mails that nobody is named for to whom they went, or from whom they came."""
    parties: dict[tuple[str, str], str] = {}
    for relation in relations:
        parties.setdefault(
            (str(relation.get("EmailMessageId")), str(relation.get("RelationType"))), str(relation.get("RelationId"))
        )
    for row in rows:
        party = parties.get((row["native_id"], "FromAddress" if row["direction"] == "inbound" else "ToAddress"))
        if not row["contact_id"] and not row["lead_id"] and _column(party) in {"contact_id", "lead_id"}:
            row[OBJECTS[str(party)[:3]]] = party


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
