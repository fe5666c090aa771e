"""HubSpot's marketing on this machine: campaigns with budgets, and the log of what became of e-mails."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kpid.clock import Clock
from kpid.testing.api import Answer, Request
from kpid.testing.hubspot_shapes import error, paged

MOST = 1000
"""Events of one page."""


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


@dataclass
class Marketing:
    """What a test puts there.

    Args:
        clock: says when things happen.
        campaigns: with ``id``, ``properties`` and times, as the API shows them.
        budgets: totals by campaign.
        events: in the order in which they were logged.
    """

    clock: Clock
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def add_campaign(self, guid: str, *, spent: Mapping[str, tuple[float, datetime]] | None = None, **properties: str) -> None:
        """A campaign, and what was spent on it: by name an amount and when it was entered. None: it has no budget."""
        now = self.clock.now().isoformat()
        self.campaigns.append({"id": guid, "properties": properties, "createdAt": now, "updatedAt": now})
        if spent is not None:
            items = [
                {"id": str(number), "name": name, "amount": amount, "createdAt": _ms(at), "updatedAt": _ms(at)}
                for number, (name, (amount, at)) in enumerate(spent.items(), start=1)
            ]
            total = sum(amount for amount, _ in spent.values())
            self.budgets[guid] = {"budgetTotal": 9000, "spendTotal": total, "currencyCode": "EUR", "spendItems": items}

    def log(self, kind: str, *, mailing: int, at: datetime | None = None, sent: str | None = None, **more: Any) -> str:
        """Something that happened to an e-mail; gives the event's id. ``sent``: the event of its sending."""
        event = {"id": f"e{len(self.events)}", "type": kind, "created": _ms(at or self.clock.now()), "emailCampaignId": mailing}
        if sent is not None:
            event["sentBy"] = {"id": sent, "created": 0}
        self.events.append({**event, "appId": 113, "recipient": "ada@example.com", "filteredEvent": False, **more})
        return str(event["id"])

    def live(self, chance: random.Random, *, campaigns: bool, mailings: bool) -> None:
        """What marketing does, and what readers do."""
        if campaigns and chance.random() < 0.4 and len(self.campaigns) > 1:
            self.campaigns.pop(chance.randrange(len(self.campaigns)))
        elif campaigns:
            spent = chance.choice([None, {}, {"Ads": (float(chance.randint(1, 99)), self.clock.now())}])
            self.add_campaign(f"guid-{chance.random()}", spent=spent, hs_name="Campaign")
        if mailings:
            for _ in range(chance.randint(0, 3)):
                self.log("SENT", mailing=chance.randint(1, 4))
            if sent := [event for event in self.events if event["type"] == "SENT"]:
                event = chance.choice(sent)
                self.log(chance.choice(["OPEN", "CLICK", "DELIVERED"]), mailing=event["emailCampaignId"], sent=event["id"])

    # -- endpoints -----------------------------------------------------------------------------------------------------------

    def listed(self, request: Request) -> Answer:
        """Campaigns, with the properties asked for."""
        wanted = request.arg("properties").split(",")
        shown = [
            {**one, "properties": {name: value for name, value in one["properties"].items() if name in wanted}}
            for one in self.campaigns
        ]
        return Answer(200, paged(shown, int(request.arg("after") or 0), int(request.arg("limit", "50"))))

    def totals(self, request: Request) -> Answer:
        """A campaign's budget."""
        found = self.budgets.get(request.match["guid"])
        return error(404, "OBJECT_NOT_FOUND", "no budget") if found is None else Answer(200, found)

    def logged(self, request: Request) -> Answer:
        """Events, newest first. A mailing is named by its application and its number."""
        if request.arg("campaignId") and not request.arg("appId"):
            return error(400, "VALIDATION_ERROR", "campaignId needs appId")
        start, end = int(request.arg("startTimestamp") or 0), int(request.arg("endTimestamp") or 10**15)
        found = [
            event
            for event in reversed(self.events)
            if start <= event["created"] <= end
            and request.arg("campaignId", str(event["emailCampaignId"])) == str(event["emailCampaignId"])
        ]
        offset, limit = int(request.arg("offset") or 0), min(MOST, int(request.arg("limit", "10")))
        following = offset + limit
        return Answer(200, {"hasMore": following < len(found), "offset": str(following), "events": found[offset:following]})
