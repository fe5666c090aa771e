"""Calls, meetings, e-mails and tasks as canonical rows. Pure."""

from __future__ import annotations

from kpid_hubspot.values import Links, Place, Record, Row, core, custom, instant, seconds, text

DIRECTIONS = {"OUTBOUND": "outbound", "INBOUND": "inbound"}
CALL_STATES = {"FAILED": "cancelled", "CANCELED": "cancelled"} | dict.fromkeys(
    ("QUEUED", "CONNECTING", "RINGING", "IN_PROGRESS", "CALLING_CRM_USER"), "planned"
)
"""Everything else was a call, answered or not (NO_ANSWER, BUSY, or logged by hand without a status)."""
EMAIL_DIRECTIONS = {"EMAIL": "outbound", "INCOMING_EMAIL": "inbound"}
EMAIL_STATES = {"SCHEDULED": "planned", "SENDING": "planned", "FAILED": "cancelled"}
"""Everything else was sent or received, though it may have come back (BOUNCED)."""
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


def email_row(record: Record, links: Links, place: Place) -> Row:
    """An e-mail that was sent, received or logged. Without the scope for their contents HubSpot leaves subjects out."""
    return {
        **_activity(record, links, place, "email"),
        "direction": EMAIL_DIRECTIONS.get(text(record, "hs_email_direction") or "", "unknown"),
        "subject": text(record, "hs_email_subject"),
        "status": EMAIL_STATES.get(text(record, "hs_email_status") or "", "completed"),
        "outcome": text(record, "hs_email_status"),
    }


def task_row(record: Record, links: Links, place: Place) -> Row:
    """A task. Its time is the one at which it is due; while it is open, its date of completion is no more than that."""
    due = instant(text(record, "hs_timestamp"), place.zone)
    is_done = text(record, "hs_task_status") == "COMPLETED"
    done = instant(text(record, "hs_task_completion_date"), place.zone) or due
    return {
        **_activity(record, links, place, "task"),
        "direction": "unknown",
        "subject": text(record, "hs_task_subject"),
        "scheduled_end": due,
        "occurred_at": done if is_done else None,
        "status": "completed" if is_done else "planned",
        "outcome": text(record, "hs_task_status"),
    }
