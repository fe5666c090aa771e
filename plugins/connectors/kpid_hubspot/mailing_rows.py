"""Events of marketing e-mails, folded into one row per e-mail that was sent to somebody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from kpid_hubspot.values import Row

Event = Mapping[str, Any]
FIRST = {"DELIVERED": "delivered_at", "BOUNCE": "bounced_at", "SPAMREPORT": "complained_at"}
"""Events of which the first one's time is kept."""
COUNTED = {
    "OPEN": ("first_open_at", "open_count", "machine_open_count"),
    "CLICK": ("first_click_at", "click_count", "bot_click_count"),
}
"""Events that are counted: all of them, and those that HubSpot takes for a machine's."""


def sent_by(event: Event) -> str:
    """The id of the sending that an event is about; empty if HubSpot does not say."""
    if event.get("type") == "SENT":
        return str(event["id"])
    return str((event.get("sentBy") or {}).get("id") or "")


def send_rows(events: Iterable[Event]) -> list[Row]:
    """The sendings among some events with all that these tell of them. Events of others tell of nothing."""
    rows, others = dict[str, Row](), list[Event]()
    for event in events:
        if event.get("type") == "SENT":
            rows[str(event["id"])] = _sent(event)
        else:
            others.append(event)
    for event in others:
        row = rows.get(sent_by(event))
        if row is not None and not event.get("obsoletedBy"):
            _add(row, event)
    return list(rows.values())


def _sent(event: Event) -> Row:
    at = instant_of(event)
    return {
        "native_id": str(event["id"]),
        "created_at": at,
        "updated_at": at,
        "message_id": str(event.get("emailCampaignId") or "") or None,
        "recipient_id": event.get("recipient"),
        "sent_at": at,
        **dict.fromkeys(FIRST.values()),
        "bounce_kind": None,
        "unsubscribed_at": None,
        **{first: None for first, _, _ in COUNTED.values()},
        **{name: 0 for _, *names in COUNTED.values() for name in names},
    }


def _add(row: Row, event: Event) -> None:
    kind, at = str(event.get("type")), instant_of(event)
    row["updated_at"] = max(row["updated_at"], at)
    if kind in FIRST:
        _keep_first(row, FIRST[kind], at)
    if kind == "BOUNCE":
        row["bounce_kind"] = {"5": "hard", "4": "soft"}.get(str(event.get("status") or "")[:1])
    if kind == "STATUSCHANGE" and event.get("portalSubscriptionStatus") == "UNSUBSCRIBED":
        _keep_first(row, "unsubscribed_at", at)
    if kind in COUNTED:
        first, count, machines = COUNTED[kind]
        _keep_first(row, first, at)
        row[count] += 1
        row[machines] += bool(event.get("filteredEvent"))


def _keep_first(row: Row, name: str, at: datetime) -> None:
    row[name] = at if row[name] is None else min(row[name], at)


def instant_of(event: Event) -> datetime:
    """When an event happened."""
    return datetime.fromtimestamp(int(event["created"]) / 1000, UTC)
