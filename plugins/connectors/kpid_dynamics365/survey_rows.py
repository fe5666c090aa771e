"""Answers to campaigns and surveys, and invitations to surveys, as canonical rows. Pure."""

from __future__ import annotations

from kpid_dynamics365.tables import RATING
from kpid_dynamics365.values import Place, Record, Row, core, custom, midnight, points_to

CANCELLED = 2
"""Of a response's ``statecode``."""
CASE_SCALE = (1, 5)
"""Of the satisfaction that is noted on cases, as delivered: 1 very dissatisfied, 5 very satisfied."""


def member_row(record: Record, place: Place) -> Row:
    """A person who responded to a campaign. Who was shown it and said nothing is not told, nor when it was shown."""
    row = core(record, "activityid")
    del row["owner_id"]
    is_void = record.get("statecode") == CANCELLED
    return {
        **row,
        "campaign_id": points_to(record, "_regardingobjectid_value", "campaign"),
        "person_id": place.people.get(str(record["activityid"])) or record.get("emailaddress"),
        "responded_at": None if is_void else record.get("receivedon") or record.get("createdon"),
        **custom(record, place, "campaign_members"),
    }


def send_row(record: Record, place: Place) -> Row:
    """An invitation to a survey: the day on which it was sent. One that did not bounce has come."""
    row = core(record, "activityid")
    del row["owner_id"]
    sent = midnight(record.get("msfp_invitesentdate"), place.zone)
    return {
        **row,
        "kind": place.survey.kind,
        "respondent_id": _respondent(record, "msfp_inviteemailaddress"),
        "account_id": points_to(record, "_regardingobjectid_value", "account"),
        "ticket_id": points_to(record, "_regardingobjectid_value", "incident"),
        "wave_id": record.get("_msfp_surveyid_value"),
        "sent_at": sent,
        "delivered_at": None if record.get("msfp_invitebouncecategory") is not None else sent,
        **custom(record, place, "survey_sends"),
    }


def answer_row(record: Record, place: Place) -> Row:
    """An answer in Customer Voice. Which of its numbers is the score, the configuration says."""
    row, survey = core(record, "activityid"), place.survey
    del row["owner_id"]
    return {
        **row,
        "kind": survey.kind,
        "score": record.get(survey.score),
        "scale_min": survey.scale[0],
        "scale_max": survey.scale[1],
        "send_id": record.get("_msfp_surveyinviteid_value"),
        "respondent_id": _respondent(record, "msfp_respondentemailaddress"),
        "account_id": points_to(record, "_regardingobjectid_value", "account"),
        "ticket_id": points_to(record, "_regardingobjectid_value", "incident"),
        "wave_id": record.get("_msfp_surveyid_value"),
        "submitted_at": midnight(record.get(survey.submitted), place.zone) or record.get("createdon"),
        **custom(record, place, "survey_responses"),
    }


def rating_row(record: Record, place: Place) -> Row | None:
    """The satisfaction noted on a case, of the moment it was closed, or of its last change; None without it."""
    score = record.get(RATING)
    if score is None or record.get("merged"):
        return None
    row = core(record, "incidentid")
    case = row["native_id"]
    return {
        **row,
        "native_id": f"case-{case}",
        "kind": "csat",
        "score": score,
        "scale_min": CASE_SCALE[0],
        "scale_max": CASE_SCALE[1],
        "respondent_id": points_to(record, "_customerid_value", "contact"),
        "account_id": points_to(record, "_customerid_value", "account"),
        "ticket_id": case,
        "submitted_at": place.closed.get(case) or record.get("modifiedon"),
    }


def _respondent(record: Record, address: str) -> str | None:
    """The person whom a survey was about, else the address that it went to; names are none."""
    found = points_to(record, "_regardingobjectid_value", "contact") or record.get(address)
    return None if found is None else str(found)
