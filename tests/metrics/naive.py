"""The KPIs once more, row by row in plain Python: what the engine is compared with. Deliberately slow and simple."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from kpid.model import Period

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
NIGHTS = {date(2017, 10, 29), date(2017, 11, 5), date(2018, 4, 1), date(2017, 8, 13), date(2011, 12, 30), date(2011, 12, 31)}
"""Days on which clocks change, or that never were."""
Rows = Mapping[str, list[dict[str, Any]]]
NEW_RATE = date(2017, 12, 1)
EXCLUDES = False
Naive = Callable[[dict[str, list[dict[str, Any]]], Period], Any]
RATES = {"USD": [(date(2000, 1, 1), NEW_RATE, Decimal("0.9")), (NEW_RATE, None, Decimal("0.85"))]}


@contextmanager
def elsewhere(timezone: str, now: datetime) -> Iterator[None]:
    """The same company in another zone and at another time."""
    global ZONE, NOW, NEW_RATE  # noqa: PLW0603
    before = ZONE, NOW, NEW_RATE, RATES["USD"]
    ZONE, NOW = ZoneInfo(timezone), now
    NEW_RATE = (now - timedelta(days=40)).date().replace(day=1)
    RATES["USD"] = [(date(2000, 1, 1), NEW_RATE, Decimal("0.9")), (NEW_RATE, None, Decimal("0.85"))]
    try:
        yield
    finally:
        ZONE, NOW, NEW_RATE, RATES["USD"] = before


def random_rows(seed: int) -> dict[str, list[dict[str, Any]]]:
    """A small, nasty CRM: edges of periods, nulls, deleted, merged and test rows, foreign currencies, future dates."""
    rng = random.Random(seed)
    days = [NOW.date() - timedelta(days=back) for back in range(-3, 130)]
    edges = [datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC) for day in days if day.day == 1 or day in NIGHTS]
    edges.append(NOW)

    def instant(nulls: float = 0.1) -> datetime | None:
        if rng.random() < nulls:
            return None
        if rng.random() < 0.3:
            return rng.choice(edges) + rng.choice([-1, 0, 1]) * timedelta(microseconds=1)
        return NOW - timedelta(days=135) + timedelta(minutes=rng.randrange(145 * 24 * 60))

    def marks() -> dict[str, Any]:
        kind = rng.random()
        return {
            "deleted_at": NOW + timedelta(days=rng.choice([-1, 0, 7])) if kind < 0.06 else None,
            "merged_into_id": "1" if 0.06 < kind < 0.1 else None,
            "is_test": 0.1 < kind < 0.14,
        }

    def owner() -> str | None:
        return rng.choice(["ada", "bob", "cy", "gone", None])

    deals = [
        {
            "id": str(number),
            "state": (state := rng.choice(["open", "won", "won", "lost", None])),
            "created_at": instant(),
            "closed_at": instant() if state in ("won", "lost") or rng.random() < 0.1 else None,
            "amount": rng.choice([None, Decimal(0), Decimal("10.5"), Decimal(rng.randrange(1, 9999)) / 100, Decimal(-5)]),
            "currency": rng.choice(["EUR", "EUR", "EUR", None, "USD", "USD", "USD", "USD", "USD", "GBP"]),
            "owner_id": owner(),
            "account_id": rng.choice(["a1", "a2", None]),
            "region": rng.choice([None, None, "own region"]),
            "product": rng.choice(["x", "y"]),
            "expected_close_date": rng.choice([None, NEW_RATE - timedelta(days=1), NEW_RATE, date(2030, 5, 1)]),
            **marks(),
        }
        for number in range(rng.randrange(0, 60))
    ]
    activities = [
        {
            "id": str(number),
            "type": rng.choice(["call", "call", "meeting"]),
            "direction": rng.choice(["outbound", "inbound", None]),
            "status": rng.choice(["completed", "planned", None]),
            "occurred_at": instant(),
            "owner_id": owner(),
            "account_id": rng.choice(["a1", "a2", None]),
            **marks(),
        }
        for number in range(rng.randrange(0, 40))
    ]
    leads = [
        {"id": str(n), "created_at": instant(), "owner_id": owner(), "region": rng.choice([None, "R"]), **marks()}
        for n in range(15)
    ]
    tickets = [
        {
            "id": str(number),
            "created_at": instant(),
            "status": (status := rng.choice(["new", "open", "solved", "closed", None])),
            "closed_at": instant() if status in ("solved", "closed") else None,
            "owner_id": owner(),
            "account_id": rng.choice(["a1", "a2", None]),
            **marks(),
        }
        for number in range(rng.randrange(0, 25))
    ]
    responses = [
        {
            "id": str(number),
            "kind": rng.choice(["nps", "nps", "csat"]),
            "score": rng.choice([None, Decimal("6.5"), *map(Decimal, range(-1, 12))]),
            "submitted_at": instant(),
            "respondent_id": rng.choice([None, "r1", "r2"]),
            "wave_id": rng.choice([None, "w1"]),
            "owner_id": owner(),
            "account_id": rng.choice(["a1", "a2", None]),
            **marks(),
        }
        for number in range(rng.randrange(0, 40))
    ]
    users = [
        {"id": "ada", "name": "Ada Example", "team": "north", "region": "EMEA"},
        {"id": "bob", "name": "Bob Example", "team": "south", "region": None},
        {"id": "cy", "name": None, "team": None, "region": "APAC"},
    ]
    accounts = [{"id": "a1", "name": "Acme Example", "segment": "large"}, {"id": "a2", "name": "Beta Example", "segment": None}]
    rates = [
        {"id": f"{code}{n}", "from_currency": code, "to_currency": "EUR", "valid_from": start, "valid_to": end, "rate": rate}
        for code, spans in RATES.items()
        for n, (start, end, rate) in enumerate(spans)
    ]
    return {
        "deals": deals, "activities": activities, "leads": leads, "tickets": tickets, "survey_responses": responses,
        "users": users, "accounts": accounts, "fx_rates": rates,
    }  # fmt: skip


def alive(row: Mapping[str, Any]) -> bool:
    is_deleted = row["deleted_at"] is not None and row["deleted_at"] <= NOW
    return not is_deleted and row["merged_into_id"] is None and not row["is_test"]


def segment_of(row: Mapping[str, Any], by: str, rows: Rows) -> str | None:
    user = next((user for user in rows["users"] if user["id"] == row.get("owner_id")), {})
    account = next((account for account in rows["accounts"] if account["id"] == row.get("account_id")), {})
    match by:
        case "owner":
            return None if row["owner_id"] is None else f"crm:{row['owner_id']}"
        case "team":
            return user.get("team")
        case "region":
            own = row.get("region")
            return user.get("region") if own is None else own
        case "segment":
            return account.get("segment")
        case _:
            return row.get(by)


def local_day(instant: datetime) -> date:
    return instant.astimezone(ZONE).date()


def within(instant: datetime | None, period: Period) -> bool:
    return instant is not None and period.start <= instant < period.end and instant <= NOW


def open_at(row: Mapping[str, Any], period: Period, *, is_open: bool) -> bool:
    start, end = row["created_at"], row["closed_at"]
    if period.start <= NOW < period.end:  # now: everything up to this very instant has happened
        return (start is None or start <= NOW) and ((end > NOW) if end is not None else is_open)
    return start is not None and start < period.end and ((end >= period.end) if end is not None else is_open)


def overlaps(row: Mapping[str, Any], period: Period) -> bool:
    start, end, is_current = row["created_at"], row["closed_at"], period.start <= NOW < period.end
    if start is None:
        return is_current and (end >= period.start if end is not None else row["state"] == "open")
    if not (start <= NOW if is_current else start < period.end):
        return False
    return start >= period.start or (end >= period.start if end is not None else row["state"] == "open")


class NoRateError(LookupError):
    """An amount counts that no exchange rate covers: the figure is an error."""


def in_euro(row: Mapping[str, Any], days: list[date | None]) -> Fraction | None:
    if row["amount"] is None or row["currency"] in (None, "EUR"):
        return None if row["amount"] is None else Fraction(row["amount"])
    for day in days:
        for start, end, rate in RATES.get(row["currency"], ()):
            if day is not None and start <= day and (end is None or day < end):
                return Fraction(row["amount"]) * Fraction(rate)
    if not EXCLUDES:
        raise NoRateError
    return None


def excluding(function: Naive) -> Naive:
    """The same KPI, but amounts without a rate are left out."""

    def run(rows: dict[str, list[dict[str, Any]]], period: Period) -> Any:
        global EXCLUDES  # noqa: PLW0603
        EXCLUDES = True
        try:
            return function(rows, period)
        finally:
            EXCLUDES = False

    return run


def ratio(above: Any, below: Any) -> Fraction | None:
    return None if below == 0 else Fraction(above) / Fraction(below)


def as_of(period: Period) -> date:
    return local_day(min(period.end, NOW))


def closed(rows: list[dict[str, Any]], period: Period, *states: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["state"] in states and within(row["closed_at"], period)]


def closed_amounts(rows: list[dict[str, Any]], period: Period, *states: str) -> list[Fraction]:
    found = [in_euro(row, [local_day(row["closed_at"])]) for row in closed(rows, period, *states)]
    return [amount for amount in found if amount is not None]


def cycle(rows: list[dict[str, Any]], period: Period, *states: str) -> list[int]:
    known = [row for row in closed(rows, period, *states) if row["created_at"] is not None]
    return [days for row in known if (days := (local_day(row["closed_at"]) - local_day(row["created_at"])).days) >= 0]


def created_amount(rows: list[dict[str, Any]], period: Period) -> Fraction:
    total = Fraction(0)
    for row in rows:
        if within(row["created_at"], period):
            dates: list[date | None] = []
            if row["state"] in ("won", "lost"):
                dates = [local_day(row["closed_at"]) if row["closed_at"] else None]
            elif row["state"] == "open":
                dates = [row["expected_close_date"], as_of(period)]
            total += in_euro(row, dates) or 0
    return total


def nps(rows: list[dict[str, Any]], period: Period) -> Fraction | None:
    scores = [row["score"] for row in rows if within(row["submitted_at"], period)]
    return ratio(100 * (sum(s >= 9 for s in scores) - sum(s <= 6 for s in scores)), len(scores))


def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    valid = [r for r in rows if r["kind"] == "nps" and r["score"] is not None and 0 <= r["score"] <= 10 and r["score"] % 1 == 0]
    valid = [r for r in valid if r["submitted_at"] is not None and r["submitted_at"] <= NOW]
    latest: dict[Any, dict[str, Any]] = {}
    for row in sorted(valid, key=lambda r: (r["submitted_at"], f"crm:{r['id']}")):
        latest[row["respondent_id"] or row["id"] + "!", row["wave_id"] or row["id"] + "!"] = row
    return list(latest.values())


def calls(rows: list[dict[str, Any]], period: Period, direction: str = "outbound") -> int:
    done = [r for r in rows if r["type"] == "call" and r["status"] in ("completed", None) and within(r["occurred_at"], period)]
    return sum(direction == "all" or row["direction"] == direction for row in done)


KPIS: dict[tuple[str, tuple[tuple[str, str], ...]], Naive] = {
    ("won_deals", ()): lambda r, p: len(closed(r["deals"], p, "won")),
    ("lost_deals", ()): lambda r, p: len(closed(r["deals"], p, "lost")),
    ("won_amount", ()): lambda r, p: sum(closed_amounts(r["deals"], p, "won")),
    ("win_rate", ()): lambda r, p: ratio(len(closed(r["deals"], p, "won")), len(closed(r["deals"], p, "won", "lost"))),
    ("win_rate", (("weight", "amount"),)): lambda r, p: ratio(
        sum(closed_amounts(r["deals"], p, "won")), sum(closed_amounts(r["deals"], p, "won", "lost"))
    ),
    **{
        ("close_rate", closed_as): lambda r, p, states=states: ratio(
            sum(row["created_at"] is not None for row in closed(r["deals"], p, *states)),
            sum(overlaps(row, p) for row in r["deals"]),
        )
        for closed_as, states in (((), ("won",)), ((("closed", "won_lost"),), ("won", "lost")))
    },
    ("avg_deal_size", ()): lambda r, p: ratio(sum(a := closed_amounts(r["deals"], p, "won")), len(a)),
    ("avg_deal_size", (("stat", "median"),)): lambda r, p: median(a) if (a := closed_amounts(r["deals"], p, "won")) else None,
    **{
        ("sales_cycle_days", (("outcome", outcome), ("stat", stat))): lambda r, p, states=states, stat=stat: (
            (median(map(Fraction, d)) if stat == "median" else ratio(sum(d), len(d)))
            if (d := cycle(r["deals"], p, *states))
            else None
        )
        for outcome, states in (("won", ("won",)), ("lost", ("lost",)), ("all", ("won", "lost")))
        for stat in ("median", "mean")
    },
    ("pipeline_open_amount", (("as", "count"),)): lambda r, p: sum(
        open_at(row, p, is_open=row["state"] == "open") for row in r["deals"]
    ),
    ("pipeline_open_amount", ()): lambda r, p: sum(
        in_euro(row, [row["expected_close_date"], as_of(p)]) or 0
        for row in r["deals"]
        if open_at(row, p, is_open=row["state"] == "open")
    ),
    ("pipeline_created", (("as", "count"),)): lambda r, p: sum(within(row["created_at"], p) for row in r["deals"]),
    ("pipeline_created", ()): lambda r, p: created_amount(r["deals"], p),
    ("leads_created", ()): lambda r, p: sum(within(row["created_at"], p) for row in r["leads"]),
    **{
        (name, (("direction", direction),)): (lambda r, p, d=direction: calls(r["activities"], p, d))
        if name == "calls_made"
        else (lambda r, p, d=direction: ratio(calls(r["activities"], p, d), len(closed(r["deals"], p, "won"))))
        for name in ("calls_made", "calls_per_sale")
        for direction in ("outbound", "inbound", "all")
    },
    ("ticket_backlog", ()): lambda r, p: sum(
        open_at(row, p, is_open=row["status"] not in ("solved", "closed")) for row in r["tickets"]
    ),
    ("nps", ()): lambda r, p: nps(r["survey_responses"], p),
}


MONEY = [
    ("won_amount", ()), ("win_rate", (("weight", "amount"),)), ("avg_deal_size", ()), ("avg_deal_size", (("stat", "median"),)),
    ("pipeline_open_amount", ()), ("pipeline_created", ()),
]  # fmt: skip
KPIS |= {(name, tuple(sorted((*params, ("missing_fx", "exclude"))))): excluding(KPIS[name, params]) for name, params in MONEY}


def population(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """The rows that count, by entity."""
    counted = {entity: [row for row in rows[entity] if alive(row)] for entity in ("deals", "activities", "leads", "tickets")}
    return counted | {"survey_responses": answers([row for row in rows["survey_responses"] if alive(row)])}


def slices(rows: Rows, by: str) -> dict[str | None, dict[str, list[dict[str, Any]]]]:
    """The rows that count, by segment and entity."""
    counted = population(rows)
    found: dict[str | None, dict[str, list[dict[str, Any]]]] = {}
    for entity, some in counted.items():
        for row in some:
            segment = segment_of(row, by, rows)
            found.setdefault(segment, {name: [] for name in counted})[entity].append(row)
    return found
