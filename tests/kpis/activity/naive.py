"""The activity KPIs once more, row by row in plain Python, from the catalogue's words."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from kpid.analysis.calendar import DAY
from tests.kpis.company import NOW, alive, by_id, holds, linked, local_day, open_hours, spans, until, within

OWNERS = ("owner", "team", "region", "segment")


def ratio(facts, above, below):
    tops, bottoms = (sum(fact.get(name, 0) for fact in facts) for name in (above, below))
    return Fraction(tops, bottoms) if bottoms else None


def is_call(row, direction):
    return row["type"] == "call" and row["status"] in ("completed", None) and direction in ("all", row["direction"])


def calls(rows, period, direction="outbound", connected="false"):
    for row in alive(rows, "activities"):
        reached = (row["outcome"] or "").lower() == "connected" or (row["outcome"] is None and (row["duration_s"] or 0) > 0)
        if is_call(row, direction) and within(row["occurred_at"], period) and (connected == "false" or reached):
            yield {**row, "calls": 1}


def end_of(row):
    return row["ended_at"] or row["scheduled_end"] or row["occurred_at"]


def meetings(rows, period):
    for row in alive(rows, "activities"):
        if row["type"] == "meeting" and row["status"] not in ("cancelled", "no_show") and within(end_of(row), period):
            yield {**row, "meetings": 1}


def won(rows, period):
    return [{**row, "won": 1} for row in alive(rows, "deals") if row["state"] == "won" and within(row["closed_at"], period)]


def sellers(rows, period):
    for user in alive(rows, "users"):
        if user["role"] != "seller" or (user["is_active"] is False and user["active_to"] is None):
            continue
        days, day = 0, local_day(period.start)
        while day < local_day(period.end):
            hours = open_hours(user["calendar_id"], day)
            has_come = user["active_from"] is None or (hours and user["active_from"] < hours[-1][1])
            is_there = user["active_to"] is None or (hours and user["active_to"] > hours[0][0])
            days += bool(hours and hours[0][0] < until(period) and has_come and is_there)
            day += DAY
        if days:
            yield {"owner_id": user["id"], "sellers": 1, "days": days}


def sale_calls(rows, period, direction):
    to_deals, to_accounts = linked(rows, "deals"), linked(rows, "accounts")
    for call in alive(rows, "activities"):
        if not is_call(call, "all") or call["occurred_at"] is None:
            continue
        sales = []
        for deal in alive(rows, "deals"):
            if deal["state"] != "won" or deal["closed_at"] is None or not call["occurred_at"] <= deal["closed_at"] <= NOW:
                continue
            if deal["id"] == call["deal_id"] or deal["id"] in to_deals.get(call["id"], ()):
                sales.append((0, deal["closed_at"], deal["id"], deal))
            elif deal["account_id"] and (
                deal["account_id"] == call["account_id"] or deal["account_id"] in to_accounts.get(call["id"], ())
            ):
                sales.append((1, deal["closed_at"], deal["id"], deal))
        if sales and direction in ("all", call["direction"]):
            sale = min(sales)[3]
            if within(sale["closed_at"], period):
                yield {**sale, "calls": 1}


def booked(rows, period, link="any", direction="outbound"):
    for row in alive(rows, "activities"):
        if row["type"] != "meeting" or row["direction"] == "internal" or not within(row["created_at"], period):
            continue
        before = [
            call
            for call in alive(rows, "activities")
            if is_call(call, direction) and call["occurred_at"] and call["occurred_at"] <= row["created_at"]
            if any(row[key] is not None and row[key] == call[key] for key in ("deal_id", "account_id"))
        ]
        if link == "any" or before:
            yield {**row, "successes": 1}


def is_prospect(account, at, history):
    covering = [span for span in history.get(account["id"], []) if holds(span, at)]
    if covering and covering[-1]["status"] is not None:
        return covering[-1]["status"] == "prospect"
    became = account["became_customer_at"]
    is_later = account["lifecycle"] in ("customer", "former") and became is not None and became >= at
    return account["lifecycle"] == "prospect" or is_later


def outside_meetings(rows, period):
    accounts, contacts, leads, deals = (by_id(rows, name) for name in ("accounts", "contacts", "leads", "deals"))
    links = {kind: linked(rows, kind) for kind in ("accounts", "contacts", "leads")}
    history = spans(rows, "account_status_history", "account_id")
    for row in meetings(rows, period):
        if row["direction"] == "internal":
            continue
        at, key = end_of(row), row["id"]
        people = {row["contact_id"], *links["contacts"].get(key, ())}
        named = {row["account_id"], *links["accounts"].get(key, ())}
        named |= {contacts[person]["account_id"] for person in people if person in contacts}
        named |= {deals[row["deal_id"]]["account_id"]} if row["deal_id"] in deals else set()
        with_accounts = [accounts[name] for name in named if name in accounts]
        with_leads = [leads[name] for name in {row["lead_id"], *links["leads"].get(key, ())} if name in leads]
        prospect = any(is_prospect(account, at, history) for account in with_accounts)
        prospect |= any(lead["converted_at"] is None or lead["converted_at"] >= at for lead in with_leads)
        is_internal = with_accounts and not with_leads and all(account["lifecycle"] == "internal" for account in with_accounts)
        yield {**row, "outside": int(not is_internal), "prospects": int(prospect)}


def calls_for(rows, period, direction, link):
    return list(calls(rows, period, direction) if link == "any" else sale_calls(rows, period, direction))


def mix(rows, period, kind):
    for row in alive(rows, "activities"):
        if row["status"] in ("completed", None) and not row["is_automated"] and within(row["occurred_at"], period):
            yield {**row, "some": int(row["type"] == kind), "all": 1}


DIRECTIONS = ("outbound", "inbound", "all")
KPIS = {
    ("meetings_held", ()): (lambda r, p: list(meetings(r, p)), len, OWNERS),
    ("meeting_to_sale_ratio", ()): (
        lambda r, p: [*won(r, p), *outside_meetings(r, p)], lambda f: ratio(f, "won", "prospects"), OWNERS
    ),
    ("prospect_meeting_share", ()): (
        lambda r, p: list(outside_meetings(r, p)), lambda f: ratio(f, "prospects", "outside"), OWNERS
    ),
}  # fmt: skip
for direction, other in product(DIRECTIONS, ("false", "true")):
    KPIS["calls_made", (("connected_only", other), ("direction", direction))] = (
        lambda r, p, d=direction, o=other: list(calls(r, p, d, o)), len, (*OWNERS, "direction", "outcome"),
    )  # fmt: skip
for direction, per in product(DIRECTIONS, ("period", "working_day")):
    KPIS["calls_per_rep", (("direction", direction), ("per", per))] = (
        lambda r, p, d=direction: [*calls(r, p, d), *sellers(r, p)],
        lambda f, per=per: ratio(f, "calls", "sellers" if per == "period" else "days"), ("owner", "team", "region"),
    )  # fmt: skip
for direction, link in product(DIRECTIONS, ("any", "linked")):
    KPIS["calls_per_sale", (("direction", direction), ("link", link))] = (
        lambda r, p, d=direction, k=link: [*calls_for(r, p, d, k), *won(r, p)], lambda f: ratio(f, "calls", "won"), OWNERS
    )  # fmt: skip
    KPIS["call_success_rate", (("direction", direction), ("link", link), ("outcome", "sale"))] = (
        lambda r, p, d=direction, k=link: [*calls_for(r, p, d, k), *won(r, p)], lambda f: ratio(f, "won", "calls"), OWNERS
    )  # fmt: skip
    KPIS["call_success_rate", (("direction", direction), ("link", link), ("outcome", "meeting"))] = (
        lambda r, p, d=direction, k=link: [*calls(r, p, d), *booked(r, p, k, d)], lambda f: ratio(f, "successes", "calls"), OWNERS
    )  # fmt: skip
for kind in ("call", "meeting", "email", "task", "note", "message"):
    KPIS["activity_mix", (("type", kind),)] = (lambda r, p, k=kind: list(mix(r, p, k)), lambda f: ratio(f, "some", "all"), OWNERS)
