"""What an invented CRM holds: thousands of records with the traps that real ones have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kpid.testing.crm import Crm

CURRENCIES = ("EUR", "USD", "CHF")
_DAY = timedelta(days=1)
_CENTS = (Decimal("0.50"), Decimal("0.00"), Decimal("250.99"))


def fill(crm: Crm, deals: int = 2000) -> None:
    """A believable CRM: people, companies, deals with lives, and all that hangs on them.

    Among them: amounts that are null or zero, three currencies, deals that were opened again, stages entered twice, calls without
    a direction, times near midnight in a far zone, an owner who has left, converted leads.
    """
    for number in range(6):
        crm.create("users", person(number) | {"is_active": number != 5}, at=_ago(crm, 800))
    for number in range(8):
        crm.create("products", {"name": f"Product {number}", "code": f"P{number}", "is_active": number != 7}, at=_ago(crm, 700))
    for number in range(3):
        starts = (crm.clock.now() - _DAY * 90).date()
        crm.create(
            "campaigns", {"name": f"Campaign {number}", "starts_on": starts, "cost": Decimal("4100.00"), "currency": "EUR"}
        )
    spoken = {"occurred_at": crm.clock.now() - _DAY, "ended_at": crm.clock.now() - _DAY, "duration_s": 95}
    crm.create("voice_calls", {**spoken, "owner_id": crm.pool("users")[0]}, at=crm.clock.now() - _DAY)
    for _ in range(max(1, deals // 4)):
        add_account(crm)
    for number in range(deals):
        _live(crm, number)
    for number in range(deals // 10):
        ticket = add_ticket(crm)
        if number % 2:
            at = crm.living("tickets")[ticket].created + timedelta(hours=1)
            crm.create("comments", {"ticket_id": ticket, "author_role": "agent", "via": "mail", "at": at}, at=at)
        add_lead(crm, converted=number % 3 == 0)
    if (meetings := crm.pool("meetings")) and (leads := crm.pool("leads")):
        crm.create("invitations", {"activity": meetings[0], "lead_id": leads[0]}, at=crm.clock.now() - _DAY)


def add_account(crm: Crm, *, at: datetime | None = None) -> str:
    """A company with a contact; gives its id."""
    number, at = len(crm.living("accounts")) + 1 if at else crm.random.randint(1, 99_999), at or _ago(crm, 500)
    owner = some(crm, "users")
    account = crm.create(
        "accounts", {"name": f"Example Works {number}", "domain": f"w{number}.example.com", "owner_id": owner}, at=at
    )
    crm.create("contacts", person(number) | {"account_id": account, "owner_id": owner}, at=at)
    return account


def add_lead(crm: Crm, *, converted: bool = False) -> str:
    """A lead; gives its id."""
    values = person(crm.random.randint(100, 999)) | {"company": "Example Start", "status": "new", "lead_source": "Web"}
    lead = crm.create("leads", values | {"owner_id": some(crm, "users")}, at=_ago(crm, 100))
    if converted:
        crm.convert_lead(lead)
    return lead


def add_ticket(crm: Crm) -> str:
    """A ticket, perhaps closed; gives its id."""
    at, is_closed = _ago(crm, 100), crm.random.random() < 0.6
    values = {"subject": "Question", "account_id": some(crm, "accounts"), "owner_id": some(crm, "users"), "priority": "high"}
    state = {"status": "closed", "closed_at": at + timedelta(hours=5)} if is_closed else {"status": "open"}
    return crm.create("tickets", {**values, **state}, at=at)


def _live(crm: Crm, number: int) -> str:
    """A deal with a life, and what hangs on it."""
    chance, at = crm.random, _ago(crm, 400)
    amount = chance.choice([None, Decimal("0.00"), *(Decimal(chance.randint(1, 90)) * 1000 + cents for cents in _CENTS)])
    values = {"account_id": some(crm, "accounts"), "owner_id": some(crm, "users"), "primary_contact_id": some(crm, "contacts")}
    expected = (at + _DAY * 60).date()
    deal = crm.add_deal(at=at, amount=amount, currency=chance.choice(CURRENCIES), expected_close_date=expected, **values)
    lives = [(), ("offer",), ("offer", "won"), ("offer", "talks", "lost"), ("won", "offer"), ("offer", "talks", "offer", "won")]
    for stage in chance.choice(lives):  # some are opened again, some go through a stage twice
        at = min(at + timedelta(hours=chance.randint(1, 700)), crm.clock.now() - timedelta(minutes=20))
        crm.move(deal, stage, at=at)
    if number % 50 == 7:  # in a far zone the day is another one
        crm.edit("deals", deal, at=at, closed_at=at.astimezone(UTC).replace(hour=10, minute=59) if at.hour > 11 else at)
    about = {"deal_id": deal, "account_id": values["account_id"], "owner_id": values["owner_id"]}
    _meet(crm, number, about, at)
    if number % 2:
        price = Decimal(chance.randint(10, 900))
        line = {"product_id": some(crm, "products"), "quantity": Decimal(2), "unit_price": price, "amount": price * 2}
        crm.create("lines", {"deal_id": deal, "currency": "EUR", **line}, at=at)
    if number % 5 == 0:
        order = {"ordered_at": at, "status": "placed", "net_amount": Decimal("99.50"), "currency": "EUR"}
        crm.create("orders", {**about, **order}, at=at)
        crm.create("members", {"campaign_id": some(crm, "campaigns"), "person_id": values["primary_contact_id"]}, at=at)
    if number % 9 == 0:
        person = {"respondent_id": values["primary_contact_id"], "account_id": values["account_id"]}
        crm.create("invites", {"respondent_id": values["primary_contact_id"], "kind": "nps"}, at=at)
        crm.create("contracts", {"account_id": values["account_id"], "name": "Care", "starts_on": at.date()}, at=at)
        share = {"deal_id": deal, "campaign_id": crm.pool("campaigns")[0], "share": Decimal(40)}
        crm.create("influences", share, at=at)
        crm.create("surveys", {**person, "kind": "nps", "score": chance.randint(0, 10), "submitted_at": at}, at=at)
    return deal


def _meet(crm: Crm, number: int, about: dict[str, Any], at: datetime) -> None:
    """A call, and now and then a meeting, an e-mail, a task."""
    direction = crm.random.choice(["outbound", "inbound", None])
    call = {"subject": "Call", "occurred_at": at, "direction": direction, "duration_s": 185, "status": "completed"}
    crm.create("calls", {**about, **call}, at=at)
    match number % 4:
        case 0:
            meeting = {"scheduled_start": at, "scheduled_end": at + timedelta(hours=1), "occurred_at": at, "status": "completed"}
            crm.create("meetings", {**about, "subject": "Demo", **meeting}, at=at)
        case 1:
            crm.create("emails", {**about, "subject": "Offer", "occurred_at": at, "direction": "outbound"}, at=at)
        case 2:
            crm.create("tasks", {**about, "subject": "Call back", "scheduled_end": at + _DAY, "status": "planned"}, at=at)


def some(crm: Crm, kind: str) -> str | None:
    """Some record's id; None if there is none, and now and then."""
    known = crm.pool(kind)
    return crm.random.choice(known) if known and crm.random.random() > 0.05 else None


def person(number: int) -> dict[str, Any]:
    """What is known of somebody."""
    return {"name": f"Ada Example {number}", "email": f"ada{number}@example.com"}


def _ago(crm: Crm, days: int) -> datetime:
    return crm.clock.now() - timedelta(minutes=crm.random.randint(60, days * 24 * 60))
