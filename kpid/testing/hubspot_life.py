"""What is in an invented HubSpot portal, and how it came to be."""

from __future__ import annotations

from datetime import datetime, timedelta

from kpid.testing.hubspot_portal import HubSpotPortal, stamp


def fill(portal: HubSpotPortal, deals: int) -> None:
    """A believable portal: companies, contacts, deals with stage changes, activities, tickets."""
    companies = [add_company(portal, number) for number in range(max(1, deals // 4))]
    for number in range(deals):
        add_deal(portal, number, company=portal.random.choice(companies))
    for number in range(deals // 10):
        add_ticket(portal, number, company=portal.random.choice(companies))


def some_owner(portal: HubSpotPortal) -> str | None:
    """Some owner's id, or none."""
    return portal.random.choice([*(str(owner["id"]) for owner in portal.owners), None])


def add_company(portal: HubSpotPortal, number: int, *, at: datetime | None = None) -> int:
    """A company with one contact."""
    at = at or _some_time_ago(portal, 300)
    company = portal.create(
        "companies",
        {"name": f"Example Works {number}", "domain": f"works{number}.example.com", "industry": "", "lifecyclestage": "lead"},
        at=at,
    )
    contact = {"firstname": "Ada", "lastname": f"Example {number}", "email": f"ada{number}@works{number}.example.com"}
    portal.create("contacts", {**contact, "associatedcompanyid": str(company)}, at=at)
    return company


def add_deal(portal: HubSpotPortal, number: int, *, company: int, at: datetime | None = None) -> int:
    """A deal with a life: open, then perhaps won or lost, with activities."""
    choose, changed = portal.random.choice, at or _some_time_ago(portal, 200)
    properties = {
        "dealname": f"Example deal {number}", "amount": choose(["", None, "12900.50", f"{portal.random.randint(1, 90)}000"]),
        "pipeline": "default", "dealstage": "appointmentscheduled", "deal_currency_code": choose(["EUR", "USD", "CHF", None]),
        "hubspot_owner_id": some_owner(portal), "closedate": stamp(changed + timedelta(days=60)),
        "dealtype": choose(["newbusiness", "existingbusiness", ""]),
    }  # fmt: skip
    deal = portal.create("deals", properties, at=changed, links={"companies": [company]})
    for stage in choose([(), ("contractsent",), ("contractsent", "closedwon"), ("closedlost",)]):
        latest = max(changed, portal.clock.now() - timedelta(minutes=10))
        changed = min(changed + timedelta(hours=portal.random.randint(1, 400)), latest)
        portal.edit("deals", deal, at=changed, dealstage=stage, **({"closedate": stamp(changed)} if "closed" in stage else {}))
    add_activities(portal, deal=deal, company=company, at=changed)
    add_commerce(portal, deal=deal, company=company, at=changed)
    return deal


def add_commerce(portal: HubSpotPortal, *, deal: int, company: int, at: datetime) -> None:
    """A product, a line of a deal with it, and an order and an invoice that came of it."""
    choose, links = portal.random.choice, {"deals": [deal], "companies": [company]}
    product = portal.create("products", {"name": "Example seat", "hs_sku": f"EX-{deal}", "price": "12.50"}, at=at)
    line = {
        "hs_product_id": str(product), "quantity": "4", "price": "12.50", "amount": choose(["50", "45"]), "discount": "",
        "recurringbillingfrequency": choose(["monthly", "annually", "biweekly", None]), "hs_line_item_currency_code": "EUR",
    }  # fmt: skip
    portal.create("line_items", line, at=at, links={"deals": [deal]})
    order = {
        "hs_external_order_status": choose(["Shipped", "paid", "Cancelled", None]), "hs_total_price": "59.50", "hs_tax": "9.50",
        "hs_currency_code": "EUR", "hs_external_created_date": stamp(at),
    }  # fmt: skip
    portal.create("orders", order, at=at, links=links)
    invoice = {"hs_invoice_status": choose(["draft", "open", "paid", "voided"]), "hs_amount_billed": "50", "hs_currency": "EUR"}
    portal.create("invoices", {**invoice, "hs_invoice_date": stamp(at)}, at=at, links=links)


def add_activities(portal: HubSpotPortal, *, deal: int, company: int, at: datetime) -> None:
    """A call, a meeting, an e-mail and a task about a deal."""
    choose, links = portal.random.choice, {"deals": [deal], "companies": [company]}
    call = {
        "hs_call_title": "Call", "hs_timestamp": stamp(at), "hs_call_direction": choose(["OUTBOUND", "INBOUND", None]),
        "hs_call_duration": "185000", "hs_call_status": "COMPLETED", "hubspot_owner_id": some_owner(portal),
    }  # fmt: skip
    portal.create("calls", call, at=at, links=links)
    meeting = {
        "hs_meeting_title": "Demo", "hs_timestamp": stamp(at), "hs_meeting_start_time": stamp(at),
        "hs_meeting_end_time": stamp(at + timedelta(hours=1)),
        "hs_meeting_outcome": choose(["SCHEDULED", "COMPLETED", "NO_SHOW", "CANCELED", None]),
    }  # fmt: skip
    portal.create("meetings", meeting, at=at, links=links)
    email = {
        "hs_timestamp": stamp(at), "hs_email_direction": choose(["EMAIL", "INCOMING_EMAIL", "FORWARDED_EMAIL"]),
        "hs_email_status": choose(["SENT", "BOUNCED", None]), "hs_email_subject": "Offer", "hubspot_owner_id": some_owner(portal),
    }  # fmt: skip
    portal.create("emails", email, at=at, links=links)
    task = {
        "hs_timestamp": stamp(at + timedelta(days=1)), "hs_task_status": choose(["NOT_STARTED", "COMPLETED"]),
        "hs_task_subject": "Call back", "hs_task_type": "CALL", "hubspot_owner_id": some_owner(portal),
    }  # fmt: skip
    portal.create("tasks", task, at=at, links=links)


def add_ticket(portal: HubSpotPortal, number: int, *, company: int) -> int:
    """A ticket, perhaps solved."""
    at, stage = _some_time_ago(portal, 100), portal.random.choice(["1", "4"])
    closed = stamp(at + timedelta(hours=5)) if stage == "4" else ""
    properties = {"subject": f"Question {number}", "hs_pipeline": "0", "hs_pipeline_stage": stage, "closed_date": closed}
    links = {"companies": [company]}
    ticket = portal.create("tickets", {**properties, "hubspot_owner_id": some_owner(portal)}, at=at, links=links)
    kind = portal.random.choice(["NPS", "CSAT", "CES", "CUSTOM"])
    answer = {"hs_survey_type": kind, "hs_value": "5", "hs_survey_id": "9", "hs_submission_timestamp": stamp(at)}
    portal.create("feedback_submissions", answer, at=at, links={**links, "tickets": [ticket]})
    return ticket


def _some_time_ago(portal: HubSpotPortal, days: int) -> datetime:
    return portal.clock.now() - timedelta(minutes=portal.random.randint(60, days * 24 * 60))
