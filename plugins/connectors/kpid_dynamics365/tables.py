"""Which of Dataverse's tables fill which entity, and the columns that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A table.

    Args:
        logical: its name in the metadata.
        set: its name in addresses.
        key: the column with the id.
        columns: what we read beside id and times.
        prefix: of native ids, where several tables fill one entity.
        merges: its rows can be merged: a loser stays as an inactive row that names the winner.
        perhaps: columns that not every environment has: they are asked for where they are, and nobody is told where not.
        labels: the texts of choices and lookups are asked for with each row, which makes answers much longer.
        reasons: what reasons for a row's state are called is asked of the metadata, and of each row only where they do not tell.
    """

    logical: str
    set: str
    key: str
    columns: tuple[str, ...]
    prefix: str = ""
    merges: bool = False
    perhaps: tuple[str, ...] = ()
    labels: bool = False
    reasons: bool = False


_ACTIVITY = (
    "subject", "_ownerid_value", "_regardingobjectid_value", "scheduledstart", "scheduledend", "actualstart", "actualend",
    "statecode",
)  # fmt: skip
_CAMPAIGN = (
    "name", "typecode", "statuscode", "_ownerid_value", "proposedstart", "proposedend", "actualstart", "actualend",
    "totalactualcost", "othercost", "_transactioncurrencyid_value",
)  # fmt: skip
_MERGED = ("merged", "_masterid_value")
_LINE = (
    "_productid_value", "quantity", "priceperunit", "manualdiscountamount", "extendedamount", "tax",
    "_transactioncurrencyid_value",
)  # fmt: skip
_PAPER = (
    "_customerid_value", "_opportunityid_value", "_ownerid_value", "totalamountlessfreight", "totaltax", "statecode",
    "_transactioncurrencyid_value",
)  # fmt: skip
VOICE, RATING = "msfp_surveyresponse", "customersatisfactioncode"

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "accounts": (
        Kind(
            "account", "accounts", "accountid",
            (
                "name", "_ownerid_value", "_parentaccountid_value", "websiteurl", "industrycode", "customertypecode",
                "address1_country", *_MERGED,
            ),
            merges=True, labels=True,
        ),
    ),
    "contacts": (
        Kind(
            "contact", "contacts", "contactid",
            ("fullname", "emailaddress1", "donotbulkemail", "_ownerid_value", "_parentcustomerid_value", *_MERGED),
            merges=True,
        ),
    ),
    "leads": (
        Kind(
            "lead", "leads", "leadid",
            (
                "fullname", "emailaddress1", "companyname", "leadsourcecode", "_ownerid_value", "_campaignid_value",
                "_qualifyingopportunityid_value", "_parentaccountid_value", "_parentcontactid_value", "statecode", "statuscode",
                *_MERGED,
            ),
            merges=True, labels=True,
        ),
    ),
    "deals": (
        Kind(
            "opportunity", "opportunities", "opportunityid",
            (
                "name", "_ownerid_value", "_customerid_value", "_parentaccountid_value", "_parentcontactid_value",
                "_originatingleadid_value", "_campaignid_value", "_transactioncurrencyid_value", "estimatedvalue", "actualvalue",
                "estimatedclosedate", "actualclosedate", "closeprobability", "stageid", "salesstage", "statecode", "statuscode",
            ),
            perhaps=("msdyn_forecastcategory",), reasons=True,
        ),
    ),
    "activities": (
        Kind("phonecall", "phonecalls", "activityid", (*_ACTIVITY, "directioncode", "actualdurationminutes"), "phonecall-"),
        Kind("appointment", "appointments", "activityid", (*_ACTIVITY, "actualdurationminutes"), "appointment-"),
        Kind("email", "emails", "activityid", (*_ACTIVITY, "directioncode", "statuscode", "senton"), "email-"),
        Kind("task", "tasks", "activityid", _ACTIVITY, "task-"),
    ),
    "tickets": (
        Kind(
            "incident", "incidents", "incidentid",
            (
                "title", "_ownerid_value", "_customerid_value", "prioritycode", "caseorigincode", "casetypecode", "statecode",
                *_MERGED,
            ),
            merges=True, labels=True,
            perhaps=("_firstresponsebykpiid_value",),
        ),
    ),
    "products": (
        Kind("product", "products", "productid", ("name", "productnumber", "_parentproductid_value", "statecode"), labels=True),
    ),
    "deal_lines": (
        Kind("opportunityproduct", "opportunityproducts", "opportunityproductid", ("_opportunityid_value", *_LINE)),
    ),
    "orders": (Kind("salesorder", "salesorders", "salesorderid", _PAPER),),
    "order_lines": (Kind("salesorderdetail", "salesorderdetails", "salesorderdetailid", ("_salesorderid_value", *_LINE)),),
    "fx_rates": (
        Kind("transactioncurrency", "transactioncurrencies", "transactioncurrencyid", ("isocurrencycode", "exchangerate")),
    ),
    "campaigns": (Kind("campaign", "campaigns", "campaignid", _CAMPAIGN, labels=True),),
    "campaign_costs": (Kind("campaign", "campaigns", "campaignid", _CAMPAIGN),),
    "campaign_members": (
        Kind(
            "campaignresponse", "campaignresponses", "activityid",
            ("_regardingobjectid_value", "receivedon", "emailaddress", "statecode"),
        ),
    ),
    "survey_sends": (
        Kind(
            "msfp_surveyinvite", "msfp_surveyinvites", "activityid",
            ("_regardingobjectid_value", "_msfp_surveyid_value", "msfp_inviteemailaddress", "msfp_invitesentdate"),
            perhaps=("msfp_invitebouncecategory",),
        ),
    ),
    "survey_responses": (
        Kind(
            VOICE, "msfp_surveyresponses", "activityid",
            (
                "_regardingobjectid_value", "_msfp_surveyid_value", "_msfp_surveyinviteid_value", "msfp_submitdate",
                "msfp_respondentemailaddress", "msfp_npsscore",
            ),
        ),
        Kind(
            "incident", "incidents", "incidentid", (RATING, "_customerid_value", "_ownerid_value", "statecode", *_MERGED),
            "case-", merges=True,
        ),
    ),
}  # fmt: skip
"""The tables that are read by what changed."""

INVOICES: Mapping[str, tuple[Kind, ...]] = {
    "orders": (Kind("invoice", "invoices", "invoiceid", _PAPER),),
    "order_lines": (Kind("invoicedetail", "invoicedetails", "invoicedetailid", ("_invoiceid_value", *_LINE)),),
}
"""Read instead of orders, where the settings say so."""

USERS = Kind(
    "systemuser", "systemusers", "systemuserid",
    ("fullname", "internalemailaddress", "isdisabled", "_parentsystemuserid_value", "applicationid"),
)  # fmt: skip
STAGES = Kind(
    "processstage", "processstages", "processstageid", ("stagename", "stagecategory", "primaryentitytypecode", "_processid_value")
)
WITH_MONEY = {
    "opportunity", "opportunityproduct", "salesorder", "salesorderdetail", "invoice", "invoicedetail", "campaign",
}  # fmt: skip
TIMES = ("createdon", "modifiedon")


def attribute(column: str) -> str:
    """What the metadata call a column: a lookup's column is ``_ownerid_value``, its attribute ``ownerid``."""
    return column[1:-6] if column.startswith("_") and column.endswith("_value") else column
