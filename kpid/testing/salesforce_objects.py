"""Salesforce's objects over the neutral CRM: which fields a record shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from kpid.testing.crm import Crm, Record
from kpid.testing.salesforce_children import CHILDREN
from kpid.testing.salesforce_fields import COMMON, Field, SObject, either, percent, value

MODEL, SURVEY = "03VKP0000000009AAA", "0KdKP0000000009AAA"
"""The model by which campaigns are credited, and the survey that people are invited to, where nothing else is said."""


def _is_closed(record: Record, _: Crm) -> bool:
    return record.values.get("state") in {"won", "lost"}


def last_move(record: Record) -> datetime | None:
    """When the stage of a deal last changed."""
    return max((at for name, _, at in record.log if name == "stage_id"), default=None)


def _close_date(record: Record, _: Crm) -> date | None:
    closed = record.values.get("closed_at")
    found: date | None = closed.date() if isinstance(closed, datetime) else record.values.get("expected_close_date")
    return found


def _created_day(name: str) -> Field:
    def field(record: Record, _: Crm) -> date | None:
        at = record.values.get(name)
        return at.date() if isinstance(at, datetime) else at

    return field


def _what(record: Record, _: Crm) -> Any:
    return record.values.get("deal_id") or record.values.get("account_id")


def _who(record: Record, _: Crm) -> Any:
    return record.values.get("contact_id") or record.values.get("lead_id")


def _is_done(record: Record, _: Crm) -> bool:
    return str(record.values.get("status", "completed")) == "completed"


def _completed(record: Record, crm: Crm) -> Any:
    return record.values.get("occurred_at") if _is_done(record, crm) else None


def _due(record: Record, _: Crm) -> Any:
    at = record.values.get("scheduled_end") or record.values.get("occurred_at")
    return at.date() if isinstance(at, datetime) else at


_OWNED: Mapping[str, Field] = {**COMMON, "OwnerId": value("owner_id")}
_MONEY: Mapping[str, Field] = {"CurrencyIsoCode": value("currency", "EUR")}
_RATE: Mapping[str, Field] = {"IsoCode": value("IsoCode"), "ConversionRate": value("ConversionRate")}
_MERGEABLE: Mapping[str, Field] = {**_OWNED, "MasterRecordId": lambda record, _: record.merged_into}
_PERSON: Mapping[str, Field] = {"Name": value("name"), "Email": value("email"), "LeadSource": value("lead_source")}
_ABOUT: Mapping[str, Field] = {
    "Subject": value("subject"), "WhatId": _what, "WhoId": _who, "AccountId": value("account_id"),
}  # fmt: skip

OBJECTS: Mapping[str, SObject] = {
    **CHILDREN,
    "User": SObject(
        ("users",),
        {
            **COMMON, "Name": value("name"), "Email": value("email"), "IsActive": value("is_active", True),
            "UserRoleId": value("role"),
            "UserRole.Name": value("role"), "ManagerId": value("manager_id"), "UserType": lambda *_: "Standard",
            "TimeZoneSidKey": value("timezone", "Europe/Berlin"),
        },
    ),
    "UserRole": SObject((), {**COMMON, "Name": value("name"), "ParentRoleId": value("parent")}),
    "RecordType": SObject((), {**COMMON, "Name": value("name"), "SobjectType": lambda *_: "Opportunity"}),
    "CaseStatus": SObject(
        (), {**COMMON, "ApiName": value("name"), "MasterLabel": value("label"), "IsClosed": value("closed", False)}
    ),
    "UserPermissionAccess": SObject((), {**COMMON, "PermissionsViewAllData": value("view_all", True)}),
    "Group": SObject((), {**COMMON, "Name": value("name"), "Type": lambda *_: "Queue", "Email": value("email")}),
    "CurrencyType": SObject((), {**COMMON, **_RATE, "IsCorporate": value("IsCorporate", False)}),
    "DatedConversionRate": SObject(
        (), {**COMMON, **_RATE, "StartDate": value("StartDate"), "NextStartDate": value("NextStartDate")}
    ),
    "OpportunityStage": SObject(
        ("stages",),
        {
            **COMMON, "ApiName": lambda record, _: record.id, "MasterLabel": value("name"), "SortOrder": value("sort_order"),
            "DefaultProbability": percent, "IsClosed": _is_closed, "IsActive": lambda *_: True,
            "IsWon": lambda record, _: record.values.get("state") == "won",
        },
    ),
    "Account": SObject(
        ("accounts",),
        {
            **_MERGEABLE, "Name": value("name"), "ParentId": value("parent_id"), "Website": value("domain"),
            "Industry": value("industry"), "Type": value("type"), "BillingCountry": value("country"),
            "AccountSource": value("lead_source"),
        },
    ),
    "Contact": SObject(
        ("contacts",),
        {
            **_MERGEABLE, **_PERSON, "AccountId": value("account_id"), "HasOptedOutOfEmail": value("opted_out", False),
            "IsPersonAccount": value("is_person_account", False),
        },
    ),
    "Lead": SObject(
        ("leads",),
        {
            **_MERGEABLE, **_PERSON, "Company": value("company"), "Status": value("status"),
            "IsConverted": lambda record, _: record.values.get("converted_at") is not None,
            "ConvertedDate": _created_day("converted_at"), "ConvertedAccountId": value("converted_account_id"),
            "ConvertedContactId": value("converted_contact_id"), "ConvertedOpportunityId": value("converted_deal_id"),
        },
    ),
    "Opportunity": SObject(
        ("deals",),
        {
            **_OWNED, "Name": value("name"), "AccountId": value("account_id"), "ContactId": value("primary_contact_id"),
            "StageName": value("stage_id"), "IsClosed": _is_closed, "Amount": value("amount"),
            "IsWon": lambda record, _: record.values.get("state") == "won", "CurrencyIsoCode": value("currency", "EUR"),
            "Probability": percent, "ForecastCategory": value("forecast_category", "Pipeline"), "Type": value("type"),
            "LeadSource": value("lead_source"), "CampaignId": value("campaign_id"), "CloseDate": _close_date,
            "LastStageChangeDate": lambda record, _: last_move(record), "LastActivityDate": value("last_activity"),
            "NextStep": value("next_step"), "RecordTypeId": value("record_type"),
        },
    ),
    "Task": SObject(
        ("calls", "emails", "tasks"),
        {
            **_OWNED, **_ABOUT, "CallDurationInSeconds": value("duration_s"), "ActivityDate": _due, "IsClosed": _is_done,
            "TaskSubtype": lambda record, _: {"calls": "Call", "emails": "Email"}.get(record.kind, "Task"),
            "CallType": lambda record, _: str(record.values["direction"]).title() if record.values.get("direction") else None,
            "CallDisposition": value("outcome"), "CompletedDateTime": _completed, "Status": value("status", "completed"),
            "IsArchived": value("is_archived", False),
        },
    ),
    "Event": SObject(
        ("meetings",),
        {
            **_OWNED, **_ABOUT, "StartDateTime": value("scheduled_start"), "EndDateTime": value("scheduled_end"),
            "IsChild": value("is_child", False), "IsAllDayEvent": value("is_all_day", False),
            "ActivityDate": _created_day("scheduled_start"), "IsArchived": value("is_archived", False),
        },
    ),
    "Case": SObject(
        ("tickets",),
        {
            **_OWNED, "Subject": value("subject"), "AccountId": value("account_id"), "ContactId": value("requester_id"),
            "Status": value("status"), "Priority": value("priority"), "Origin": value("channel"), "Type": value("category"),
            "ClosedDate": value("closed_at"), "IsClosed": lambda record, _: record.values.get("closed_at") is not None,
            "BusinessHoursId": value("schedule"), "BusinessHours.Name": value("schedule"),
        },
    ),
    "Product2": SObject(
        ("products",),
        {
            **COMMON, "Name": value("name"), "ProductCode": value("code"), "Family": value("category"),
            "IsActive": value("is_active", True),
        },
    ),
    "OpportunityLineItem": SObject(
        ("lines",),
        {
            **COMMON, **_MONEY, "OpportunityId": value("deal_id"), "Product2Id": value("product_id"),
            "TotalPrice": value("amount"), "Quantity": value("quantity"), "UnitPrice": value("unit_price"),
            "Discount": value("discount_percent"),
        },
    ),
    "Order": SObject(
        ("orders",),
        {
            **_OWNED, **_MONEY, "AccountId": value("account_id"), "OpportunityId": value("deal_id"), "Status": value("status"),
            "StatusCode": value("status_code", "Activated"), "TotalAmount": value("net_amount"),
            "EffectiveDate": _created_day("ordered_at"), "IsReductionOrder": value("is_reduction", False),
            "OriginalOrderId": value("order_id"),
        },
    ),
    "Period": SObject((), {**COMMON, **{name: value(name) for name in ("Type", "StartDate", "EndDate")}}),
    "ForecastingQuota": SObject(
        (),
        {
            **COMMON, **_MONEY,
            **{name: value(name) for name in ("QuotaAmount", "QuotaOwnerId", "StartDate", "PeriodId", "ForecastingTypeId")},
        },
    ),
    "CampaignInfluence": SObject(
        ("influences",),
        {
            **COMMON, "OpportunityId": either("deal_id", "OpportunityId"), "CampaignId": either("campaign_id", "CampaignId"),
            "Influence": either("share", "Influence"), "ModelId": value("ModelId", MODEL),
        },
    ),
    "Contract": SObject(
        ("contracts",),
        {
            **_OWNED, **_MONEY, "AccountId": either("account_id", "AccountId"), "Name": either("name", "Name"),
            "StartDate": either("starts_on", "StartDate"), "EndDate": either("ends_on", "EndDate"),
            "StatusCode": either("status_code", "StatusCode", "Activated"), "Monthly__c": value("Monthly__c"),
        },
    ),
    "SurveyInvitation": SObject(
        ("invites",),
        {
            **COMMON, "SurveyId": value("SurveyId", SURVEY), "IsDefault": value("IsDefault", False),
            "ContactId": either("respondent_id", "ContactId"),
            **{name: value(name) for name in ("LeadId", "InviteExpiryDateTime")},
        },
    ),
    "Feedback__c": SObject(
        (), {**COMMON, **{name: value(name) for name in ("Stars__c", "Case__c", "Case__r.AccountId", "Given_On__c")}}
    ),
    "Campaign": SObject(
        ("campaigns",),
        {
            **_OWNED, **_MONEY, "Name": value("name"), "Type": value("type"), "Status": value("status"),
            "ParentId": value("parent_id"), "StartDate": value("starts_on"), "EndDate": value("ends_on"),
            "ActualCost": value("cost"),
        },
    ),
    "CampaignMember": SObject(
        ("members",),
        {
            **COMMON, "CampaignId": value("campaign_id"), "ContactId": value("person_id"), "LeadId": value("lead_id"),
            "FirstRespondedDate": _created_day("responded_at"),
        },
    ),
}  # fmt: skip


def made_of(found: SObject, record: Record) -> list[Record]:
    """The records of an object that a record of the neutral CRM shows as."""
    return found.derived(record) if found.derived else [record]


def records_of(crm: Crm, name: str, *, gone: bool, keys: tuple[str, ...] | None = None) -> Iterator[Record]:
    """Records of an object as they show; ``keys``: only these (of derived ones: of these parents)."""
    found = OBJECTS[name]
    for kind in found.kinds:
        shown = crm.kinds[kind]
        records = shown.after(None, 10**9, gone=gone) if keys is None else [one for key in keys if (one := shown.get(key))]
        for record in records:
            if gone or record.deleted_at is None:
                yield from made_of(found, record)
