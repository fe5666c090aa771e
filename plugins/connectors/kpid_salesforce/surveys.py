"""Surveys as the configuration describes them: Salesforce's own, or any object that holds answers.

surveys:
relation: {kind: nps, survey: 0KdKP0000000001AAA, only: {QuestionId: 0VcKP0000000001AAA}}
support: {kind: csat, object: Feedback__c, fields: {score: Stars__c, ticket_id: Case__c, submitted_at: Given_On__c}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from kpid.plugin import Settings, dig, entities
from kpid_salesforce.objects import Kind
from kpid_salesforce.soql import quoted, stem
from kpid_salesforce.values import Place, Record, Row, core, midnight

ANSWERS, INVITATIONS = "SurveyQuestionResponse", "SurveyInvitation"
SCALES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
OWN_FIELDS: Mapping[str, str] = {
    "score": "NumberValue", "send_id": "InvitationId", "respondent_id": "Invitation.ContactId", "submitted_at": "CreatedDate",
}  # fmt: skip
"""Where Salesforce's own surveys have what."""
SENT = ("ContactId", "LeadId", "InviteExpiryDateTime")


class Survey(Settings):
    """One question of a survey, and where its answers are."""

    kind: Literal["nps", "csat", "ces"] = Field(description="What is asked for.")
    object: str = Field(ANSWERS, pattern=r"^\w+$", description="The object that holds the answers; default: Salesforce's own.")
    survey: str | None = Field(None, pattern=r"^\w{15,18}$", description="Id of Salesforce's survey: its invitations are sends.")
    only: Mapping[str, str] = Field(
        default_factory=dict, description="Fields with the values that the answers of this question have: `QuestionId: 0Vc...`."
    )
    fields: Mapping[str, str] = Field(
        default_factory=dict, description="Canonical column of survey_responses: field, or path to one. `score` is a must."
    )
    scale: tuple[int, int] | None = Field(None, description="Lowest and highest score; default 0-10, 1-5 and 1-7 by kind.")

    @field_validator("fields")
    @classmethod
    def _known_columns(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        there = entities.ENTITIES["survey_responses"].c
        if unknown := sorted(set(value) - set(there.keys())):
            raise ValueError(f"survey_responses has no column {', '.join(unknown)}")
        return value

    @property
    def columns(self) -> Mapping[str, str]:
        """Every column with its field."""
        return {**(OWN_FIELDS if self.object == ANSWERS else {"submitted_at": "CreatedDate"}), **self.fields}

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest score."""
        return self.scale or SCALES[self.kind]


def survey_kinds(surveys: Mapping[str, Survey]) -> dict[str, tuple[Kind, ...]]:
    """The objects behind both entities, one for each survey."""
    answers = tuple(_answers(name, one) for name, one in surveys.items())
    sends = tuple(
        Kind(
            INVITATIONS,
            SENT,
            where={"SurveyId": f"SurveyId = {quoted(one.survey)}", "IsDefault": "IsDefault = false"},  # a link for everybody
            essential=frozenset({"SurveyId"}),
            key=f"invitations of {name}",
        )
        for name, one in surveys.items()
        if one.survey is not None
    )
    return {"survey_responses": answers, "survey_sends": sends}


def _answers(name: str, survey: Survey) -> Kind:
    conditions = {stem(field): f"{field} = {quoted(value)}" for field, value in survey.only.items()}
    return Kind(
        survey.object,
        tuple(dict.fromkeys(survey.columns.values())),
        where=conditions,
        essential=frozenset({stem(survey.columns["score"]), *conditions}),
        key=f"answers of {name}",
    )


def survey_mappers(surveys: Mapping[str, Survey]) -> dict[str, Callable[[Record, Place], Row]]:
    """How their records become rows."""
    found: dict[str, Callable[[Record, Place], Row]] = {}
    for name, survey in surveys.items():
        found[f"answers of {name}"] = lambda record, place, survey=survey: answer_row(record, place, survey)  # type: ignore[misc]
        found[f"invitations of {name}"] = lambda record, _place, survey=survey: send_row(record, survey)  # type: ignore[misc]
    return found


def answer_row(record: Record, place: Place, survey: Survey) -> Row:
    """One answer to one question. A day without a time begins at midnight."""
    lowest, highest = survey.bounds
    told = {column: dig(record, field) for column, field in survey.columns.items()}
    return {
        **core(record),
        **told,
        "submitted_at": midnight(told.get("submitted_at"), place.zone),
        "kind": survey.kind,
        "scale_min": lowest,
        "scale_max": highest,
    }


def send_row(record: Record, survey: Survey) -> Row:
    """One invitation. Salesforce does not tell whether it arrived."""
    made: Any = record.get("CreatedDate")
    return {
        **core(record),
        "kind": survey.kind,
        "respondent_id": record.get("ContactId") or record.get("LeadId"),
        "sent_at": made,
        "delivered_at": made,
        "closes_at": record.get("InviteExpiryDateTime"),
    }
