"""The tables of a fake Dataverse environment: how the neutral CRM's records look there. Invented data, documented shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kpid.testing.crm import Crm, Record
from kpid.testing.dataverse_shapes import CURRENCIES, REASONS, ZONE, Lookup, Option, stamp
from kpid.testing.dataverse_side import KPI

_FORECASTS = {"pipeline": 100000001, "best_case": 100000002, "commit": 100000003, "omitted": 100000004}
_STATES = {"open": (0, "Offen"), "won": (1, "Gewonnen"), "lost": (2, "Verloren")}


@dataclass(frozen=True, slots=True)
class TableOf:
    """A table: its names, the kind of record in the neutral CRM, and how a record looks."""

    logical: str
    set: str
    key: str
    kind: str
    look: Callable[[Record, Crm], Mapping[str, Any]]
    merges: bool = False

    def shows(self, record: Record) -> bool:
        """Whether the table has the record: deleted ones are gone, merged ones stay as inactive rows."""
        return record.deleted_at is None or (self.merges and record.merged_into is not None)

    def fields(self, record: Record, crm: Crm) -> dict[str, Any]:
        """All columns of a record, with what every row has."""
        core = {self.key: record.id, "createdon": stamp(record.created), "modifiedon": stamp(record.modified)}
        merge: dict[str, Any] = {}
        if self.merges:
            lost = record.merged_into is not None
            merge = {"merged": lost, "_masterid_value": Lookup(record.merged_into, self.logical)}
        return {**core, **self.look(record, crm), **merge}

    def columns(self, crm: Crm) -> list[str]:
        """The names of all columns."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return list(self.fields(Record(self.kind, "0", {}, at, at), crm))


def _owner(record: Record) -> Lookup:
    return Lookup(record.values.get("owner_id"), "systemuser")


def _account(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "name": values.get("name"),
        "_ownerid_value": _owner(record),
        "_parentaccountid_value": Lookup(values.get("parent_id"), "account"),
        "websiteurl": f"https://www.{values['domain']}/" if values.get("domain") else None,
        "industrycode": Option(33, "Maschinenbau"),
        "customertypecode": Option(3, "Kunde"),
        "address1_country": "DE",
        "statecode": Option(1 if record.merged_into else 0, "Inaktiv" if record.merged_into else "Aktiv"),
    }


def _contact(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "fullname": values.get("name"),
        "emailaddress1": values.get("email"),
        "donotbulkemail": False,
        "_ownerid_value": _owner(record),
        "_parentcustomerid_value": Lookup(values.get("account_id"), "account"),
        "statecode": Option(1 if record.merged_into else 0),
    }


def _lead(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    qualified = values.get("status") == "converted"
    return {
        "fullname": values.get("name"),
        "emailaddress1": values.get("email"),
        "companyname": values.get("company"),
        "leadsourcecode": Option(8, values.get("lead_source")) if values.get("lead_source") else Option(None),
        "_ownerid_value": _owner(record),
        "_campaignid_value": Lookup(None, "campaign"),
        "_qualifyingopportunityid_value": Lookup(values.get("converted_deal_id"), "opportunity"),
        "_parentaccountid_value": Lookup(values.get("converted_account_id"), "account"),
        "_parentcontactid_value": Lookup(values.get("converted_contact_id"), "contact"),
        "statecode": Option(1, "Qualifiziert") if qualified else Option(0, "Offen"),
        "statuscode": Option(3, "Qualifiziert") if qualified else Option(1, "Neu"),
    }


def _deal(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    state, amount, odds = values.get("state", "open"), values.get("amount"), values.get("probability")
    closed = values.get("closed_at")
    stage = values.get("stage_id")
    # which lookup a seller filled differs from deal to deal
    by_customer = record.id.endswith(("1", "4", "7"))
    code, label = _STATES[state]
    reason = 4 if state == "lost" else 1
    return {
        "name": values.get("name"),
        "_ownerid_value": _owner(record),
        "_customerid_value": Lookup(values.get("account_id"), "account"),
        "_parentaccountid_value": Lookup(None if by_customer else values.get("account_id"), "account"),
        "_parentcontactid_value": Lookup(values.get("primary_contact_id"), "contact"),
        "_originatingleadid_value": Lookup(values.get("lead_id"), "lead"),
        "_campaignid_value": Lookup(None, "campaign"),
        "_transactioncurrencyid_value": Lookup(_currency(values.get("currency")), "transactioncurrency"),
        "estimatedvalue": amount,
        "actualvalue": amount if state == "won" else None,
        "estimatedclosedate": values.get("expected_close_date"),
        "actualclosedate": closed.astimezone(ZONE).date() if closed else None,
        "closeprobability": None if odds is None else int(odds * 100),
        "stageid": stage if state == "open" else crm.stage_ids["talks"] if stage else None,
        "salesstage": Option(1, "Entwickeln"),
        "statecode": Option(code, label),
        "statuscode": Option(reason, REASONS[reason]),
        "msdyn_forecastcategory": Option(_FORECASTS.get(values.get("forecast_category", "pipeline")), "Pipeline"),
    }


def _currency(iso: str | None) -> str | None:
    return next((key for key, (code, _) in CURRENCIES.items() if code == iso), None)


def _user(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "fullname": values.get("name"),
        "internalemailaddress": values.get("email"),
        "isdisabled": not values.get("is_active", True),
        "_parentsystemuserid_value": Lookup(values.get("manager_id"), "systemuser"),
        "applicationid": None,
    }


def _stage(record: Record, crm: Crm) -> dict[str, Any]:
    order = list(crm.stage_ids.values()).index(record.id) if record.id in crm.stage_ids.values() else 0
    return {
        "stagename": record.values.get("name"),
        "stagecategory": Option(order),
        "primaryentitytypecode": "opportunity",
        "_processid_value": Lookup("57a6e000-0000-4000-8000-000000000001", "workflow"),
    }


def _activity(record: Record) -> dict[str, Any]:
    values = record.values
    about = next((Lookup(values[name], table) for name, table in _ABOUT.items() if values.get(name)), Lookup(None, "account"))
    return {
        "subject": values.get("subject"),
        "_ownerid_value": _owner(record),
        "_regardingobjectid_value": about,
        "scheduledstart": values.get("scheduled_start"),
        "scheduledend": values.get("scheduled_end"),
        "actualstart": values.get("occurred_at"),
        "actualend": values.get("occurred_at"),
        "actualdurationminutes": values["duration_s"] // 60 if values.get("duration_s") else None,
        "statecode": Option({"planned": 0, "cancelled": 2}.get(values.get("status", "completed"), 1)),
    }


_ABOUT = {"deal_id": "opportunity", "account_id": "account", "contact_id": "contact", "lead_id": "lead"}


def _call(record: Record, crm: Crm) -> dict[str, Any]:
    return {**_activity(record), "directioncode": record.values.get("direction") != "inbound"}


def _email(record: Record, crm: Crm) -> dict[str, Any]:
    outgoing = record.values.get("direction") != "inbound"
    return {
        **_activity(record), "directioncode": outgoing, "senton": record.values.get("occurred_at"),
        "statuscode": Option(3 if outgoing else 4),
    }  # fmt: skip


def _task(record: Record, crm: Crm) -> dict[str, Any]:
    return _activity(record)


def _ticket(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "title": values.get("subject"),
        "ticketnumber": f"CAS-{record.id[-4:]}",
        "_ownerid_value": _owner(record),
        "_customerid_value": Lookup(values.get("account_id"), "account"),
        "prioritycode": Option(1, values.get("priority")),
        "caseorigincode": Option(2, "E-Mail"),
        "casetypecode": Option(1, "Frage"),
        "statecode": Option(1, "Gelöst") if values.get("status") == "closed" else Option(0, "Aktiv"),
        "customersatisfactioncode": Option(values.get("satisfaction")),
        "_firstresponsebykpiid_value": Lookup(f"{KPI}{record.id}" if values.get("first_reply_at") else None, "slakpiinstance"),
    }


def _product(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "name": values.get("name"),
        "productnumber": values.get("code"),
        "_parentproductid_value": Lookup(None, "product"),
        "statecode": Option(0 if values.get("is_active", True) else 1),
    }


def _item(record: Record, amount: Any, price: Any) -> dict[str, Any]:
    values, tax = record.values, Decimal("1.90")
    return {
        "_productid_value": Lookup(values.get("product_id"), "product"),
        "quantity": values.get("quantity"),
        "priceperunit": price,
        "manualdiscountamount": None,
        "tax": tax,
        "extendedamount": amount + tax if amount is not None else None,
        "_transactioncurrencyid_value": Lookup(_currency(values.get("currency")), "transactioncurrency"),
    }


def _line(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    deal = Lookup(values.get("deal_id"), "opportunity")
    return {"_opportunityid_value": deal, **_item(record, values.get("amount"), values.get("unit_price"))}


def _order_line(record: Record, crm: Crm) -> dict[str, Any]:
    """The one line of an order: it has the order's id, and goes with it."""
    net = record.values.get("net_amount")
    return {"_salesorderid_value": Lookup(record.id, "salesorder"), **_item(record, net, net), "quantity": Decimal(1)}


def _invoice_line(record: Record, crm: Crm) -> dict[str, Any]:
    net = record.values.get("net_amount")
    return {"_invoiceid_value": Lookup(record.id, "invoice"), **_item(record, net, net), "quantity": Decimal(1)}


def _paper(record: Record, states: Mapping[str, int], usual: int) -> dict[str, Any]:
    values = record.values
    return {
        "_customerid_value": Lookup(values.get("account_id"), "account"),
        "_opportunityid_value": Lookup(values.get("deal_id"), "opportunity"),
        "_ownerid_value": _owner(record),
        "totalamountlessfreight": values.get("net_amount"),
        "totaltax": Decimal("0.00"),
        "statecode": Option(states.get(str(values.get("status")), usual)),
        "_transactioncurrencyid_value": Lookup(_currency(values.get("currency")), "transactioncurrency"),
    }


def _order(record: Record, crm: Crm) -> dict[str, Any]:
    return _paper(record, {"cancelled": 2, "paid": 4}, 1)


def _invoice(record: Record, crm: Crm) -> dict[str, Any]:
    """The orders of the neutral CRM, billed."""
    return _paper(record, {"cancelled": 3, "paid": 2}, 0)


def _response(record: Record, crm: Crm) -> dict[str, Any]:
    return {
        "_regardingobjectid_value": Lookup(record.values.get("campaign_id"), "campaign"),
        "receivedon": stamp(record.created),
        "emailaddress": "somebody@example.com",
        "statecode": Option(0, "Offen"),
    }


def _answer(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "_regardingobjectid_value": Lookup(values.get("respondent_id"), "contact"),
        "_msfp_surveyid_value": Lookup("5a7e0000-0000-4000-8000-000000000001", "msfp_survey"),
        "_msfp_surveyinviteid_value": Lookup(record.id, "msfp_surveyinvite"),
        "msfp_submitdate": stamp(values.get("submitted_at")),
        "msfp_respondentemailaddress": "somebody@example.com",
        "msfp_npsscore": values.get("score"),
    }


def _invitation(record: Record, crm: Crm) -> dict[str, Any]:
    """Each answer was asked for, with its own id."""
    values = record.values
    return {
        "_regardingobjectid_value": Lookup(values.get("respondent_id"), "contact"),
        "_msfp_surveyid_value": Lookup("5a7e0000-0000-4000-8000-000000000001", "msfp_survey"),
        "msfp_inviteemailaddress": "somebody@example.com",
        "msfp_invitesentdate": record.created.astimezone(ZONE).date(),
        "msfp_invitebouncecategory": Option(None),
    }


def _campaign(record: Record, crm: Crm) -> dict[str, Any]:
    values = record.values
    return {
        "name": values.get("name"),
        "typecode": Option(1, "Anzeige"),
        "statuscode": Option(2, "Gestartet"),
        "_ownerid_value": _owner(record),
        "proposedstart": values.get("starts_on"),
        "proposedend": None,
        "actualstart": None,
        "actualend": None,
        "totalactualcost": values.get("cost"),
        "othercost": None,
        "_transactioncurrencyid_value": Lookup(_currency(values.get("currency")), "transactioncurrency"),
    }


TABLES = {
    table.set: table
    for table in (
        TableOf("account", "accounts", "accountid", "accounts", _account, merges=True),
        TableOf("contact", "contacts", "contactid", "contacts", _contact, merges=True),
        TableOf("lead", "leads", "leadid", "leads", _lead, merges=True),
        TableOf("opportunity", "opportunities", "opportunityid", "deals", _deal),
        TableOf("systemuser", "systemusers", "systemuserid", "users", _user),
        TableOf("processstage", "processstages", "processstageid", "stages", _stage),
        TableOf("phonecall", "phonecalls", "activityid", "calls", _call),
        TableOf("appointment", "appointments", "activityid", "meetings", _task),
        TableOf("email", "emails", "activityid", "emails", _email),
        TableOf("task", "tasks", "activityid", "tasks", _task),
        TableOf("product", "products", "productid", "products", _product),
        TableOf("opportunityproduct", "opportunityproducts", "opportunityproductid", "lines", _line),
        TableOf("salesorder", "salesorders", "salesorderid", "orders", _order),
        TableOf("salesorderdetail", "salesorderdetails", "salesorderdetailid", "orders", _order_line),
        TableOf("invoice", "invoices", "invoiceid", "orders", _invoice),
        TableOf("invoicedetail", "invoicedetails", "invoicedetailid", "orders", _invoice_line),
        TableOf("campaignresponse", "campaignresponses", "activityid", "members", _response),
        TableOf("msfp_surveyinvite", "msfp_surveyinvites", "activityid", "surveys", _invitation),
        TableOf("msfp_surveyresponse", "msfp_surveyresponses", "activityid", "surveys", _answer),
        TableOf("campaign", "campaigns", "campaignid", "campaigns", _campaign),
        TableOf("incident", "incidents", "incidentid", "tickets", _ticket, merges=True),
    )
}
"""Tables with records of the neutral CRM, by the name of their set."""
