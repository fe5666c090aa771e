"""The marketing KPIs once more, row by row in plain Python, from the catalogue's words: what the engine is compared with.

``KPIS[name, params]`` is ``(facts, value)``: ``facts(rows, period)`` lists what counts, each with what it is cut by, and
``value`` makes the figure of some facts.
"""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)
RATES = [("USD", date(2000, 1, 1), date(2017, 12, 1), Decimal("0.9")), ("USD", date(2017, 12, 1), None, Decimal("0.85"))]


class NoRateError(LookupError):
    """An amount counts that no exchange rate covers: the figure is an error."""


# ---- a small, nasty company


def random_rows(seed: int) -> dict[str, list[dict[str, Any]]]:  # noqa: C901 - a row maker per table
    rng = random.Random(seed)
    days = [NOW.date() - timedelta(days=back) for back in range(-3, 130)]
    edges = [datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC) for day in days if day.day == 1]
    edges += [NOW, datetime(2017, 10, 29, 1, tzinfo=UTC)]

    def instant(nulls=0.1):
        if rng.random() < nulls:
            return None
        if rng.random() < 0.3:
            return rng.choice(edges) + rng.choice([-1, 0, 1]) * timedelta(microseconds=1)
        return NOW - timedelta(days=135) + timedelta(minutes=rng.randrange(145 * 24 * 60))

    def after(start, most=40, nulls=0.3):
        """Mostly later than something, at once, or impossibly before it."""
        if start is None or rng.random() < nulls:
            return None
        return start + rng.choice([timedelta(0), DAY * rng.randrange(most), timedelta(minutes=rng.randrange(most * 1440)), -DAY])

    def day(nulls=0.1):
        return None if rng.random() < nulls else rng.choice(days)

    def marks():
        kind = rng.random()
        return {
            "deleted_at": NOW + timedelta(days=rng.choice([-1, 0, 7])) if kind < 0.06 else None,
            "merged_into_id": "1" if 0.06 < kind < 0.1 else None,
            "is_test": 0.1 < kind < 0.14,
        }

    def some(number, make):
        return [{"id": str(n), **make(n), **marks()} for n in range(rng.randrange(number // 2, number))]

    def one_of(*values):
        return rng.choice(values)

    def count(most):
        return rng.choice([None, 0, 1, rng.randrange(most), -1])

    def owner():
        return one_of("ada", "bob", "gone", None)

    def amount():
        return one_of(None, Decimal(0), Decimal("10.5"), Decimal(rng.randrange(1, 9999)) / 100, Decimal(-5))

    def currency():
        return one_of("EUR", "EUR", "EUR", None, "USD", "USD", "USD", "USD", *(["GBP"] if rng.random() < 0.1 else []))

    def campaign():
        return one_of("c1", "c2", "c3", None)

    def lead(_):
        created = instant()
        return {
            "created_at": created, "converted_at": after(created, 120), "qualified_at": after(created, 120),
            "disqualified_at": after(created, 60, 0.8), "first_response_at": after(created, 3, 0.7), "owner_id": owner(),
            "lead_source": one_of("web", "ads", None), "campaign": one_of("Spring", None), "campaign_id": campaign(),
            "region": one_of(None, "R"), "converted_account_id": one_of("0", "1", "2", "3", "4", "99", None, None),
            "converted_contact_id": one_of("k", None, None), "converted_deal_id": one_of("1", "2", "3", "77", None, None),
        }  # fmt: skip

    def deal(_):
        return {
            "state": one_of("won", "won", "lost", "open"), "closed_at": instant(), "amount": amount(), "currency": currency(),
            "account_id": one_of("0", "1", "2", "3", "4", "99", None), "lead_id": one_of("1", "2", "3", "88", None),
            "campaign_id": campaign(), "campaign": one_of("Spring", "Fair", None), "owner_id": owner(),
        }  # fmt: skip

    def account(n):
        return {
            "created_at": instant(), "lifecycle": one_of("prospect", "customer", "former", "internal", None),
            "became_customer_at": instant(0.5), "name": f"Account {n}", "owner_id": owner(), "segment": one_of("large", "small"),
            "lead_source": one_of("web", None), "region": one_of(None, "S"),
        }  # fmt: skip

    def status(_):
        begin = instant(0)
        return {
            "account_id": one_of("0", "1", "2", "99"), "status": one_of("prospect", "prospect", "active"), "valid_from": begin,
            "valid_to": after(begin),
        }  # fmt: skip

    def activity(_):
        return {
            "type": one_of("call", "email", "message", "meeting", "note"),
            "direction": one_of("inbound", "outbound", "internal", None),
            "status": one_of("completed", None, "planned"), "occurred_at": instant(), "owner_id": owner(),
            "lead_id": one_of("1", "2", "3", "4", "88", None), "contact_id": one_of("k", None), "account_id": one_of("1", None),
            "is_automated": one_of(False, None, True),
        }  # fmt: skip

    def send(_):
        sent = instant()
        opened = after(sent, 5, 0.4)
        return {
            "campaign_id": campaign(), "message_id": one_of("m1", "m2", None),
            "recipient_id": one_of("r1", "r2", "r3", "r4", None),
            "sent_at": sent, "delivered_at": after(sent, 1, 0.2), "bounced_at": after(sent, 1, 0.8),
            "bounce_kind": one_of("hard", "soft", None), "first_open_at": opened, "open_count": count(5),
            "machine_open_count": count(3), "first_click_at": after(opened, 2, 0.3), "click_count": count(4),
            "bot_click_count": count(3), "unsubscribed_at": after(sent, 9, 0.8),
        }  # fmt: skip

    def cost(_):
        first = day()
        return {
            "campaign_id": campaign(), "channel": one_of("web", "ads", None), "scope": one_of("marketing", "sales", None),
            "date": first, "last_day": one_of(None, first and first + DAY * rng.randrange(-3, 70)), "amount": amount(),
            "currency": currency(),
        }  # fmt: skip

    def member(_):
        shown = instant()
        return {
            "campaign_id": campaign(), "person_id": one_of("p1", "p2", "p3", None), "exposed_at": shown,
            "converted_at": after(shown, 60),
        }  # fmt: skip

    def web(_):
        kind = one_of("day", "day", None, "week", "month", "quarter")
        first = day()
        if first and kind == "week":
            first -= DAY * first.weekday()
        if first and kind in ("month", "quarter"):
            first = first.replace(day=1, month=10 if kind == "quarter" else first.month, year=2017)
        return {
            "period_kind": kind, "date": first, "channel": one_of("web", "ads", None), "page_group": one_of("shop", "help"),
            "visitors": count(50), "sessions": count(60), "bounces": count(30), "conversions": count(9), "duration_s": count(999),
        }  # fmt: skip

    def subscription(_):
        start = instant()
        return {
            "account_id": one_of("1", "2", "3", None), "started_at": start, "trial_end": after(start, 20),
            "plan": one_of("s", "m"),
            "ended_at": after(start, 60, 0.5), "status": one_of("trial", "active", "active", "ended", None),
            "amount": one_of(None, Decimal(0), Decimal(9)), "owner_id": one_of("ada", None),
        }  # fmt: skip

    def goal_of(row):
        return {name: value for name, value in row.items() if name not in ("visitors", "sessions", "bounces", "duration_s")}

    def membership(_):
        begin = instant()
        return {
            "list_id": one_of("news", "tips"), "person_id": one_of("p1", "p2", "p3", "p4", None), "valid_from": begin,
            "valid_to": after(begin, 50), "exit_reason": one_of("unsubscribed", "hard_bounce", "complaint", "removed", None),
        }  # fmt: skip

    return {
        "leads": some(25, lead), "deals": some(30, deal), "accounts": some(8, account), "account_status_history": some(9, status),
        "activities": some(40, activity), "email_sends": some(50, send), "campaign_costs": some(14, cost),
        "campaign_members": some(30, member), "web_daily": some(120, web), "list_membership_history": some(40, membership),
        "web_goals": [{**goal_of(row), "goal": one_of("buy", "sign up")} for row in some(60, web)],
        "activity_links": some(9, lambda _: {
            "activity_id": str(rng.randrange(40)), "object_type": one_of("leads", "leads", "deals"),
            "object_id": one_of("1", "2", "crm:3", "5"),
        }),
        "orders": some(25, lambda _: {
            "account_id": one_of("0", "1", "2", "3", None), "deal_id": one_of("1", "2", "3", None), "ordered_at": instant(),
            "status": one_of("placed", "paid", "cancelled", None), "net_amount": amount(), "currency": currency(),
        }),
        "attributions": some(30, lambda _: {
            "deal_id": one_of("1", "2", "3", "4", None), "order_id": one_of("1", "2", "3", None), "campaign_id": campaign(),
            "model": one_of("first", "last", "linear"), "weight": one_of(None, Decimal("0.5"), Decimal(1)),
        }),
        "subscriptions": some(40, subscription),
        "campaigns": [
            {"id": "c1", "name": "Spring", "channel": "web", "owner_id": "ada", **marks()},
            {"id": "c2", "name": None, "channel": None, "owner_id": None, **marks()},
        ],
        "users": [{"id": "ada", "name": "Ada Example", "team": "north"}, {"id": "bob", "name": "Bob Example", "team": None}],
        "fx_rates": [
            {"id": f"{n}", "from_currency": code, "to_currency": "EUR", "valid_from": start, "valid_to": end, "rate": rate}
            for n, (code, start, end, rate) in enumerate(RATES)
        ],
    }  # fmt: skip


# ---- what many KPIs need


def alive(rows, entity):
    def is_alive(row):
        is_deleted = row["deleted_at"] is not None and row["deleted_at"] <= NOW
        return not is_deleted and row["merged_into_id"] is None and not row["is_test"]

    return [row for row in rows[entity] if is_alive(row)]


def by_id(rows, entity):
    return {row["id"]: row for row in alive(rows, entity)}


def local_day(instant):
    return instant.astimezone(ZONE).date()


def known(instant):
    return instant is not None and instant <= NOW


def within(instant, period):
    return known(instant) and period.start <= instant < period.end


def ratio(above, below):
    return None if below == 0 else Fraction(above) / Fraction(below)


def total(facts, name):
    return sum((Fraction(fact[name]) for fact in facts if fact.get(name) is not None), Fraction(0))


def share(above, below):
    return lambda facts: ratio(total(facts, above), total(facts, below))


def in_euro(amount, currency, day):
    """The amount in euros; NoRateError as a value if there is no rate."""
    if amount is None or currency in (None, "EUR"):
        return None if amount is None else Fraction(amount)
    for code, start, end, rate in RATES:
        if code == currency and day is not None and start <= day and (end is None or day < end):
            return Fraction(amount) * Fraction(rate)
    return NoRateError


def money(name, *, excludes=False):
    """Sum of amounts; an amount without a rate is an error, or left out."""

    def add(facts):
        values = [fact[name] for fact in facts if fact.get(name) is not None]
        if NoRateError in values and not excludes:
            raise NoRateError
        return sum((value for value in values if value is not NoRateError), Fraction(0))

    return add


def campaign_of(rows, row, *, has_text=True):
    """The campaign that a record names: by id, else by name; name, channel and owner."""
    found = by_id(rows, "campaigns").get(row.get("campaign_id"), {})
    text = row.get("campaign") if has_text else None
    own = None if row.get("campaign_id") is None else f"crm:{row['campaign_id']}"
    return found.get("name") or text or own, found.get("channel"), found.get("owner_id")


def segment_of(fact, by, rows):
    user = next((user for user in rows["users"] if user["id"] == fact.get("owner_id")), {})
    account = next((account for account in rows["accounts"] if account["id"] == fact.get("account_id")), {})
    match by:
        case "owner" | "account":
            value = fact[f"{by}_id"]
            return None if value is None else f"crm:{value}"
        case "team":
            return user.get("team")
        case "segment":
            return account.get("segment")
        case _:
            return fact[by]


# ---- leads


def lead_fate(rows, lead, to):
    if not known(lead["converted_at"]):
        return False
    if to == "opportunity":
        if lead["converted_deal_id"] is not None:
            return True
        return lead["converted_account_id"] is None and lead["converted_contact_id"] is None
    deal = by_id(rows, "deals").get(lead["converted_deal_id"])
    account = by_id(rows, "accounts").get(lead["converted_account_id"])
    if deal is not None:
        return deal["state"] == "won" and (deal["closed_at"] is None or deal["closed_at"] <= NOW)
    if account is not None and account["became_customer_at"] is not None:
        return account["became_customer_at"] <= NOW
    if account is not None and account["lifecycle"] is not None:
        return account["lifecycle"] in ("customer", "former")
    return True


def leads_converted(to):
    return lambda rows, period: [
        {**lead, "n": 1} for lead in alive(rows, "leads") if within(lead["converted_at"], period) and lead_fate(rows, lead, to)
    ]


def lead_conversion(to="customer", horizon=90, mode="cohort", *, excludes=False):
    def facts(rows, period):
        found = []
        for lead in alive(rows, "leads"):
            if excludes and known(lead["disqualified_at"]):
                continue
            if within(lead["created_at"], period):
                in_time = lead["converted_at"] is not None and lead["converted_at"] - lead["created_at"] <= DAY * horizon
                is_converted = mode == "cohort" and lead_fate(rows, lead, to) and in_time
                found.append({**lead, "leads": 1, "converted": int(is_converted)})
            if mode == "period" and within(lead["converted_at"], period) and lead_fate(rows, lead, to):
                found.append({**lead, "converted": 1})
        return found

    return facts, share("converted", "leads")


def qualified(rows, period):
    return [
        {**lead, "leads": 1, "q": int(known(lead["qualified_at"]) and lead["qualified_at"] - lead["created_at"] <= DAY * 90)}
        for lead in alive(rows, "leads")
        if within(lead["created_at"], period)
    ]


def inquiries(channel="all", quiet=30):
    def facts(rows, period):
        leads = by_id(rows, "leads")
        touches = [
            row
            for row in alive(rows, "activities")
            if row["type"] in ("call", "email", "message")
            and row["status"] in ("completed", None)
            and row["direction"] != "internal"
            and known(row["occurred_at"])
        ]
        inbound = [row for row in touches if row["direction"] == "inbound" and not row["is_automated"]]
        found = []
        for row in inbound:
            who = row["lead_id"] or row["contact_id"] or row["account_id"] or f"!{row['id']}"
            kind = "lead_id" if row["lead_id"] else "contact_id" if row["contact_id"] else "account_id"
            before = [
                other["occurred_at"]
                for other in touches
                if other is not row
                and other["type"] == row["type"]
                and _person(other) == ((kind, who) if who[0] != "!" else None)
                and (other["occurred_at"], f"crm:{other['id']}") < (row["occurred_at"], f"crm:{row['id']}")
            ]
            is_quiet = not before or (row["occurred_at"] - max(before)) // timedelta(seconds=1) >= quiet * 86_400
            if within(row["occurred_at"], period) and is_quiet:
                lead = leads.get(row["lead_id"], {})
                found.append({"channel": row["type"], "lead_source": lead.get("lead_source"), "owner_id": row["owner_id"]})
        named = {row["lead_id"] for row in inbound}
        new = [lead for lead in leads.values() if lead["id"] not in named and within(lead["created_at"], period)]
        found += [{"channel": "form", "lead_source": lead["lead_source"], "owner_id": lead["owner_id"]} for lead in new]
        return [{**fact, "n": 1} for fact in found if channel in ("all", fact["channel"])]

    return facts


def _person(row):
    for kind in ("lead_id", "contact_id", "account_id"):
        if row[kind]:
            return kind, row[kind]
    return None


# ---- prospects


def survivors(rows):
    """Account by id: what was merged stands for the one that is left; None: does not count."""
    accounts = {row["id"]: row for row in rows["accounts"]}

    def find(key):
        row = accounts.get(key)
        if row is None:
            return key
        last = row
        for _ in range(2):
            last = accounts.get(last["merged_into_id"], last) if last["merged_into_id"] else last
        if last["merged_into_id"] or last["lifecycle"] == "internal" or last["is_test"] or row["is_test"] or is_gone(last):
            return None
        return None if is_gone(row) and not row["merged_into_id"] else last["id"]

    return find


def is_gone(row):
    return row["deleted_at"] is not None and row["deleted_at"] <= NOW


def prospects(transaction="deal", mode="period", *, distinct=True):  # noqa: C901 - told in one piece
    def facts(rows, period):
        find, spells = survivors(rows), defaultdict(list)
        told = set()
        for row in alive(rows, "account_status_history"):
            key = find(row["account_id"])
            told.add(key)
            if row["status"] == "prospect" and key is not None:
                spells["account", key].append((row["valid_from"], row["valid_to"]))
        for row in alive(rows, "accounts"):
            if row["id"] not in told:
                if row["lifecycle"] == "prospect":
                    spells["account", row["id"]].append((row["created_at"], None))
                elif row["lifecycle"] in ("customer", "former") and row["became_customer_at"]:
                    spells["account", row["id"]].append((row["created_at"], row["became_customer_at"]))
        for row in alive(rows, "leads"):
            ends = [instant for instant in (row["converted_at"], row["disqualified_at"]) if instant]
            key = ("lead", row["id"])
            if row["converted_account_id"] is not None:
                key = ("account", find(row["converted_account_id"]))
            if key[1] is not None:
                spells[key].append((row["created_at"], min(ends, default=None)))
        sales = sales_of(rows, transaction, find)
        found = []
        for key, some in spells.items():
            there = [spell for spell in some if counts_in(spell, period, mode)]
            if there:
                since = min((start for start, _ in there if start is not None), default=None)
                bought = sum(within(at, period) if mode == "period" else at >= since for at in sales[key])
                found.append({**_of(rows, key), "prospects": 1, "sales": min(bought, 1) if distinct else bought})
        return found

    return facts, share("sales", "prospects")


def counts_in(spell, period, mode):
    start, end = spell
    if mode == "cohort":
        return within(start, period)
    if start is None:
        return period.start <= NOW < period.end and (end is None or end > period.start)
    return start <= NOW and start < period.end and (end is None or end > period.start or start >= period.start)


def sales_of(rows, transaction, find):
    sales, leads = defaultdict(list), by_id(rows, "leads")
    if transaction == "order":
        for row in alive(rows, "orders"):
            key = find(row["account_id"])
            if row["status"] != "cancelled" and known(row["ordered_at"]) and key is not None:
                sales["account", key].append(row["ordered_at"])
        return defaultdict(list, {key: [min(at)] for key, at in sales.items()})
    for row in alive(rows, "deals"):
        if row["state"] == "won" and known(row["closed_at"]):
            lead = leads.get(row["lead_id"], {})
            account = row["account_id"] or lead.get("converted_account_id")
            key = ("account", find(account)) if account else ("lead", lead.get("id"))
            if key[1] is not None:
                sales[key].append(row["closed_at"])
    return sales


def _of(rows, key):
    entity, native = key
    row = next((row for row in rows[f"{entity}s"] if row["id"] == native), {})
    return {
        "owner_id": row.get("owner_id"), "lead_source": row.get("lead_source"), "region": row.get("region"),
        "account_id": native if entity == "account" and row else None,
    }  # fmt: skip


# ---- answers


def open_seconds(start, end):
    """Seconds of office hours (Monday to Friday, nine to five) between two instants."""
    if start is None or end is None:
        return None
    seconds, day = 0, local_day(start)
    while day <= local_day(end):
        if day.weekday() < 5:
            opens, closes = (datetime.combine(day, time(hour), ZONE).astimezone(UTC) for hour in (9, 17))
            first, last = max(start, opens), min(end, closes)
            seconds += max((whole(last - opens) if last > opens else 0) - (whole(first - opens) if first > opens else 0), 0)
        day += DAY
    return seconds


def whole(span):
    return span // timedelta(seconds=1)


def answers(clock):
    def facts(rows, period):
        activities, touches = by_id(rows, "activities"), defaultdict(list)
        pairs = [(row["lead_id"], row) for row in activities.values()]
        links = [link for link in alive(rows, "activity_links") if link["object_type"] == "leads"]
        known_links = [link for link in links if link["activity_id"] in activities]
        pairs += [(link["object_id"].removeprefix("crm:"), activities[link["activity_id"]]) for link in known_links]
        for lead, row in pairs:
            is_human = row["type"] in ("call", "email", "meeting", "message") and not row["is_automated"]
            if is_human and row["direction"] == "outbound" and row["status"] in ("completed", None) and known(row["occurred_at"]):
                touches[lead].append(row["occurred_at"])
        found = []
        for lead in alive(rows, "leads"):
            if not within(lead["created_at"], period):
                continue
            own = lead["first_response_at"]
            possible = [at for at in (*touches[lead["id"]], own) if known(at) and at >= lead["created_at"]]
            from_touches = [at for at in touches[lead["id"]] if at >= lead["created_at"]]
            if own is not None and own < lead["created_at"] and not from_touches:
                continue
            span = open_seconds if clock == "business" else (lambda start, end: end and whole(end - start))
            found.append({**lead, "wait": span(lead["created_at"], min(possible, default=None)), "leads": 1})
        return found

    return facts


def middle(q):
    def value(facts):
        waits = sorted(float("inf") if fact["wait"] is None else fact["wait"] for fact in facts)
        if not waits:
            return None
        place = (len(waits) - 1) * Fraction(q)
        low, part = int(place), place - int(place)
        if waits[low] == float("inf") or (part and waits[low + 1] == float("inf")):
            return None
        return waits[low] + part * (waits[low + 1] - waits[low]) if part else waits[low]

    return value


def mean_wait(facts):
    waits = [fact["wait"] for fact in facts if fact["wait"] is not None]
    return ratio(sum(waits), len(waits))


def in_time(seconds):
    return lambda facts: ratio(sum(fact["wait"] is not None and fact["wait"] <= seconds for fact in facts), len(facts))


# ---- costs


def costs(scopes=("marketing", None)):
    """The part of each cost that lies in the period and has come, in whole days."""

    def facts(rows, period):
        found = []
        first, last = local_day(period.start), min(local_day(period.end - timedelta(microseconds=1)), local_day(NOW))
        for row in alive(rows, "campaign_costs"):
            if row["scope"] not in scopes or row["date"] is None:
                continue
            end = row["last_day"] if row["last_day"] and row["last_day"] > row["date"] else row["date"]
            days = [row["date"] + DAY * n for n in range((end - row["date"]).days + 1)]
            mine = sum(first <= day <= last for day in days)
            value = in_euro(row["amount"], row["currency"], row["date"])
            if mine:
                name, channel, owner = campaign_of(rows, row)
                part = value if value in (None, NoRateError) else value * mine / len(days)
                found.append({
                    "cost": part, "campaign": name, "channel": row["channel"] or channel,
                    "lead_source": row["channel"] or channel,
                    "currency": row["currency"], "owner_id": owner, "of_campaign": row["campaign_id"],
                })  # fmt: skip
        return found

    return facts


def lead_costs(rows, period):
    spent = costs()(rows, period)
    priced = {fact["channel"] for fact in spent if fact["cost"] is not None} - {None}
    leads = [
        {"lead_source": lead["lead_source"], "channel": lead["lead_source"], "campaign": campaign_of(rows, lead)[0], "lead": 1}
        for lead in alive(rows, "leads")
        if within(lead["created_at"], period)
    ]
    return [{**fact, "lead": fact.get("lead", 0)} for fact in (*spent, *leads) if fact["channel"] in priced]


def cost_per_lead(*, excludes=False):
    return lambda facts: ratio(money("cost", excludes=excludes)(facts), total(facts, "lead"))


def exposed(window):
    def facts(rows, period):
        people = defaultdict(list)
        for row in alive(rows, "campaign_members"):
            people[row["campaign_id"], row["person_id"] or f"!{row['id']}"].append(row)
        found = []
        for some in people.values():
            first = min((row["exposed_at"] for row in some if row["exposed_at"]), default=None)
            if within(first, period):
                name, channel, owner = campaign_of(rows, some[0])
                later = [row["converted_at"] for row in some if known(row["converted_at"])]
                is_won = any(first <= at <= first + DAY * window for at in later)
                found.append({"campaign": name, "channel": channel, "owner_id": owner, "people": 1, "won": int(is_won)})
        return found

    return facts


def earned(kind, model):
    def facts(rows, period):
        entity, at = ("orders", "ordered_at") if kind == "orders" else ("deals", "closed_at")
        amount = "net_amount" if kind == "orders" else "amount"
        deals = by_id(rows, "deals")
        found = []
        for row in alive(rows, entity):
            counts = row["status"] != "cancelled" if kind == "orders" else row["state"] == "won"
            if not (counts and within(row[at], period)):
                continue
            value = in_euro(row[amount], row["currency"], local_day(row[at]))
            for campaign, weight in credit(rows, row, deals, kind, model):
                name, channel, owner = campaign_of(rows, campaign)
                part = value if value in (None, NoRateError) else value * weight
                found.append({"revenue": part, "campaign": name, "channel": channel, "owner_id": owner})
        return found

    return facts


def credit(rows, row, deals, kind, model):
    if model == "campaign_field":
        named = row if kind == "deals" else deals.get(row["deal_id"], {})
        return [(named, Fraction(1))] if named.get("campaign_id") or named.get("campaign") else []
    key = "order_id" if kind == "orders" else "deal_id"
    given = [a for a in alive(rows, "attributions") if a["model"] == model and a[key] == row["id"]]
    return [
        ({"campaign_id": a["campaign_id"]}, Fraction(1, len(given)) if a["weight"] is None else Fraction(a["weight"]))
        for a in given
        if a["campaign_id"]
    ]


def roi(form="net", model="campaign_field", revenue="deals", margin="1", *, excludes=False):
    factor = Fraction(margin) if revenue == "gross_profit" else Fraction(1)

    def facts(rows, period):
        spent = [fact for fact in costs()(rows, period) if fact["of_campaign"]]
        return [*spent, *earned("orders" if revenue == "orders" else "deals", model)(rows, period)]

    def value(some):
        income, cost = money("revenue", excludes=excludes)(some) * factor, money("cost", excludes=excludes)(some)
        return ratio(income - cost if form == "net" else income, cost)

    return facts, value


# ---- mails


def mails(rows, period):
    sends = defaultdict(list)
    for row in alive(rows, "email_sends"):
        sends[row["message_id"] or f"!{row['id']}", row["recipient_id"] or f"!{row['id']}"].append(row)
    found = []
    for tries in sends.values():
        sent = min((row["sent_at"] for row in tries if row["sent_at"]), default=None)
        if within(sent, period):
            ids = [row["campaign_id"] for row in tries if row["campaign_id"]]
            name, channel, _ = campaign_of(rows, {"campaign_id": max(ids, default=None)})
            found.append({"campaign": name, "channel": channel, "message_id": tries[0]["message_id"], **mail(tries), "sent": 1})
    return found


def mail(tries):
    delivered = any(known(row["delivered_at"]) and not known(row["bounced_at"]) for row in tries)
    bounced = [row for row in tries if known(row["bounced_at"])] if not delivered else []
    hard = any(row["bounce_kind"] == "hard" for row in bounced)
    opened = [row for row in tries if known(row["first_open_at"])]
    seen = [row for row in opened if not row["machine_open_count"] or _count(row, "open_count") > row["machine_open_count"]]
    clicked = any(
        known(row["first_click_at"]) and (not row["bot_click_count"] or _count(row, "click_count") > row["bot_click_count"])
        for row in tries
    )
    opens = [_count(row, "open_count") for row in opened]
    human = [_count(row, "open_count") - (row["machine_open_count"] or 0) for row in seen if _count(row, "open_count") > 0]
    return {
        "delivered": int(delivered), "bounced": int(bool(bounced)), "hard": int(hard),
        "soft": int(not hard and any(row["bounce_kind"] == "soft" for row in bounced)),
        "opened": int(bool(opened)), "seen": int(bool(seen)), "clicked": int(clicked),
        "opens": sum(number for number in opens if number > 0), "seen_times": sum(human),
        "left": int(any(known(row["unsubscribed_at"]) for row in tries)),
    }  # fmt: skip


def _count(row, name):
    return 1 if row[name] is None else row[name]


def delivery(form="delivery", kind="all"):
    name = {"all": "bounced"}.get(kind, kind)
    return lambda facts: ratio(
        total(facts, name) if form == "bounce" else total(facts, "sent") - total(facts, name), total(facts, "sent")
    )


def opening(base="delivered", opens="unique", machines="exclude"):
    def value(facts):
        some = [fact for fact in facts if fact[base]]
        name = ("seen_times", "opens") if opens == "total" else ("seen", "opened")
        above = total(some, name[machines == "include"])
        return ratio(above, len(some) - (sum(f["opened"] > f["seen"] for f in some) if machines == "estimate" else 0))

    return value


def click_to_open(machines):
    name = "opened" if machines == "include" else "seen"
    return lambda facts: ratio(total(facts, "clicked"), sum(fact[name] or fact["clicked"] for fact in facts))


def of_delivered(name):
    return lambda facts: ratio(sum(fact[name] and fact["delivered"] for fact in facts), total(facts, "delivered"))


def memberships(rows, period):
    people = defaultdict(list)
    for row in alive(rows, "list_membership_history"):
        start, end = row["valid_from"], row["valid_to"]
        if start is not None and (end is None or end >= start) and start <= NOW:
            people[row["list_id"], row["person_id"] or f"!{row['id']}"].append(row)
    found = []
    for (mailing_list, _), some in people.items():
        there = any(r["valid_from"] < period.start and (r["valid_to"] is None or r["valid_to"] >= period.start) for r in some)
        came = {r["valid_from"] for r in some if within(r["valid_from"], period)}
        lost = {
            r["valid_to"]
            for r in some
            if within(r["valid_to"], period) and r["exit_reason"] in ("unsubscribed", "hard_bounce", "complaint")
        }
        found.append({"mailing_list": mailing_list, "start": int(there), "change": len(came) - len(lost)})
    return found


# ---- the web site


def span_of(period):
    first, after = local_day(period.start), local_day(period.end)
    days = (after - first).days
    if days in (1, 7):
        return "day" if days == 1 else "week"
    months = (after.year - first.year) * 12 + after.month - first.month
    is_whole = first.day == 1 == after.day
    return {1: "month", 3: "quarter", 12: "year"}.get(months, "other") if is_whole else "other"


def visits(entity="web_daily", goal=""):
    def facts(rows, period):
        first, last = local_day(period.start), local_day(period.end - timedelta(microseconds=1))
        found = []
        for row in alive(rows, entity):
            kind = row["period_kind"] or "day"
            if row["date"] is None or row["date"] > local_day(NOW) or (goal and row["goal"] != goal):
                continue
            own = kind == span_of(period) and row["date"] == first
            if own or (kind == "day" and first <= row["date"] <= last):
                names = ("visitors", "sessions", "bounces", "conversions", "duration_s")
                numbers = {name: row[name] for name in names if row.get(name) is not None and row[name] >= 0}
                numbers = dict.fromkeys(names) | numbers
                found.append({**row, **numbers, "own": own, "is_day": kind == "day", "entity": entity})
        return found

    return facts


def best(facts, name):
    """The figure that the source counted for the very period, if there is one, else the sum over its days."""
    own = [fact for fact in facts if fact["own"] and fact.get(name) is not None]
    return total(own or [fact for fact in facts if fact["is_day"]], name)


def web_conversion(goal="", unit="visitor"):
    def facts(rows, period):
        return [*visits()(rows, period), *(visits("web_goals", goal)(rows, period) if goal else [])]

    def value(some):
        seen = [fact for fact in some if fact["entity"] == "web_daily"]
        done = [fact for fact in some if fact["entity"] == "web_goals"] if goal else seen
        below = total([fact for fact in seen if fact["own"]], "visitors") if unit == "visitor" else best(seen, "sessions")
        return ratio(best(done, "conversions"), below)

    return facts, value


def visit_duration(bounces):
    def value(facts):
        some = [fact for fact in facts if fact["duration_s"] is not None and fact["sessions"] is not None]
        if bounces == "exclude":
            some = [fact for fact in some if fact["bounces"] is not None and fact["bounces"] <= fact["sessions"]]
            some = [{**fact, "sessions": fact["sessions"] - fact["bounces"]} for fact in some]
        return ratio(best(some, "duration_s"), best(some, "sessions"))

    return value


def trials(horizon):
    def facts(rows, period):
        subscriptions = [row for row in alive(rows, "subscriptions") if row["started_at"]]
        paid = defaultdict(list)
        for row in subscriptions:
            begins = max(row["started_at"], row["trial_end"] or row["started_at"])
            goes_on = row["ended_at"] is None or row["ended_at"] > begins
            if row["status"] not in ("trial", None) and row["amount"] and row["amount"] > 0 and goes_on and known(begins):
                paid[row["account_id"] or f"!{row['id']}"].append(begins)
        found = defaultdict(list)
        for row in subscriptions:
            end, key = row["trial_end"], row["account_id"] or f"!{row['id']}"
            if end is not None and end >= row["started_at"] and within(end, period):
                won = any(row["started_at"] <= at <= end + DAY * horizon for at in paid[key])
                found[key, end].append({**row, "n": 1, "won": int(won)})
        best_of = [max(some, key=lambda fact: fact["won"]) for some in found.values()]
        plans = [max(fact["plan"] for fact in some) for some in found.values()]
        return [{**fact, "plan": plan} for fact, plan in zip(best_of, plans, strict=True)]

    return facts


# ---- all of them

LEAD_DIMS = ("owner", "lead_source", "campaign", "team")
MAIL_DIMS = ("campaign", "channel", "message_id")
N = money("n")
HALF, NINE_TENTHS = Fraction(1, 2), Fraction(9, 10)

KPIS: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {
    **{("leads_converted", (("to", to),)): (leads_converted(to), N, LEAD_DIMS) for to in ("customer", "opportunity")},
    **{
        ("lead_conversion_rate", (("exclude_disqualified", text), ("horizon_days", str(days)), ("mode", mode), ("to", to))): (
            *lead_conversion(to, days, mode, excludes=text == "true"), LEAD_DIMS,
        )
        for to in ("customer", "opportunity") for days in (90, 7) for mode in ("cohort", "period") for text in ("false", "true")
    },
    ("mql_to_sql_rate", ()): (qualified, share("q", "leads"), LEAD_DIMS),
    **{
        ("inbound_inquiries", (("channel", channel), ("quiet_days", str(quiet)))): (
            inquiries(channel, quiet), N, ("owner", "lead_source", "channel"),
        )
        for channel in ("all", "call", "email", "message", "form") for quiet in (30, 0)
    },
    **{
        ("prospect_conversion_rate", (("distinct", str(distinct).lower()), ("mode", mode), ("transaction", sale))): (
            *prospects(sale, mode, distinct=distinct), ("owner", "lead_source", "account", "segment"),
        )
        for sale in ("deal", "order") for mode in ("period", "cohort") for distinct in (True, False)
    },
    **{
        ("lead_response_time", (("clock", clock), ("stat", stat))): (answers(clock), value, LEAD_DIMS)
        for clock in ("calendar", "business")
        for stat, value in (("median", middle(HALF)), ("p90", middle(NINE_TENTHS)), ("mean", mean_wait))
    },
    **{
        ("answered_share", (("clock", clock), ("within", within_)) ): (answers(clock), in_time(seconds), LEAD_DIMS)
        for clock in ("calendar", "business") for within_, seconds in (("60m", 3600), ("2d", 172_800))
    },
    **{
        ("marketing_spend", (("missing_fx", fx), ("scope", scope))): (
            costs(scopes), money("cost", excludes=fx == "exclude"), ("campaign", "channel", "currency"),
        )
        for fx in ("error", "exclude")
        for scope, scopes in (("marketing", ("marketing", None)), ("sales", ("sales",)), ("all", ("marketing", "sales", None)))
    },
    **{
        ("cost_per_lead", (("missing_fx", fx),)): (
            lead_costs, cost_per_lead(excludes=fx == "exclude"), ("lead_source", "campaign"),
        )
        for fx in ("error", "exclude")
    },
    **{
        ("campaign_conversion_rate", (("window_days", str(days)),)): (
            exposed(days), share("won", "people"), ("campaign", "channel", "owner"),
        )
        for days in (30, 3)
    },
    **{
        ("campaign_roi", (("attribution", model), ("form", form), ("margin", "0.4"), ("missing_fx", fx), ("revenue", kind))): (
            *roi(form, model, kind, "0.4", excludes=fx == "exclude"), ("campaign", "owner"),
        )
        for model in ("campaign_field", "first", "last", "linear") for form in ("net", "ratio") for fx in ("error", "exclude")
        for kind in ("deals", "orders", "gross_profit")
    },
    **{
        (f"emails_{id_}", ()): (mails, money(name), MAIL_DIMS)
        for id_, name in (
            ("sent", "sent"), ("delivered", "delivered"), ("opened_unique", "opened"), ("clicked_unique", "clicked"),
            ("bounced", "bounced"), ("unsubscribed", "left"),
        )
    },
    **{
        ("email_delivery_rate", (("form", form), ("kind", kind))): (mails, delivery(form, kind), MAIL_DIMS)
        for form in ("delivery", "bounce") for kind in ("all", "hard", "soft")
    },
    **{
        ("email_open_rate", (("base", base), ("machine_opens", machines), ("opens", opens))): (
            mails, opening(base, opens, machines), MAIL_DIMS,
        )
        for base in ("delivered", "sent") for opens in ("unique", "total") for machines in ("exclude", "include", "estimate")
    },
    ("email_click_rate", ()): (mails, of_delivered("clicked"), MAIL_DIMS),
    ("email_unsubscribe_rate", ()): (mails, of_delivered("left"), MAIL_DIMS),
    **{
        ("email_click_to_open_rate", (("machine_opens", machines),)): (mails, click_to_open(machines), MAIL_DIMS)
        for machines in ("exclude", "include")
    },
    **{("trial_conversion_rate", (("horizon_days", str(n)),)): (trials(n), share("won", "n"), ("plan",)) for n in (14, 2)},
    ("list_growth_rate", ()): (memberships, share("change", "start"), ("mailing_list",)),
    **{
        ("website_conversion_rate", (("goal", goal), ("unit", unit))): (*web_conversion(goal, unit), ("channel", "page_group"))
        for goal in ("", "buy") for unit in ("visitor", "session")
    },
    **{
        ("avg_visit_duration", (("bounces", bounces),)): (visits(), visit_duration(bounces), ("channel", "page_group"))
        for bounces in ("include", "exclude")
    },
}  # fmt: skip
