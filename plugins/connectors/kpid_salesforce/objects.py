"""Which of Salesforce's objects fill which entity, and what is asked of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from kpid_salesforce.soql import among

CORE = ("Id", "CreatedDate", "SystemModstamp")
CURRENCY = frozenset({"CurrencyIsoCode"})
"""Only organisations with several currencies have it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An object that fills an entity.

    Args:
        name: the object's.
        fields: asked for beside :data:`CORE`.
        prefix: what its ids begin with; empty: as those of no other kind of the entity.
        where: a condition by the field that it is about; it holds if the organisation has the field.
        archived: old records are only in ``queryAll``, with the deleted ones.
        gone_too: deleted records count, too.
        merges: its records can be merged.
        essential: without these fields its records mean nothing.
        optional: these fields may be absent without a word: editions and features bring them.
        of: the field that names the record which its records hang on; empty if they stand for themselves.
        key: its name in cursors, if several kinds are of one object.
        spare: not every organisation has it: nothing is said where it is absent.
    """

    name: str
    fields: tuple[str, ...]
    prefix: str = ""
    where: Mapping[str, str] | None = None
    archived: bool = False
    gone_too: bool = False
    merges: bool = False
    essential: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    of: str = ""
    key: str = ""
    spare: bool = False

    @property
    def title(self) -> str:
        """Its name in cursors: what it is told apart by."""
        return self.key or self.name

    def asked(self, own: Iterable[str] = ()) -> list[str]:
        """All fields to ask for, with the company's ``own``."""
        return list(dict.fromkeys((*CORE, *self.fields, *own)))

    def conditions(self, known: Collection[str]) -> list[str]:
        """What every query of it says."""
        found = [text for field, text in (self.where or {}).items() if field in known]
        return [*found, "IsDeleted = false"] if self.archived and not self.gone_too else found


USERS = Kind("User", ("Name", "Email", "IsActive", "ManagerId", "TimeZoneSidKey", "UserRole.Name"))
ROLES = Kind("UserRole", ("Name", "ParentRoleId"))
RECORD_TYPES = Kind("RecordType", ("Name",))
QUEUES = Kind("Group", ("Name", "Email"))
STAGES = Kind("OpportunityStage", ("ApiName", "MasterLabel", "SortOrder", "DefaultProbability", "IsClosed", "IsWon", "IsActive"))
RATES = Kind("DatedConversionRate", ("IsoCode", "ConversionRate", "StartDate", "NextStartDate"))
CURRENCIES = Kind("CurrencyType", ("IsoCode", "ConversionRate", "IsCorporate"), essential=frozenset({"IsCorporate"}))
QUOTAS = Kind(
    "ForecastingQuota",
    ("QuotaAmount", "QuotaOwnerId", "StartDate", "PeriodId", "ForecastingTypeId", "CurrencyIsoCode"),
    essential=frozenset({"QuotaAmount", "QuotaOwnerId", "PeriodId"}),
    optional=CURRENCY,
)
PERIODS = Kind("Period", ("Type", "StartDate", "EndDate"), essential=frozenset({"Type"}))
WHOLE: Mapping[str, Kind] = {"users": USERS, "pipelines": STAGES, "fx_rates": CURRENCIES, "targets": QUOTAS}
"""What is read as a whole each time."""
HISTORY = Kind(
    "OpportunityHistory",
    ("OpportunityId", "StageName", "Amount", "Probability", "CloseDate", "ForecastCategory", "CreatedById"),
    essential=frozenset({"OpportunityId", "StageName"}),
    of="OpportunityId",
)
OWNERS = Kind(
    "OpportunityFieldHistory",
    ("OpportunityId", "OldValue", "NewValue", "CreatedById", "Opportunity.CreatedDate"),
    where={"Field": "Field = 'Owner'"},
    essential=frozenset({"Field"}),
    of="OpportunityId",
)
STATUSES = Kind("CaseStatus", ("ApiName", "MasterLabel", "IsClosed"))
CASE_HISTORY = Kind(
    "CaseHistory",
    ("CaseId", "Field", "OldValue", "NewValue"),
    where={"Field": "Field IN ('Status','created')"},
    essential=frozenset({"Field"}),
    of="CaseId",
)
COMMENTS = Kind("CaseComment", ("ParentId", "IsPublished", "CreatedById", "CreatedBy.UserType"), of="ParentId")
MAILS = Kind(
    "EmailMessage",
    ("ParentId", "Incoming", "MessageDate", "AutomationType", "CreatedById", "CreatedBy.UserType"),
    where={"ParentId": "ParentId != null", "Status": "Status != '5'"},  # a draft
    essential=frozenset({"Incoming"}),
    of="ParentId",
)
TASK_MAILS = Kind(
    "EmailMessage",
    ("ActivityId", "Incoming", "MessageDate", "AutomationType"),
    where={"Status": "Status != '5'"},
    essential=MAILS.essential,
    of="ActivityId",
)
_CALL = (
    "CallType", "CallStartDateTime", "CallEndDateTime", "CallDurationInSeconds", "CallDisposition", "CallConnectDateTime",
    "UserId",
)  # fmt: skip
TASK_CALLS = Kind(
    "VoiceCall",
    ("ActivityId", *_CALL),
    where={"ActivityId": "ActivityId != null"},
    essential=frozenset({"CallStartDateTime"}),
    of="ActivityId",
    key="calls of tasks",
)
TASK_LINKS = Kind("TaskRelation", ("TaskId", "RelationId"), archived=True, of="TaskId")
EVENT_LINKS = Kind("EventRelation", ("EventId", "RelationId", "Status"), archived=True, of="EventId")
MAIL_LINKS = Kind("EmailMessageRelation", ("EmailMessageId", "RelationId", "RelationType"), of="EmailMessageId")
LINKS: Mapping[str, Kind] = {"Task": TASK_LINKS, "Event": EVENT_LINKS, "EmailMessage": MAIL_LINKS}
"""Who takes part in activities, by the object that these are of."""
INVITED = replace(EVENT_LINKS, fields=("EventId",), gone_too=True, key="changes of guests")
RELATED = replace(TASK_LINKS, fields=("TaskId",), gone_too=True, key="changes of people on tasks")
BACKFILLED: Mapping[str, tuple[Kind, ...]] = {"deals": (HISTORY, OWNERS)}
"""What of an entity's first read comes by itself, for that costs fewer calls; later it comes with the records it hangs on."""
TOUCHING: Mapping[str, tuple[Kind, ...]] = {"tickets": (COMMENTS, MAILS), "activities": (TASK_CALLS, INVITED, RELATED)}
"""Of an entity, objects whose changes change records of it, though Salesforce does not say so of these."""
CARRIED: Mapping[str, tuple[Kind, ...]] = {
    "deals": (HISTORY, OWNERS),
    "tickets": (CASE_HISTORY, COMMENTS, MAILS),
    "activities": (TASK_MAILS, TASK_CALLS, *LINKS.values()),
}
"""What hangs on an entity's records."""

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "accounts": (
        Kind(
            "Account",
            ("Name", "ParentId", "OwnerId", "Website", "Industry", "Type", "BillingCountry", "AccountSource"),
            merges=True,
        ),
    ),
    "contacts": (
        Kind(
            "Contact",
            ("Name", "Email", "AccountId", "OwnerId", "LeadSource", "HasOptedOutOfEmail"),
            where={"IsPersonAccount": "IsPersonAccount = false"},  # the shadow of an account that is a person
            merges=True,
        ),
    ),
    "leads": (
        Kind(
            "Lead",
            (
                "Name", "Email", "Company", "Status", "OwnerId", "LeadSource", "IsConverted", "ConvertedDate",
                "ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId",
            ),
            merges=True,
        ),
    ),
    "deals": (
        Kind(
            "Opportunity",
            (
                "Name", "AccountId", "ContactId", "OwnerId", "StageName", "IsClosed", "IsWon", "Amount", "CurrencyIsoCode",
                "Probability", "ForecastCategory", "Type", "LeadSource", "CampaignId", "CloseDate", "LastStageChangeDate",
                "LastActivityDate", "NextStep",
            ),
            essential=frozenset({"StageName", "IsClosed", "IsWon"}),
            optional=frozenset({"CurrencyIsoCode", "ContactId", "LastStageChangeDate", "RecordTypeId"}),
        ),
    ),
    "activities": (
        Kind(
            "Task",
            (
                "Subject", "OwnerId", "WhoId", "WhatId", "AccountId", "TaskSubtype", "CallType", "CallDurationInSeconds",
                "CallDisposition", "ActivityDate", "Status", "IsClosed", "CompletedDateTime",
            ),
            prefix="00T",
            archived=True,
            optional=frozenset({"CompletedDateTime", "CallType", "CallDurationInSeconds", "CallDisposition"}),
        ),
        Kind(
            "Event",
            ("Subject", "OwnerId", "WhoId", "WhatId", "AccountId", "StartDateTime", "EndDateTime", "ActivityDate"),
            prefix="00U",
            where={"IsChild": "IsChild = false"},  # a copy for each person who was invited
            archived=True,
        ),
        Kind(
            "EmailMessage",
            (
                "Subject", "Incoming", "MessageDate", "AutomationType", "FromId", "RelatedToId", "Parent.AccountId",
                "Parent.ContactId", "CreatedById", "CreatedBy.UserType",
            ),
            prefix="02s",
            where={"ActivityId": "ActivityId = null", "Status": "Status != '5'"},  # of the others there is a task
            essential=frozenset({"Incoming", "ActivityId"}),
            spare=True,
        ),
        Kind(
            "VoiceCall",
            ("OwnerId", "RelatedRecordId", *_CALL),
            where={"ActivityId": "ActivityId = null"},
            essential=frozenset({"CallStartDateTime", "ActivityId"}),
            spare=True,
        ),
    ),
    "products": (Kind("Product2", ("Name", "ProductCode", "Family", "IsActive")),),
    "deal_lines": (
        Kind(
            "OpportunityLineItem",
            ("OpportunityId", "Product2Id", "Quantity", "UnitPrice", "Discount", "TotalPrice", "CurrencyIsoCode"),
            optional=CURRENCY,
        ),
    ),
    "orders": (
        Kind(
            "Order",
            (
                "AccountId", "OpportunityId", "OwnerId", "EffectiveDate", "Status", "StatusCode", "TotalAmount",
                "CurrencyIsoCode",
            ),
            where={"StatusCode": "StatusCode != 'Draft'"},
            optional=CURRENCY | {"OpportunityId"},
        ),
    ),
    "refunds": (
        Kind(
            "Order",
            ("AccountId", "OriginalOrderId", "EffectiveDate", "TotalAmount", "CurrencyIsoCode"),
            where={"StatusCode": "StatusCode != 'Draft'", "IsReductionOrder": "IsReductionOrder = true"},
            essential=frozenset({"IsReductionOrder"}),
            optional=CURRENCY,
            key="reductions",
        ),
    ),
    "subscriptions": (
        Kind(
            "Contract",
            ("AccountId", "OwnerId", "Name", "StartDate", "EndDate", "StatusCode", "CurrencyIsoCode"),
            where={"StatusCode": "StatusCode IN ('Activated','Terminated','Expired')"},
            optional=CURRENCY,
        ),
    ),
    "order_lines": (
        Kind(
            "OrderItem",
            ("OrderId", "Product2Id", "Quantity", "UnitPrice", "TotalPrice", "CurrencyIsoCode"),
            optional=CURRENCY,
        ),
    ),
    "campaigns": (
        Kind(
            "Campaign",
            ("Name", "Type", "Status", "OwnerId", "ParentId", "StartDate", "EndDate", "ActualCost", "CurrencyIsoCode"),
            optional=CURRENCY,
        ),
    ),
    "campaign_members": (Kind("CampaignMember", ("CampaignId", "ContactId", "LeadId", "FirstRespondedDate")),),
    "attributions": (
        Kind("CampaignInfluence", ("OpportunityId", "CampaignId", "Influence", "ModelId"), essential=frozenset({"ModelId"})),
    ),
    "tickets": (
        Kind(
            "Case",
            ("Subject", "AccountId", "ContactId", "OwnerId", "Status", "Priority", "Origin", "Type", "ClosedDate", "IsClosed",
                "BusinessHours.Name",),
            essential=frozenset({"IsClosed"}),
            optional=frozenset({"BusinessHours.Name"}),
        ),
    ),
}  # fmt: skip
OBJECTS = frozenset(kind.name for kinds in KINDS.values() for kind in kinds)
"""The names of all of them."""
_NO_REDUCTIONS: Mapping[str, Mapping[str, str]] = {
    "orders": {"IsReductionOrder": "IsReductionOrder = false"},
    "order_lines": {"OrderId": "Order.IsReductionOrder = false"},
}


def of_models(kinds: Mapping[str, tuple[Kind, ...]], models: Iterable[str]) -> dict[str, tuple[Kind, ...]]:
    """The same, with the influence of campaigns by these models alone."""
    known = among("ModelId", models)
    return {**kinds, "attributions": tuple(replace(kind, where={"ModelId": known}) for kind in kinds["attributions"])}


def beside_tasks(kinds: Mapping[str, tuple[Kind, ...]], named: Collection[str]) -> dict[str, tuple[Kind, ...]]:
    """The same, with the named objects alone as activities beside tasks and events: these have to be there."""
    found = (replace(kind, spare=False) for kind in kinds["activities"] if not kind.spare or kind.name in named)
    return {**kinds, "activities": tuple(found)}


def without_reductions(kinds: Mapping[str, tuple[Kind, ...]]) -> dict[str, tuple[Kind, ...]]:
    """The same, where reductions of orders are told as refunds: they are no orders then."""
    changed = {
        entity: tuple(replace(kind, where={**(kind.where or {}), **_NO_REDUCTIONS[entity]}) for kind in kinds[entity])
        for entity in _NO_REDUCTIONS
    }
    return {**kinds, **changed}
