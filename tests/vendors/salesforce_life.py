"""What else people do in an organisation: they invite guests and answer, give money back, call, and log calls later."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kpid.testing.crm import Crm, Record


def invite(crm: Crm, chance: random.Random) -> None:
    """Somebody is invited to a meeting, answers, or is taken off it: that changes nothing of the meeting itself."""
    invited, meetings, people = (sorted(crm.living(kind)) for kind in ("invitations", "meetings", "leads"))
    if invited and chance.random() < 0.6:
        one = chance.choice(invited)
        if chance.random() < 0.5:
            crm.delete("invitations", one, touch=True)
        else:
            crm.edit("invitations", one, answer=chance.choice(["Accepted", "Declined"]))
    elif meetings and people:
        crm.create("invitations", {"activity": chance.choice(meetings), "lead_id": chance.choice(people)})


def invited(crm: Crm) -> list[Record]:
    """The invitations to meetings that nobody has declined."""
    living, there = crm.living("invitations").values(), crm.living("meetings")
    return [one for one in living if one.values["activity"] in there and one.values.get("answer") != "Declined"]


def give_back(crm: Crm, order: str, chance: random.Random) -> None:
    """A part of an order is reduced; what is reduced has the order's lines."""
    of = crm.kinds["orders"].true(order).values
    less = {"net_amount": -Decimal(chance.randint(1, 50)), "is_reduction": True, "order_id": order, "status": "placed"}
    crm.create("orders", {"account_id": of.get("account_id"), "ordered_at": crm.clock.now(), "currency": "EUR", **less})


def call(crm: Crm, chance: random.Random) -> None:
    """Somebody calls, or makes a task of a call that there was."""
    now, deal = _second(crm), chance.choice([*sorted(crm.living("deals")), None])
    owner = chance.choice([*sorted(crm.living("users")), None])
    bare = [key for key, made in sorted(crm.living("voice_calls").items()) if "task" not in made.values]
    if bare and chance.random() < 0.6:
        task = crm.create("calls", {"subject": "Logged", "deal_id": deal, "owner_id": owner, "occurred_at": now})
        crm.edit("voice_calls", chance.choice(bare), task=task)
    else:
        spoken: dict[str, Any] = {"duration_s": chance.randint(1, 99), "occurred_at": now, "ended_at": now + timedelta(minutes=2)}
        crm.create("voice_calls", {"deal_id": deal, "owner_id": owner, **spoken})


def _second(crm: Crm) -> datetime:
    return crm.clock.now().replace(microsecond=0)
