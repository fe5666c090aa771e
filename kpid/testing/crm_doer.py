"""What people do all day in an invented CRM: they add, change, delete, restore, merge and import records of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from kpid.testing.crm import STAGES, Crm
from kpid.testing.crm_life import add_account, person, some

Values: TypeAlias = dict[str, Any]

SUBJECTS = frozenset({"calls", "meetings", "emails", "tasks", "tickets"})
"""Kinds whose records are named by a subject."""
NAMELESS = frozenset({"lines", "orders", "members", "surveys", "comments", "contracts", "invites", "influences"})
"""Kinds whose records have no name."""


def _now(crm: Crm) -> datetime:
    """To the second: vendors tell no more."""
    return crm.clock.now().replace(microsecond=0)


def _activity(crm: Crm) -> Values:
    """What an activity is about."""
    return {"subject": "New", "deal_id": some(crm, "deals"), "account_id": some(crm, "accounts"), "owner_id": some(crm, "users")}


def _line(crm: Crm) -> Values:
    price = Decimal(crm.random.randint(10, 900))
    priced = {"quantity": Decimal(2), "unit_price": price, "amount": price * 2, "currency": "EUR"}
    return {"deal_id": some(crm, "deals"), "product_id": some(crm, "products"), **priced}


def _order(crm: Crm) -> Values:
    about = {"account_id": some(crm, "accounts"), "deal_id": some(crm, "deals"), "owner_id": some(crm, "users")}
    net = Decimal(crm.random.randint(1, 999))
    return {
        **about,
        "ordered_at": _now(crm),
        "status": "placed",
        "net_amount": net,
        "currency": "EUR",
    }


def _survey(crm: Crm) -> Values:
    asked = {"respondent_id": some(crm, "contacts"), "account_id": some(crm, "accounts"), "kind": "nps"}
    return {**asked, "score": crm.random.randint(0, 10), "submitted_at": _now(crm)}


def _comment(crm: Crm) -> Values | None:
    ticket, chance = some(crm, "tickets"), crm.random
    told = {"ticket_id": ticket, "at": crm.clock.now(), "author_role": chance.choice(["agent", "end_user"])}
    return told | {"via": chance.choice(["mail", "comment"])} if ticket else None


def _contract(crm: Crm) -> Values:
    ends = (crm.clock.now() + timedelta(days=300)).date()
    about = {"account_id": some(crm, "accounts"), "owner_id": some(crm, "users"), "name": "Care"}
    return {**about, "starts_on": crm.clock.now().date(), "ends_on": ends, "status_code": "Activated"}


def _influence(crm: Crm) -> Values | None:
    deal, campaign = some(crm, "deals"), some(crm, "campaigns")
    return {"deal_id": deal, "campaign_id": campaign, "share": Decimal(crm.random.randint(1, 100))} if deal and campaign else None


ADDED: Mapping[str, Callable[[Crm], Values | None]] = {
    "users": lambda crm: person(crm.random.randint(100, 999)) | {"is_active": True},
    "contacts": lambda crm: person(crm.random.randint(100, 999)) | {"account_id": some(crm, "accounts")},
    "leads": lambda crm: person(crm.random.randint(100, 999)) | {"company": "Example Start", "status": "new"},
    "calls": lambda crm: _activity(crm) | {"occurred_at": _now(crm), "duration_s": 60, "status": "completed"},
    "meetings": lambda crm: _activity(crm) | {"scheduled_start": _now(crm), "occurred_at": _now(crm)},
    "emails": lambda crm: _activity(crm) | {"occurred_at": _now(crm), "direction": "inbound"},
    "tasks": lambda crm: _activity(crm) | {"scheduled_end": _now(crm), "status": "planned"},
    "tickets": lambda crm: {"subject": "New", "status": "open", "account_id": some(crm, "accounts")},
    "products": lambda crm: {"name": "New", "code": f"N{crm.random.randint(1, 999)}", "is_active": True},
    "campaigns": lambda crm: {
        "name": "New", "starts_on": crm.clock.now().date(), "cost": Decimal(crm.random.randint(1, 9000)), "currency": "EUR",
    },
    "lines": _line,
    "orders": _order,
    "members": lambda crm: {"campaign_id": some(crm, "campaigns"), "person_id": some(crm, "contacts")},
    "surveys": _survey,
    "comments": _comment,
    "contracts": _contract,
    "invites": lambda crm: {"respondent_id": some(crm, "contacts"), "kind": "nps"},
    "influences": _influence,
}  # fmt: skip
"""What a new record of each kind holds; None: there is nothing yet that it could belong to."""
CHANGED: Mapping[str, Callable[[Crm], Values]] = {
    "products": lambda crm: {"code": f"E{crm.random.randint(1, 999)}", "is_active": crm.random.random() < 0.5},
    "campaigns": lambda crm: {"cost": Decimal(crm.random.randint(1, 9000))},
    "lines": _line,
    "orders": lambda crm: {
        "net_amount": Decimal(crm.random.randint(1, 999)), "status": crm.random.choice(["placed", "cancelled"]),
    },
    "members": lambda crm: {"campaign_id": some(crm, "campaigns")},
    "surveys": lambda crm: {"score": crm.random.randint(0, 10)},
    "comments": lambda crm: {"author_role": crm.random.choice(["agent", "end_user"])},
    "contracts": lambda crm: {"status_code": crm.random.choice(["Activated", "Terminated"]), "account_id": some(crm, "accounts")},
    "invites": lambda crm: {"respondent_id": some(crm, "contacts")},
    "influences": lambda crm: {"share": Decimal(crm.random.randint(1, 100))},
    "calls": lambda crm: {"duration_s": crm.random.randint(1, 999)},
    "tasks": lambda crm: {"status": crm.random.choice(["planned", "completed"])},
}  # fmt: skip
"""What else may change in a record than its name and its owner."""


@dataclass(frozen=True, slots=True)
class Doer:
    """Somebody who does one thing or another in a CRM.

    Args:
        crm: where.
        chance: what.
        can: what the vendor can do, of :data:`~kpid.testing.bench.ABILITIES`; ``touched`` if deleting changes the modified time.
        mergeable: kinds whose records can be merged.
        kinds: kinds that are added, edited and deleted.
    """

    crm: Crm
    chance: random.Random
    can: frozenset[str] = frozenset()
    mergeable: tuple[str, ...] = ("accounts",)
    kinds: tuple[str, ...] = ("deals", "deals", "deals", "accounts", "contacts", "leads", "calls", "tickets")

    def do_something(self) -> None:
        """One thing that people do."""
        doings = (self.edit, self.edit, self.move, self.move, self.add, self.add_beside, self.delete, self.restore, self.merge)
        self.chance.choice((*doings, self.purge, self.convert, self.bring_in))()

    def edit(self) -> None:
        """Give a record another name and another owner, or other values."""
        if found := self._one(kind := self.chance.choice(self.kinds)):
            changes = CHANGED[kind](self.crm) if kind in CHANGED else {}
            if kind not in NAMELESS:
                changes["subject" if kind in SUBJECTS else "name"] = f"Edited {self.chance.random()}"
                changes["owner_id"] = some(self.crm, "users")
            self.crm.edit(kind, found, **changes)

    def move(self) -> None:
        """Put a deal into a stage: it is won, lost, opened again or sent back."""
        if deal := self._one("deals"):
            self.crm.move(deal, self.chance.choice(list(STAGES)))

    def add(self) -> None:
        """Add a deal, perhaps of a new company."""
        is_new = self.chance.random() < 0.4
        account = add_account(self.crm, at=self.crm.clock.now()) if is_new else some(self.crm, "accounts")
        amount = Decimal(self.chance.randint(1, 999))
        self.crm.add_deal(account_id=account, owner_id=some(self.crm, "users"), amount=amount)

    def add_beside(self) -> None:
        """Add a record of another kind."""
        kind = self.chance.choice(self.kinds)
        if values := ADDED[kind](self.crm) if kind in ADDED else None:
            self.crm.create(kind, values)

    def delete(self) -> None:
        """Delete a record."""
        if found := self._one(kind := self.chance.choice(self.kinds)):
            self.crm.delete(kind, found, touch="touched" in self.can)

    def restore(self) -> None:
        """Take a deleted record back."""
        kind = self.chance.choice(self.kinds)
        binned = [record.id for record in self.crm.gone(kind) if record.merged_into is None]
        if binned and "restore" in self.can:
            self.crm.restore(kind, self.chance.choice(binned))

    def merge(self) -> None:
        """Merge two records."""
        if "merges" in self.can and self.mergeable:
            alive = sorted(self.crm.living(kind := self.chance.choice(self.mergeable)))
            if len(alive) > 1:
                self.crm.merge(kind, *self.chance.sample(alive, 2))

    def purge(self) -> None:
        """Remove a record without a trace."""
        if {"purge", "listing"} <= self.can and (found := self._one(kind := self.chance.choice(self.kinds))):
            self.crm.purge(kind, found)

    def convert(self) -> None:
        """Make an account, a contact and a deal of a lead."""
        leads = [key for key, record in self.crm.living("leads").items() if record.values.get("status") == "new"]
        if leads:
            self.crm.convert_lead(self.chance.choice(sorted(leads)))

    def bring_in(self) -> None:
        """Import deals, all with one instant of change."""
        self.crm.bulk("deals", 30)

    def _one(self, kind: str) -> str | None:
        alive = sorted(self.crm.living(kind))
        return self.chance.choice(alive) if alive else None
