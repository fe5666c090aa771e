# ruff: noqa: E501
"""A small, nasty sales department: deals that come back, histories with gaps and ties, dates that cannot be, foreign money."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kpid.analysis.periods import Calendar, is_daily, periods_between
from kpid.analysis.workdays import WorkCalendar
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import Period, SeriesNeed
from kpid.plugin import Kpi
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import open_warehouse

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
NEW_RATE = date(2017, 12, 1)
TICK = timedelta(microseconds=1)
CALENDAR = Calendar("Europe/Berlin")
WORK = WorkCalendar("Europe/Berlin")
STATES = ("open", "won", "lost")
RATES = {"USD": [(date(2000, 1, 1), NEW_RATE, Decimal("0.9")), (NEW_RATE, None, Decimal("0.85"))]}
Row = dict[str, Any]
Rows = dict[str, list[Row]]
Params = tuple[tuple[str, str], ...]
Model = Mapping[tuple[str, Params], tuple[Callable[..., list[Any]], Callable[..., Any], tuple[str, ...]]]

STAGES = [
    {"id": "s1", "name": "New", "pipeline_id": "p1", "sort_order": 1, "state": "open", "probability": Decimal("0.1"), "is_qualified": False},
    {"id": "s2", "name": "Offer ", "pipeline_id": "p1", "sort_order": 2, "state": "open", "probability": Decimal(40), "is_qualified": True},
    {"id": "s3", "name": "Talks", "pipeline_id": "p1", "sort_order": 3, "state": "open", "probability": None, "is_qualified": True,
     "active_from": datetime(2017, 11, 20, tzinfo=UTC)},
    {"id": "s4", "name": "Won", "pipeline_id": "p1", "sort_order": 0, "state": "won", "probability": Decimal(1), "is_qualified": None},
    {"id": "s5", "name": "Lost", "pipeline_id": "p1", "sort_order": 9, "state": "lost", "probability": Decimal(0), "is_qualified": None},
    {"id": "t1", "name": "offer", "pipeline_id": "p2", "sort_order": 1, "state": "open", "probability": Decimal("1.00"), "is_qualified": True},
    {"id": "t2", "name": "Last", "pipeline_id": "p2", "sort_order": 2, "state": "open", "probability": Decimal(-1), "is_qualified": False},
    {"id": "gone", "name": "Talks", "pipeline_id": "p1", "sort_order": 4, "state": "open", "deleted_at": NOW - timedelta(days=3), "is_qualified": True},
]  # fmt: skip


class Dice:
    """Random cells."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        days = [NOW.date() - timedelta(days=back) for back in range(-3, 100)]
        self.edges = [datetime(d.year, d.month, d.day, tzinfo=ZONE).astimezone(UTC) for d in days if d.day in (1, 29)] + [NOW]

    def pick(self, *values: Any) -> Any:
        return self.rng.choice(values)

    def instant(self, nulls: float = 0.1) -> datetime | None:
        if self.rng.random() < nulls:
            return None
        if self.rng.random() < 0.3:
            return self.rng.choice(self.edges) + self.rng.choice([-1, 0, 1]) * TICK
        return NOW - timedelta(days=95) + timedelta(minutes=self.rng.randrange(97 * 1440))

    def marks(self) -> Row:
        kind = self.rng.random()
        return {
            "deleted_at": NOW + timedelta(days=self.rng.choice([-1, 0, 7])) if kind < 0.05 else None,
            "merged_into_id": "1" if 0.05 < kind < 0.07 else None,
            "is_test": 0.07 < kind < 0.1,
        }


def random_rows(seed: int) -> Rows:
    dice = Dice(seed)
    rows = _crm(dice) | _histories(dice)
    for some in rows.values():
        for row in some:
            for name, value in (("is_test", False), ("deleted_at", None), ("merged_into_id", None)):
                row.setdefault(name, value)
    return rows


def _crm(dice: Dice) -> Rows:
    users = [{"id": "ada", "name": "Ada Example", "team": "north"}, {"id": "bob", "name": "Bob Example", "team": "south"}]
    accounts = [{"id": "a1", "name": "Acme Example", "segment": "large"}, {"id": "a2", "name": "Beta Example", "segment": None}]
    deals = [
        {"id": str(n), "state": (state := dice.pick("open", "open", "won", "won", "lost", None)), "created_at": dice.instant(),
         "closed_at": dice.instant() if state in ("won", "lost") or dice.rng.random() < 0.1 else None, "opened_at": dice.instant(0.6),
         "amount": dice.pick(None, Decimal(0), Decimal(-2), Decimal(7), Decimal("19.99")), "currency": dice.pick("EUR", "EUR", None, "USD", "USD", *(["GBP"] if n % 9 == 0 else [])),
         "loss_reason": dice.pick(None, " ", "price", "Price; timing", "timing;;no need ; price", "disqualified"),
         "loss_competitor": dice.pick(None, "Other Example"), "lead_id": dice.pick(None, None, "l1", "l2", "l3", "nobody"),
         "probability": dice.pick(None, None, Decimal(1), Decimal("1.5"), Decimal("0.5"), Decimal(250)), "lead_source": dice.pick(None, "web"),
         "stage_id": dice.pick(None, "s1", "s2", "s3", "t1", "t2", "unknown"), "product": dice.pick("x", "y"),
         "expected_close_date": dice.pick(None, NEW_RATE - timedelta(days=1), NEW_RATE, date(2018, 1, 1), date(2018, 1, 2), date(2018, 1, 20)),
         "owner_id": dice.pick("ada", "bob", "gone", None), "account_id": dice.pick("a1", "a2", None),
         "last_activity_at": dice.instant(0.7), **dice.marks()}
        for n in range(dice.rng.randrange(20, 45))
    ]  # fmt: skip
    leads = [
        {"id": f"l{n}", "created_at": dice.instant(), "converted_deal_id": dice.pick(None, "2", "5", "8", "11"), **dice.marks()}
        for n in range(1, 9)
    ]
    activities = [
        {"id": str(n), "type": dice.pick("call", "meeting", "email", "task"), "direction": dice.pick("outbound", "internal", None),
         "occurred_at": dice.instant(), "status": dice.pick("completed", None, "planned"), "is_automated": dice.pick(True, False, None),
         "deal_id": dice.pick(None, *map(str, range(15))), "lead_id": dice.pick(None, None, "l1", "l2", "l5"), **dice.marks()}
        for n in range(50)
    ]  # fmt: skip
    links = [
        {"id": str(n), "activity_id": str(dice.rng.randrange(50)), "object_type": (kind := dice.pick("deals", "leads", "accounts")),
         "object_id": dice.pick("", "crm:") + (dice.pick("3", "12", "17") if kind == "deals" else "l4"), **dice.marks()}
        for n in range(15)
    ]  # fmt: skip
    rates = [
        {
            "id": "1",
            "from_currency": "USD",
            "to_currency": "EUR",
            "valid_from": date(2000, 1, 1),
            "valid_to": NEW_RATE,
            "rate": Decimal("0.9"),
        },
        {
            "id": "2",
            "from_currency": "USD",
            "to_currency": "EUR",
            "valid_from": NEW_RATE,
            "valid_to": None,
            "rate": Decimal("0.85"),
        },
    ]
    return {"users": users, "accounts": accounts, "deals": deals, "leads": leads, "activities": activities, "activity_links": links,
            "fx_rates": rates, "stages": [{"active_from": None, **stage} for stage in STAGES]}  # fmt: skip


def _histories(dice: Dice) -> Rows:
    stages: list[Row] = []
    fields: list[Row] = []
    for deal in map(str, range(30)):
        if dice.rng.random() < 0.3:
            continue
        ways = [
            dice.pick("s1", "s2", "s3", "s1", "s2", "s4", "s5", "t1", "t2", "gone", "unknown")
            for _ in range(dice.rng.randrange(0, 6))
        ]
        times = sorted(filter(None, (dice.instant() for _ in ways)))
        for seq, (stage, at) in enumerate(zip(ways, times, strict=False)):
            until = times[seq + 1] if seq + 1 < len(times) else None
            until = dice.pick(until, until, until, at - timedelta(hours=5)) if until else until
            stages.append(
                {
                    "id": f"{deal}-{seq}",
                    "deal_id": deal,
                    "stage_id": stage,
                    "valid_from": at,
                    "valid_to": until,
                    "seq": seq,
                    **dice.marks(),
                }
            )
        for field, values in {
            "amount": ["5", "n/a", None, " 12.5", "-3"], "currency": ["EUR", "USD", None], "probability": ["0.25", "80", "x"],
            "expected_close_date": ["2017-12-31", "2018-01-09", "2018-02-30", None], "state": ["open", "won", "lost", "won", "weird"],
        }.items():  # fmt: skip
            if dice.rng.random() < 0.6:
                continue
            moments = sorted(filter(None, (dice.instant() for _ in range(dice.rng.randrange(1, 5)))))
            for number, at in enumerate(moments):
                until = moments[number + 1] if number + 1 < len(moments) and dice.rng.random() < 0.7 else None
                fields.append(
                    {
                        "id": f"{deal}-{field}-{number}",
                        "deal_id": deal,
                        "field": field,
                        "value": dice.pick(*values),
                        "valid_from": at,
                        "valid_to": until,
                        **dice.marks(),
                    }
                )
    return {"deal_stage_history": stages, "deal_field_history": fields}


# ---- what naive models know of it


def alive(rows: Rows, entity: str) -> list[Row]:
    """Rows that count: not deleted by now, not merged away, no tests."""
    return [
        row
        for row in rows[entity]
        if (row["deleted_at"] is None or row["deleted_at"] > NOW) and row["merged_into_id"] is None and not row["is_test"]
    ]


def within(instant: datetime | None, period: Period) -> bool:
    return instant is not None and period.start <= instant < period.end and instant <= NOW


def until(period: Period) -> datetime:
    """What happened before it is known at the end of the period; now, at this very moment."""
    return NOW + TICK if is_current(period) else period.end


def is_current(period: Period) -> bool:
    return period.start <= NOW < period.end


def day(instant: datetime) -> date:
    return instant.astimezone(ZONE).date()


def as_of(period: Period) -> datetime:
    return min(period.end, NOW)


def number(text: Any) -> Decimal | None:
    try:
        return Decimal(str(text).strip()) if text is not None else None
    except InvalidOperation:
        return None


class NoRateError(LookupError):
    """An amount counts that no exchange rate covers."""


def euro(amount: Any, currency: str | None, dates: list[date | None]) -> Fraction | None:
    """The amount in euro; None if there is none."""
    if amount is None or currency in (None, "EUR"):
        return None if amount is None else Fraction(amount)
    for at in dates:
        for start, end, rate in RATES.get(currency, ()):
            if at is not None and start <= at and (end is None or at < end):
                return Fraction(amount) * Fraction(rate)
    raise NoRateError


def money(facts: list[Any], of: Callable[[Any], tuple[Any, Any, list[date | None]]], *, excludes: bool = False) -> list[Fraction]:
    """Amounts in euro of those facts that have one."""
    found = []
    for fact in facts:
        try:
            value = euro(*of(fact))
        except NoRateError:
            if not excludes:
                raise
            continue
        if value is not None:
            found.append(value)
    return found


def ratio(above: Any, below: Any) -> Fraction | None:
    return None if below == 0 else Fraction(above) / Fraction(below)


def middle(values: list[Any]) -> Fraction | None:
    ordered = sorted(map(Fraction, values))
    if not ordered:
        return None
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def average(values: list[Any]) -> Fraction | None:
    return ratio(sum(map(Fraction, values)), len(values))


def moves(rows: Rows, deal: Row) -> list[tuple[datetime, int, str, str]]:
    """States that histories know, in order: of the field, else of the stages."""
    told = [
        (h["valid_from"], 0, f"crm:{h['id']}", h["value"])
        for h in alive(rows, "deal_field_history")
        if h["deal_id"] == deal["id"] and h["field"] == "state" and h["value"] in STATES and h["valid_from"] <= NOW
    ]
    if told:
        return sorted(told)
    known = {stage["id"]: stage["state"] for stage in alive(rows, "stages")}
    return sorted(
        (h["valid_from"], h["seq"], f"crm:{h['id']}", known[h["stage_id"]])
        for h in alive(rows, "deal_stage_history")
        if h["deal_id"] == deal["id"] and h["stage_id"] in known and h["valid_from"] <= NOW
    )


def segment_of(row: Row, by: str, rows: Rows) -> str | None:
    user = next((user for user in rows["users"] if user["id"] == row.get("owner_id")), {})
    account = next((account for account in rows["accounts"] if account["id"] == row.get("account_id")), {})
    match by:
        case "owner" | "pipeline" | "stage":
            value = row.get(f"{by}_id")
            return None if value is None else f"crm:{value}"
        case "team":
            return user.get("team")
        case "segment":
            return account.get("segment")
        case _:
            return row.get(by)


# ---- comparing


def compare(model: Model, kpis: Mapping[str, Kpi], rows: Rows, folder: Path, seed: int) -> None:
    """Every KPI and choice of the model by month, in total or by a dimension, or by other kinds of periods."""
    rng = random.Random(seed)
    warehouse = open_warehouse(folder, rows, now=NOW)
    setup = MetricsSetup(warehouse, dict(kpis), CALENDAR, "EUR")
    try:
        for (name, params), (facts_of, value_of, dimensions) in model.items():
            first, second = rng.sample(dimensions, k=2)
            other = rng.choice(["quarter", "rolling_30d", "day", "week"])
            cuts = [("month", None), ("month", first), ("month", second), (other, None)]
            for kind, by in rng.sample(cuts, k=2):
                need = SeriesNeed(name, kind, (by,) if by else (), tuple(sorted(params)))
                _check(setup, rows, need, facts_of, value_of)
    finally:
        warehouse.close()


def _check(setup: MetricsSetup, rows: Rows, need: SeriesNeed, facts_of: Any, value_of: Any) -> None:
    kind, by = need.period, need.by[0] if need.by else None
    end = NOW + timedelta(days=2)
    start = end - timedelta(days=4 if is_daily(kind) or kind == "day" else 30 if kind == "week" else 70)
    made = figures(need, setup, start=start, end=end, now=NOW, fill=True)
    found = {(m.period.label, m.dims[0].id if by else None): m for m in made}
    for period in periods_between(kind, start, end, CALENDAR):
        if period.start > NOW:
            continue
        parts: dict[Any, list[Any]] = {} if by else {None: []}
        for fact in facts_of(rows, period):
            parts.setdefault(segment_of(fact, by, rows) if by else None, []).append(fact)
        for segment, facts in parts.items():
            try:
                expected = value_of(facts, period)
            except NoRateError:
                expected = None
            measured = found.pop((period.label, segment), None)
            if measured is None:
                assert not expected, (need, period.label, segment, expected)
                continue
            assert _agree(measured.value, expected), (need, period.label, segment, expected, measured, facts)
    assert not any(m.value for m in found.values()), [m for m in found.values() if m.value]


def _agree(found: Decimal | None, expected: Any) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - decimal_from_fraction(Fraction(expected))) <= Decimal("1e-6") * max(1, abs(found))
