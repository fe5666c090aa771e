"""Dataverse rows as canonical rows. Pure: what a column means is said here and nowhere else.

Won and lost are read from ``statecode``, never from names or status reasons: administrators add their own. A won or lost deal
is in the stage ``won`` or ``lost``: its process keeps the stage in which it was closed, and would stand there for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from kpid_dynamics365.commerce_rows import (
    campaign_row,
    cost_row,
    invoice_line_row,
    invoice_row,
    line_row,
    order_line_row,
    order_row,
    product_row,
    rate_row,
)
from kpid_dynamics365.survey_rows import answer_row, member_row, rating_row, send_row
from kpid_dynamics365.tables import RATING, VOICE, Kind
from kpid_dynamics365.values import (
    FORMATTED,
    LOGICAL,
    Place,
    Record,
    Row,
    core,
    custom,
    domain,
    label,
    midnight,
    points_to,
    share,
)

PIPELINE = "sales"
REASON, CUSTOMER_TABLE = f"statuscode@{FORMATTED}", f"_customerid_value@{LOGICAL}"
STATES = {0: "open", 1: "won", 2: "lost"}
DONE = {0: "planned", 1: "completed", 2: "cancelled", 3: "planned"}
LEADS = {0: "new", 1: "qualified", 2: "disqualified"}
TICKETS = {0: "open", 1: "solved", 2: "closed"}
FORECASTS = {
    100000001: "pipeline", 100000002: "best_case", 100000003: "commit", 100000004: "omitted", 100000005: "closed",
    100000006: "omitted",
}  # fmt: skip
"""Of ``msdyn_forecastcategory``."""
CUSTOMER = {3: "customer", 1: "competitor", 5: "partner", 8: "prospect"}
"""Of ``customertypecode``, as delivered: labels are translated, numbers are not."""


def account_row(record: Record, place: Place) -> Row:
    """A company."""
    return {
        "name": record.get("name"),
        "parent_id": record.get("_parentaccountid_value"),
        "domain": domain(record.get("websiteurl")),
        "industry": record.get(f"industrycode@{FORMATTED}"),
        "country": record.get("address1_country"),
        "lifecycle": CUSTOMER.get(record.get("customertypecode") or 0),
        **core(record, "accountid"),
        **custom(record, place, "accounts"),
    }


def contact_row(record: Record, place: Place) -> Row:
    """A person."""
    refuses = record.get("donotbulkemail")
    return {
        "name": record.get("fullname"),
        "email": record.get("emailaddress1"),
        "account_id": points_to(record, "_parentcustomerid_value", "account"),
        "email_opt_in": None if refuses is None else not refuses,
        **core(record, "contactid"),
        **custom(record, place, "contacts"),
    }


def lead_row(record: Record, place: Place) -> Row:
    """An enquiry. When it was qualified is when its deal came to be; without a deal, when the lead last changed."""
    state, deal = record.get("statecode"), record.get("_qualifyingopportunityid_value")
    modified = record.get("modifiedon")
    qualified = (place.made.get(str(deal)) or modified) if state == 1 else None
    return {
        "name": record.get("fullname"),
        "email": record.get("emailaddress1"),
        "company": record.get("companyname"),
        "status": LEADS.get(record.get("statecode") or 0),
        "lead_source": record.get(f"leadsourcecode@{FORMATTED}"),
        "campaign_id": record.get("_campaignid_value"),
        "qualified_at": qualified,
        "converted_at": qualified if deal else None,
        "disqualified_at": modified if state == 2 else None,
        "converted_account_id": record.get("_parentaccountid_value") if state == 1 else None,
        "converted_contact_id": record.get("_parentcontactid_value") if state == 1 else None,
        "converted_deal_id": deal if state == 1 else None,
        **core(record, "leadid"),
        **custom(record, place, "leads"),
    }


def deal_row(record: Record, place: Place) -> Row:
    """An opportunity. Money is in the deal's own currency: what was agreed once it is won, what is estimated before."""
    get, key = record.get, str(record["opportunityid"])
    told = STATES.get(get("statecode") or 0, "open")
    stage = stage_id(record, place.stage_field) if told == "open" else told
    state = place.stages.get(stage or "", told)
    actual, expected = get("actualvalue"), get("estimatedclosedate")
    customer, table = get("_customerid_value"), get(CUSTOMER_TABLE, "account")
    row = {
        "name": get("name"),
        "account_id": get("_parentaccountid_value") or (customer if table == "account" else None),
        "primary_contact_id": get("_parentcontactid_value") or (customer if table == "contact" else None),
        "lead_id": get("_originatingleadid_value"),
        "pipeline_id": PIPELINE,
        "stage_id": stage,
        "state": state,
        "amount": actual if state == "won" and actual is not None else get("estimatedvalue"),
        "currency": place.currencies.get(str(get("_transactioncurrencyid_value"))) or place.currency,
        "probability": share(get("closeprobability")),
        "forecast_category": FORECASTS.get(get("msdyn_forecastcategory") or 0),
        "campaign_id": get("_campaignid_value"),
        "expected_close_date": expected if state == "open" else None,
        "crm_close_date": get("actualclosedate") or expected,
        "closed_at": None if state == "open" else place.closed.get(key) or _closed(record, place),
        "loss_reason": (get(REASON) or place.reasons.get(get("statuscode") or 0)) if state == "lost" else None,
        "loss_competitor": place.rivals.get(key) if state == "lost" else None,
        **core(record, "opportunityid"),
    }
    return row | custom(record, place, "deals") if place.fields else row


def stage_id(record: Record, stage_field: str) -> str | None:
    """The stage that an open deal is in."""
    if stage_field == "process":
        return record.get("stageid")
    chosen = record.get("salesstage")
    return None if chosen is None else f"salesstage-{chosen}"


def _closed(record: Record, place: Place) -> Any:
    """A deal's closing where only its day is known: midnight there; of one without even that, its last change."""
    day = record.get("actualclosedate")
    return midnight(day, place.zone) if isinstance(day, str) else record.get("modifiedon")


# -- activities and cases ----------------------------------------------------------------------------------------------------


def _activity(record: Record, place: Place, kind: str, prefix: str) -> Row:
    row = core(record, "activityid")
    start, end = record.get("actualstart"), record.get("actualend")
    return {
        **row,
        "native_id": f"{prefix}{row['native_id']}",
        "type": kind,
        "subject": record.get("subject"),
        "deal_id": points_to(record, "_regardingobjectid_value", "opportunity"),
        "account_id": points_to(record, "_regardingobjectid_value", "account"),
        "contact_id": points_to(record, "_regardingobjectid_value", "contact"),
        "lead_id": points_to(record, "_regardingobjectid_value", "lead"),
        "scheduled_start": record.get("scheduledstart"),
        "scheduled_end": record.get("scheduledend"),
        "occurred_at": start or end or record.get("scheduledstart"),
        "ended_at": end,
        "status": DONE.get(record.get("statecode") or 0),
        "direction": _direction(record),
        "duration_s": _seconds(record.get("actualdurationminutes")),
        **custom(record, place, "activities"),
    }


def _direction(record: Record) -> str:
    """Outgoing is also what stands there when nobody chose: weak evidence, but the only one."""
    return {True: "outbound", False: "inbound"}.get(record.get("directioncode"), "unknown")  # type: ignore[arg-type]


def _seconds(minutes: Any) -> Any:
    return minutes * 60 if isinstance(minutes, int) else minutes


def call_row(record: Record, place: Place) -> Row:
    """A call, made or planned."""
    return _activity(record, place, "call", "phonecall-")


def meeting_row(record: Record, place: Place) -> Row:
    """A meeting."""
    return _activity(record, place, "meeting", "appointment-")


def email_row(record: Record, place: Place) -> Row:
    """An e-mail, sent or received."""
    row = _activity(record, place, "email", "email-")
    return {**row, "occurred_at": record.get("senton") or row["occurred_at"]}


def task_row(record: Record, place: Place) -> Row:
    """A task."""
    return _activity(record, place, "task", "task-")


def ticket_row(record: Record, place: Place) -> Row:
    """A case."""
    status = TICKETS.get(record.get("statecode") or 0)
    closed = None if status == "open" else place.closed.get(str(record["incidentid"])) or record.get("modifiedon")
    return {
        "account_id": points_to(record, "_customerid_value", "account"),
        "requester_id": points_to(record, "_customerid_value", "contact"),
        "subject": record.get("title"),
        "channel": label(record, "caseorigincode"),
        "priority": label(record, "prioritycode"),
        "category": label(record, "casetypecode"),
        "status": status,
        "first_reply_at": place.replies.get(str(record.get("_firstresponsebykpiid_value"))),
        "last_solved_at": closed,
        "closed_at": closed,
        **core(record, "incidentid"),
        **custom(record, place, "tickets"),
    }


# -- people and stages -------------------------------------------------------------------------------------------------------


def user_row(record: Record) -> Row:
    """A person, or an application that acts as one."""
    row = core(record, "systemuserid")
    del row["owner_id"]
    return {
        **row,
        "name": record.get("fullname"),
        "email": record.get("internalemailaddress"),
        "manager_id": record.get("_parentsystemuserid_value"),
        "role": "service" if record.get("applicationid") else None,
        "is_active": not record.get("isdisabled"),
    }


def team_row(record: Record) -> Row:
    """A team: it may own records like a person."""
    return {"native_id": str(record["teamid"]), "name": record.get("name")}


def stage_row(record: Record, order: int, stages: Mapping[str, str]) -> Row:
    """A stage of a process."""
    native_id, name = str(record["processstageid"]), record.get("stagename")
    state = stages.get(native_id) or stages.get(str(name)) or "open"
    return {"native_id": native_id, "name": name, "pipeline_id": PIPELINE, "sort_order": order, "state": state}


def closed_stages(order: int) -> list[Row]:
    """The stages of deals that are won or lost."""
    rows = [("won", "Won", 1), ("lost", "Lost", 0)]
    return [
        {"native_id": state, "name": name, "pipeline_id": PIPELINE, "sort_order": at, "state": state, "probability": odds}
        for at, (state, name, odds) in enumerate(rows, start=order)
    ]


MAPPERS: Mapping[str, Callable[[Record, Place], Row | None]] = {
    "account": account_row,
    "contact": contact_row,
    "lead": lead_row,
    "opportunity": deal_row,
    "phonecall": call_row,
    "appointment": meeting_row,
    "email": email_row,
    "task": task_row,
    "incident": ticket_row,
    "product": product_row,
    "opportunityproduct": line_row,
    "salesorder": order_row,
    "salesorderdetail": order_line_row,
    "invoice": invoice_row,
    "invoicedetail": invoice_line_row,
    "campaign": campaign_row,
    "campaignresponse": member_row,
    "msfp_surveyinvite": send_row,
    VOICE: answer_row,
    "transactioncurrency": rate_row,
}
"""How a row of each table becomes a canonical one, by the table's logical name."""


def mapper_of(entity: str, kind: Kind) -> Callable[[Record, Place], Row | None]:
    """How a row of a table becomes one of an entity: campaigns and cases fill two."""
    others = {"campaign_costs": cost_row, "survey_responses": rating_row}
    is_other = kind.logical in {"campaign", "incident"}
    return others.get(entity, MAPPERS[kind.logical]) if is_other else MAPPERS[kind.logical]


def columns_of(entity: str, kinds: Iterable[Kind], fields: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that tables fill, as far as Dynamics has a value."""
    place = Place(ZoneInfo("UTC"), fields=fields)
    return frozenset(name for kind in kinds for name in mapper_of(entity, kind)({kind.key: "0", RATING: 5}, place) or ())
