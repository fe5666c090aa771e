"""Cases, what was written on them and what state they were in, as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from kpid.plugin import dig
from kpid_salesforce.values import Place, Record, Row, core, custom, instant_key

ROLES = {"Standard": "agent", "AutomatedProcess": "bot", "CloudIntegrationUser": "bot"}
"""Who a user is, by its type; the others are customers of a portal."""
CREATED, STATUS = "created", "Status"


def case_row(record: Record, place: Place) -> Row:
    """A support request. What its status means beyond open and closed, the configuration says."""
    is_closed = bool(record.get("IsClosed"))
    closed = record.get("ClosedDate") if is_closed else None
    return {
        **core(record),
        "account_id": record.get("AccountId"),
        "requester_id": record.get("ContactId"),
        "owner_id": record.get("OwnerId"),
        "subject": record.get("Subject"),
        "channel": record.get("Origin"),
        "priority": record.get("Priority"),
        "category": record.get("Type"),
        "status": "closed" if is_closed else place.states.get(record.get("Status") or "", "open"),
        "schedule_id": dig(record, "BusinessHours.Name"),
        "first_reply_at": None,
        "first_solved_at": None,
        "last_solved_at": closed,
        "closed_at": closed,
        "reopen_count": None,
        "reply_count_public": None,
        **custom(record, place, "tickets"),
    }


def comment_row(record: Record) -> Row:
    """What somebody wrote on a case."""
    role = ROLES.get(str(dig(record, "CreatedBy.UserType") or "Standard"), "end_user")
    return _written(record, role, record.get("CreatedDate"), is_public=record.get("IsPublished"))


def mail_row(record: Record) -> Row:
    """An e-mail from a customer, or to one."""
    is_ours = not record.get("Incoming")
    is_automatic = record.get("AutomationType") == "AiAutomated" or ROLES.get(str(dig(record, "CreatedBy.UserType"))) == "bot"
    role = ("bot" if is_automatic else "agent") if is_ours else "end_user"
    return _written(record, role, record.get("MessageDate") or record.get("CreatedDate"), is_public=True)


def _written(record: Record, role: str, at: Any, *, is_public: Any) -> Row:
    return {
        **core(record),
        "ticket_id": record.get("ParentId"),
        "author_role": role,
        "author_id": record.get("CreatedById") if role == "agent" else None,
        "is_public": is_public,
        "at": at,
    }


def replied(row: Row, comments: Iterable[Row]) -> None:
    """Say of a case when it was first replied to, and how often: in public, by a person of ours."""
    replies = [one["at"] for one in comments if one["is_public"] and one["author_role"] == "agent" and one["at"]]
    if row.get("first_reply_at") is None:
        row["first_reply_at"] = min(replies, key=instant_key, default=None)
    if row.get("reply_count_public") is None:
        row["reply_count_public"] = len(replies)


def status_rows(case: Record, changes: Sequence[Record], closed: Mapping[str, bool], states: Mapping[str, str]) -> list[Row]:
    """The states of a case, as far as Salesforce has kept their history.

    Args:
        case: the case.
        changes: rows of its history, oldest first.
        closed: which statuses are closed ones, by API name and by label.
        states: what open ones mean.
    """
    told = [change for change in changes if change.get("Field") == STATUS]
    if not closed or not (told or is_whole(changes)):
        return []
    found: list[tuple[Any, str]] = []
    if is_whole(changes):
        first = told[0].get("OldValue") if told else case.get("Status")
        found.append((case.get("CreatedDate"), _state(first, closed, states)))
    for at, same in groupby(told, key=lambda change: change.get("CreatedDate")):
        found.append((at, _state([*same][-1].get("NewValue"), closed, states)))
    kept = [moment for number, moment in enumerate(found) if number == 0 or found[number - 1][1] != moment[1]]
    return [_interval(str(case["Id"]), *moment, end) for moment, (end, _) in zip(kept, [*kept[1:], (None, "")], strict=True)]


def is_whole(changes: Sequence[Record]) -> bool:
    """Whether a history goes back to the case's beginning: Salesforce forgets after two years, and tracking may begin late."""
    return any(change.get("Field") == CREATED for change in changes)


def solved(row: Row, intervals: Sequence[Row], changes: Sequence[Record]) -> None:
    """Say of a case when it was first solved, and how often it was opened again: only a whole history tells."""
    if not intervals or not is_whole(changes):
        return
    ends = [one["valid_from"] for one in intervals if one["status"] == "closed"]
    row["first_solved_at"] = row.get("first_solved_at") or next(iter(ends), None)
    row["reopen_count"] = len([one for one in intervals[:-1] if one["status"] == "closed"])


def _state(status: Any, closed: Mapping[str, bool], states: Mapping[str, str]) -> str:
    name = str(status or "")
    return "closed" if closed.get(name) else states.get(name, "open")


def _interval(case: str, start: Any, status: str, end: Any) -> Row:
    return {
        "native_id": f"{case}-{start}".replace("Z", "+0000"),
        "updated_at": end or start,
        "ticket_id": case,
        "status": status,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
    }
