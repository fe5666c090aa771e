"""Calls, meetings and tickets as canonical rows. Pure."""

from __future__ import annotations

from kpid_hubspot.values import Links, Place, Record, Row, core, custom, instant, seconds, text

DIRECTIONS = {"OUTBOUND": "outbound", "INBOUND": "inbound"}
CALL_STATES = {"FAILED": "cancelled", "CANCELED": "cancelled"} | dict.fromkeys(
    ("QUEUED", "CONNECTING", "RINGING", "IN_PROGRESS", "CALLING_CRM_USER"), "planned"
)
"""Everything else was a call, answered or not (NO_ANSWER, BUSY, or logged by hand without a status)."""
MEETING_STATES = {
    "SCHEDULED": "planned", "RESCHEDULED": "planned", "COMPLETED": "completed", "NO_SHOW": "no_show",
    "CANCELED": "cancelled", "CANCELLED": "cancelled",
}  # fmt: skip


def call_row(record: Record, links: Links, place: Place) -> Row:
    """A call, answered or not. HubSpot counts milliseconds."""
    return {
        **_activity(record, links, place, "call"),
        "direction": DIRECTIONS.get(text(record, "hs_call_direction") or "", "unknown"),
        "subject": text(record, "hs_call_title"),
        "status": CALL_STATES.get(text(record, "hs_call_status") or "", "completed"),
        "outcome": text(record, "hs_call_disposition") or text(record, "hs_call_status"),
        "duration_s": seconds(text(record, "hs_call_duration")),
    }


def meeting_row(record: Record, links: Links, place: Place) -> Row:
    """A meeting, held or not."""
    start = instant(text(record, "hs_meeting_start_time") or text(record, "hs_timestamp"), place.zone)
    end = instant(text(record, "hs_meeting_end_time"), place.zone)
    status = MEETING_STATES.get(text(record, "hs_meeting_outcome") or "")
    return {
        **_activity(record, links, place, "meeting"),
        "direction": "unknown",
        "subject": text(record, "hs_meeting_title"),
        "scheduled_start": start,
        "scheduled_end": end,
        "occurred_at": start,
        "ended_at": end if status == "completed" else None,
        "status": status,
        "outcome": text(record, "hs_meeting_outcome"),
    }


def _activity(record: Record, links: Links, place: Place, kind: str) -> Row:
    row = core(record, place)
    return {
        **row,
        "native_id": f"{kind}-{row['native_id']}",
        "type": kind,
        "deal_id": links.get("deals"),
        "account_id": links.get("companies"),
        "contact_id": links.get("contacts"),
        "occurred_at": instant(text(record, "hs_timestamp"), place.zone),
        **custom(record, place, "activities"),
    }


def ticket_row(record: Record, links: Links, place: Place) -> Row:
    """A ticket: closed where its stage is."""
    stage = place.stages.get(text(record, "hs_pipeline_stage") or "")
    closed = instant(text(record, "closed_date"), place.zone)
    is_closed = stage.state == "closed" if stage else closed is not None
    return {
        **core(record, place),
        "account_id": links.get("companies"),
        "requester_id": links.get("contacts"),
        "subject": text(record, "subject"),
        "channel": text(record, "source_type"),
        "priority": text(record, "hs_ticket_priority"),
        "category": text(record, "hs_ticket_category"),
        "status": "closed" if is_closed else "open",
        "first_reply_at": instant(text(record, "first_agent_reply_date"), place.zone),
        "last_solved_at": closed,
        "closed_at": closed if is_closed else None,
        **custom(record, place, "tickets"),
    }
