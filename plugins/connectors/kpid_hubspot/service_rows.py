"""Tickets and answers to surveys as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kpid_hubspot.history import Interval, intervals, row_of
from kpid_hubspot.values import Links, Place, Record, Row, core, custom, instant, kept, number, text

SOLVED = {"solved", "closed"}
SCALES: Mapping[str, tuple[int, int]] = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
"""The lowest and highest answers to HubSpot's own surveys; a portal may change them."""


def ticket_row(record: Record, links: Links, place: Place) -> Row:
    """A ticket: closed where its stage is. When it was solved first, and how often it was opened again, its history tells."""
    stage = place.stages.get(text(record, "hs_pipeline_stage") or "")
    told = instant(text(record, "closed_date"), place.zone)
    status = stage.state if stage else "closed" if told is not None else "open"
    solved = [start for start, _ in _solvings(record, place)]
    last = told or (solved[-1] if solved else None)
    return {
        **core(record, place),
        "account_id": links.get("companies"),
        "requester_id": links.get("contacts"),
        "subject": text(record, "subject"),
        "channel": text(record, "source_type"),
        "priority": text(record, "hs_ticket_priority"),
        "category": text(record, "hs_ticket_category"),
        "status": status,
        "first_reply_at": instant(text(record, "first_agent_reply_date"), place.zone),
        "first_solved_at": solved[0] if solved else told,
        "last_solved_at": last,
        "closed_at": last if status in SOLVED else None,
        "reopen_count": sum(end is not None for _, end in _solvings(record, place)),
        **custom(record, place, "tickets"),
    }


def _states(record: Record, place: Place) -> list[Interval]:
    """What a ticket's stages meant; a stage that no pipeline knows any more means nothing."""
    held = intervals(record, "hs_pipeline_stage", place)
    return [(start, end, place.stages[stage].state) for start, end, stage in held if stage in place.stages]


def _solvings(record: Record, place: Place) -> list[tuple[datetime, datetime | None]]:
    """From when until when a ticket was solved; one that went from a solved stage to another stayed so."""
    found: list[tuple[datetime, datetime | None]] = []
    for start, end, status in _states(record, place):
        if status in SOLVED and found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        elif status in SOLVED:
            found.append((start, end))
    return found


def status_rows(record: Record, place: Place) -> list[Row]:
    """What state a ticket was in when."""
    return [{**row_of("ticket_id", record, start, end), "status": status} for start, end, status in _states(record, place)]


def feedback_row(record: Record, links: Links, place: Place) -> Row:
    """An answer to a survey."""
    kind = (text(record, "hs_survey_type") or "").lower()
    lowest, highest = place.scales.get(kind) or SCALES.get(kind) or (None, None)
    row = kept(record, place)
    return {
        **row,
        "kind": kind,
        "score": number(text(record, "hs_value")),
        "scale_min": lowest,
        "scale_max": highest,
        "respondent_id": text(record, "hs_contact_id") or links.get("contacts"),
        "account_id": links.get("companies"),
        "ticket_id": links.get("tickets"),
        "wave_id": text(record, "hs_survey_id"),
        "submitted_at": instant(text(record, "hs_submission_timestamp"), place.zone) or row["created_at"],
        "comment": text(record, "hs_content"),
        **custom(record, place, "survey_responses"),
    }
