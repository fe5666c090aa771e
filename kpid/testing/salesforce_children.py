"""Objects of the fake of Salesforce whose records hang on others: histories, lines, mails, comments, who takes part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from kpid.testing.crm import Crm, Record
from kpid.testing.salesforce_fields import COMMON, Field, SObject, percent, value

TRACKED = ("stage_id", "amount", "probability", "expected_close_date", "forecast_category")
"""Changes of these make a row of the history."""
USER_TYPES = {"agent": "Standard", "bot": "AutomatedProcess"}


def history_of(deal: Record) -> list[Record]:
    """The rows of a deal's history: one for each save that changed something that is tracked."""
    rows: list[Record] = []
    now: dict[str, Any] = {"deal": deal.id}
    met: set[str] = set()
    for name, new, at in deal.log:
        if name not in TRACKED:
            continue
        is_new = not rows or rows[-1].created != at or name in met
        met = {name} if is_new else met | {name}
        now = {**now, name: new}
        if is_new:
            number = len(rows) + 1
            made = Record("history", f"008{deal.id[3:15]}{number:03d}", now, at, at, deal.deleted_at)
            rows.append(made)
        else:
            rows[-1] = replace(rows[-1], values=now)
    return rows


def items_of(order: Record) -> list[Record]:
    """The one line of an order."""
    values = {**order.values, "order": order.id}
    return [Record("items", f"802{order.id[3:]}", values, order.created, order.modified, order.deleted_at)]


def owners_of(deal: Record) -> list[Record]:
    """Each change of a deal's owner is two rows: one with names, one with ids."""
    found: list[Record] = []
    told = [(new, at) for name, new, at in deal.log if name == "owner_id"]
    for number, ((old, _), (new, at)) in enumerate(pairwise(told)):
        if old is not None and new is not None:
            for part, told_as in enumerate(((f"Name of {old}", f"Name of {new}"), (old, new))):
                key = f"017{deal.id[3:13]}{number:03d}{part:02d}"
                values = {"old": told_as[0], "new": told_as[1], "deal": deal.id, "field": "Owner"}
                found.append(Record("owners", key, values, at, at, deal.deleted_at))
    return found


def statuses_of(case: Record) -> list[Record]:
    """The rows of a case's history: that it was made, and each change of its status."""
    told = [(new, at) for name, new, at in case.log if name == "status"]
    pairs = [({"field": "created"}, case.created)]
    pairs += [({"field": "Status", "old": old, "new": new}, at) for (old, _), (new, at) in pairwise(told) if old != new]
    return [
        Record("statuses", f"017{case.id[3:15]}{number:03d}", {**values, "case": case.id}, at, at, case.deleted_at)
        for number, (values, at) in enumerate(pairs)
    ]


def mail_id(native_id: str) -> str:
    """Of the e-mail that a task or a comment stands for."""
    return f"02s{native_id[3:]}"


def mails_of(record: Record) -> list[Record]:
    """E-mails on cases, and those of which a task was made."""
    values = record.values
    if record.kind == "comments":
        return [replace(record, kind="mails", id=mail_id(record.id))] if values.get("via") == "mail" else []
    sent = {
        "task": record.id,
        "author_role": "end_user" if values.get("direction") == "inbound" else "agent",
        "at": record.created,
    }
    return [Record("mails", mail_id(record.id), sent, record.created, record.modified, record.deleted_at)]


def comments_of(comment: Record) -> list[Record]:
    """Comments that are no e-mails."""
    return [] if comment.values.get("via") == "mail" else [comment]


def relations_of(activity: Record) -> list[Record]:
    """Whom and what an activity is about, and who is invited to it; an invitation is one of these itself."""
    values = activity.values
    if activity.kind == "invitations":
        return [replace(activity, kind="relations", values={**values, "other": values["lead_id"]})]
    others = [values.get(name) for name in ("deal_id", "contact_id", "lead_id")] + [*values.get("guests", ())]
    return [
        Record(
            "relations",
            f"0RE{activity.id[4:15]}{number:04d}",
            {"activity": activity.id, "other": other, "is_archived": values.get("is_archived"), "answer": values.get("answer")},
            activity.created,
            activity.modified,
            activity.deleted_at,
        )
        for number, other in enumerate(others)
        if other is not None
    ]


def parties_of(record: Record) -> list[Record]:
    """To whom e-mails went and from whom they came: people, and addresses that nobody is known for."""
    found = []
    for mail in mails_of(record):
        for number, (kind, other) in enumerate((*mail.values.get("parties", ()), ("CcAddress", None))):
            values = {"mail": mail.id, "kind": kind, "other": other}
            key = f"0RM{mail.id[4:15]}{number:04d}"
            found.append(Record("parties", key, values, mail.created, mail.modified, mail.deleted_at))
    return found


def _of_other(name: str, kind: str, field: Field) -> Field:
    """A field of the record that one hangs on."""

    def found(record: Record, crm: Crm) -> Any:
        other = crm.kinds[kind].get(record.values.get(name) or "")
        return None if other is None else field(other, crm)

    return found


def _task(record: Record, crm: Crm) -> str | None:
    """The task of a call; with the task the reference to it is gone, though that changes nothing of the call."""
    key = record.values.get("task") or ""
    found = (task for kind in ("calls", "tasks") if (task := crm.kinds[kind].get(key)))
    return next((task.id for task in found if task.deleted_at is None), None)


def _user_type(record: Record, _: Crm) -> str:
    return USER_TYPES.get(record.values.get("author_role", "agent"), "CspLitePortal")


_CHANGE: Mapping[str, Field] = {
    **{name: COMMON[name] for name in ("Id", "CreatedDate", "IsDeleted")},
    "Field": value("field"), "OldValue": value("old"), "NewValue": value("new"), "CreatedById": value("owner_id"),
}  # fmt: skip
_WRITTEN: Mapping[str, Field] = {
    **COMMON, "ParentId": value("ticket_id"), "CreatedById": value("author_id"), "CreatedBy.UserType": _user_type,
}  # fmt: skip
_RELATION: Mapping[str, Field] = {**COMMON, "RelationId": value("other")}

CHILDREN: Mapping[str, SObject] = {
    "OpportunityHistory": SObject(
        ("deals",),
        {
            **COMMON, "OpportunityId": value("deal"), "StageName": value("stage_id"), "Amount": value("amount"),
            "Probability": percent, "CloseDate": value("expected_close_date"), "CreatedById": value("owner_id"),
            "ForecastCategory": value("forecast_category", "Pipeline"),
            "Opportunity.RecordTypeId": _of_other("deal", "deals", value("record_type")),
        },
        history_of,
        "OpportunityId",
    ),
    "OpportunityFieldHistory": SObject(
        ("deals",),
        {**_CHANGE, "OpportunityId": value("deal"), "Opportunity.CreatedDate": _of_other("deal", "deals", COMMON["CreatedDate"])},
        owners_of,
        "OpportunityId",
    ),
    "OrderItem": SObject(
        ("orders",),
        {
            **COMMON, "CurrencyIsoCode": value("currency", "EUR"), "OrderId": lambda record, _: record.values["order"],
            "Product2Id": value("product_id"), "Quantity": lambda *_: Decimal(1), "UnitPrice": value("net_amount"),
            "TotalPrice": value("net_amount"), "Order.IsReductionOrder": value("is_reduction", False),
        },
        items_of,
        "OrderId",
    ),
    "SurveyQuestionResponse": SObject(
        ("surveys",),
        {
            **COMMON, "NumberValue": value("score"), "QuestionId": value("question"), "InvitationId": value("send_id"),
            "Invitation.ContactId": value("respondent_id"),
        },
    ),
    "CaseHistory": SObject(("tickets",), {**_CHANGE, "CaseId": value("case")}, statuses_of, "CaseId"),
    "CaseComment": SObject(("comments",), {**_WRITTEN, "IsPublished": value("is_public", True)}, comments_of),
    "EmailMessage": SObject(
        ("comments", "emails"),
        {
            **_WRITTEN, "Incoming": lambda record, _: record.values.get("author_role") == "end_user", "MessageDate": value("at"),
            "ActivityId": value("task"), "Status": value("mail_status", "3"),
            "AutomationType": lambda record, _: "AiAutomated" if record.values.get("author_role") == "bot" else None,
            "Subject": value("subject"), "FromId": value("sender"), "RelatedToId": value("ticket_id"),
            "Parent.AccountId": _of_other("ticket_id", "tickets", value("account_id")),
            "Parent.ContactId": _of_other("ticket_id", "tickets", value("requester_id")),
        },
        mails_of,
        "",
    ),
    "EmailMessageRelation": SObject(
        ("comments", "emails"),
        {**COMMON, "EmailMessageId": value("mail"), "RelationId": value("other"), "RelationType": value("kind")},
        parties_of,
        "",
    ),
    "VoiceCall": SObject(
        ("voice_calls",),
        {
            **COMMON, "OwnerId": value("owner_id"), "ActivityId": _task,
            "UserId": lambda record, _: None if record.values.get("missed") else record.values.get("owner_id"),
            "RelatedRecordId": value("deal_id"), "CallType": value("type", "Outbound"),
            "CallStartDateTime": value("occurred_at"), "CallEndDateTime": value("ended_at"),
            "CallDurationInSeconds": value("duration_s"), "CallDisposition": value("disposition"),
            "CallConnectDateTime": value("connected_at"),
        },
    ),
    "TaskRelation": SObject(
        ("calls", "emails", "tasks"), {**_RELATION, "TaskId": value("activity")}, relations_of, "TaskId"
    ),
    "EventRelation": SObject(
        ("meetings", "invitations"), {**_RELATION, "EventId": value("activity"), "Status": value("answer")}, relations_of, ""
    ),
}  # fmt: skip
