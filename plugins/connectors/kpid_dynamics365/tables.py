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
    """

    logical: str
    set: str
    key: str
    columns: tuple[str, ...]
    prefix: str = ""
    merges: bool = False


_ACTIVITY = (
    "subject", "_ownerid_value", "_regardingobjectid_value", "scheduledstart", "scheduledend", "actualstart", "actualend",
    "statecode",
)  # fmt: skip
_CAMPAIGN = (
    "name", "typecode", "statuscode", "_ownerid_value", "proposedstart", "proposedend", "actualstart", "actualend",
    "totalactualcost", "othercost", "_transactioncurrencyid_value",
)  # fmt: skip
_MERGED = ("merged", "_masterid_value")

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "accounts": (
        Kind(
            "account", "accounts", "accountid",
            (
                "name", "_ownerid_value", "_parentaccountid_value", "websiteurl", "industrycode", "customertypecode",
                "address1_country", *_MERGED,
            ),
            merges=True,
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
            merges=True,
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
            merges=True,
        ),
    ),
    "products": (Kind("product", "products", "productid", ("name", "productnumber", "_parentproductid_value", "statecode")),),
    "deal_lines": (
        Kind(
            "opportunityproduct", "opportunityproducts", "opportunityproductid",
            (
                "_opportunityid_value", "_productid_value", "quantity", "priceperunit", "manualdiscountamount", "extendedamount",
                "tax", "_transactioncurrencyid_value",
            ),
        ),
    ),
    "orders": (
        Kind(
            "salesorder", "salesorders", "salesorderid",
            (
                "_customerid_value", "_opportunityid_value", "_ownerid_value", "totalamountlessfreight", "totaltax", "statecode",
                "_transactioncurrencyid_value",
            ),
        ),
    ),
    "fx_rates": (
        Kind("transactioncurrency", "transactioncurrencies", "transactioncurrencyid", ("isocurrencycode", "exchangerate")),
    ),
    "campaigns": (Kind("campaign", "campaigns", "campaignid", _CAMPAIGN),),
    "campaign_costs": (Kind("campaign", "campaigns", "campaignid", _CAMPAIGN),),
}  # fmt: skip
"""The tables that are read by what changed."""

USERS = Kind(
    "systemuser", "systemusers", "systemuserid",
    ("fullname", "internalemailaddress", "isdisabled", "_parentsystemuserid_value", "applicationid"),
)  # fmt: skip
STAGES = Kind(
    "processstage", "processstages", "processstageid", ("stagename", "stagecategory", "primaryentitytypecode", "_processid_value")
)
WITH_MONEY = {"opportunity", "opportunityproduct", "salesorder", "campaign"}
TIMES = ("createdon", "modifiedon")


def attribute(column: str) -> str:
    """What the metadata call a column: a lookup's column is ``_ownerid_value``, its attribute ``ownerid``."""
    return column[1:-6] if column.startswith("_") and column.endswith("_value") else column
