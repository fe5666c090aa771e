# ruff: noqa: E501, PERF401
"""A small, nasty company for the KPIs of activity, support, satisfaction and data quality, and what naive models know of it."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.analysis.workdays import WorkCalendar
from kpid.model import Period

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SHIFTS = ((8 * 3600, 12 * 3600), (13 * 3600, 18 * 3600))
CALENDARS = {"": WorkCalendar("Europe/Berlin"), "six": WorkCalendar("Europe/Berlin", weekly=(*(SHIFTS,) * 6, ()))}
Row = dict[str, Any]
Rows = dict[str, list[Row]]


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
            return self.rng.choice(self.edges) + self.rng.choice([-1, 0, 1]) * timedelta(microseconds=1)
        return NOW - timedelta(days=95) + timedelta(minutes=self.rng.randrange(100 * 1440))

    def after(self, start: datetime | None, hours: int = 200, nulls: float = 0.2) -> datetime | None:
        """Mostly later than something; at once; or impossibly before it."""
        if start is None or self.rng.random() < nulls:
            return None
        return start + self.rng.choice(
            [timedelta(0), -DAY, *(timedelta(minutes=self.rng.randrange(hours * 60)) for _ in range(8))]
        )

    def marks(self) -> Row:
        kind = self.rng.random()
        return {
            "deleted_at": NOW + timedelta(days=self.rng.choice([-1, 0, 7])) if kind < 0.06 else None,
            "merged_into_id": "1" if 0.06 < kind < 0.09 else None,
            "is_test": 0.09 < kind < 0.12,
        }

    def references(self) -> Row:
        return {"owner_id": self.pick("ada", "bob", "cy", "gone", None), "account_id": self.pick("a1", "a2", "a3", "a4", None)}


def random_rows(seed: int) -> Rows:
    dice = Dice(seed)
    rows = people(dice) | sales(dice) | service(dice)
    for some in rows.values():
        for row in some:
            row.setdefault("is_test", False)
            row.setdefault("deleted_at", None)
            row.setdefault("merged_into_id", None)
    return rows


def people(dice: Dice) -> Rows:
    users = [
        {"id": name, "name": name, "team": team, "region": region, "role": role, "is_active": is_active, "calendar_id": calendar,
         "active_from": dice.instant(0.5), "active_to": dice.instant(0.6)}
        for name, team, region, role, is_active, calendar in (
            ("ada", "north", "EMEA", "seller", True, None), ("bob", "south", None, "seller", dice.pick(True, None), "six"),
            ("cy", None, "APAC", dice.pick("seller", "manager"), dice.pick(True, False), "no such calendar"),
            ("dot", "north", "EMEA", "seller", True, "six"),
        )
    ]  # fmt: skip
    accounts = [
        {"id": f"a{n}", "name": f"Acme Example {n}", "segment": dice.pick("large", "small", None), "domain": dice.pick(None, "a.example"),
         "lifecycle": dice.pick("prospect", "customer", "former", "internal", None), "became_customer_at": dice.instant(0.4),
         "owner_id": dice.pick("ada", None), "created_at": dice.instant(), **(dice.marks() if n == 4 else {})}
        for n in range(1, 5)
    ]  # fmt: skip
    statuses = [
        {"id": str(n), "account_id": dice.pick("a1", "a2", "a4"), "status": dice.pick("prospect", "active", "churned"),
         "valid_from": (start := dice.instant()), "valid_to": dice.after(start, 900, 0.5), **dice.marks()}
        for n in range(6)
    ]  # fmt: skip
    contacts = [
        {"id": f"c{n}", "account_id": f"a{n}", "email": dice.pick("x@example.com", None), **dice.marks()} for n in (1, 2, 3)
    ]
    return {"users": users, "accounts": accounts, "account_status_history": statuses, "contacts": contacts}


def sales(dice: Dice) -> Rows:
    deals = [
        {"id": str(n), "state": (state := dice.pick("won", "won", "won", "lost", "open", None)), "created_at": dice.instant(),
         "closed_at": dice.instant() if state in ("won", "lost") else None, "currency": dice.pick("EUR", None, "eur", "USD"),
         "amount": dice.pick(None, Decimal(0), Decimal(-2), Decimal(7)), "loss_reason": dice.pick(None, " ", "price"),
         "probability": dice.pick(None, Decimal(1), Decimal("1.5"), Decimal("0.5")), "lead_source": dice.pick(None, "web"),
         "expected_close_date": dice.pick(None, date(2018, 1, 1), date(2018, 1, 2)), **dice.references(), **dice.marks()}
        for n in range(30)
    ]  # fmt: skip
    leads = [
        {"id": f"l{n}", "created_at": (at := dice.instant()), "converted_at": dice.after(at, 900, 0.6), "owner_id": dice.pick("ada", None),
         "disqualified_at": dice.instant(0.8), "email": dice.pick("x@example.com", "Y@example.com ", "y@example.com", None),
         **dice.marks()}
        for n in range(8)
    ]  # fmt: skip
    activities = [
        {"id": str(n), "type": dice.pick("call", "call", "meeting", "meeting", "email"), "created_at": dice.instant(),
         "direction": dice.pick("outbound", "outbound", "inbound", "internal", None), "occurred_at": (at := dice.instant()),
         "status": dice.pick("completed", "planned", "cancelled", "no_show", None, None), "ended_at": dice.after(at, 3, 0.4),
         "scheduled_end": dice.after(at, 3, 0.5), "outcome": dice.pick(None, "Connected", "busy"), "duration_s": dice.pick(None, 0, 60, -5),
         "contact_id": dice.pick("c1", "c2", None, None), "deal_id": dice.pick(*map(str, range(8)), None, None),
         "lead_id": dice.pick("l1", "l2", None, None, None), "is_automated": dice.pick(True, False, None),
         **dice.references(), **dice.marks()}
        for n in range(70)
    ]  # fmt: skip
    links = [
        {"id": str(n), "activity_id": str(dice.rng.randrange(70)), **dice.marks(), "object_type": (kind := dice.pick("accounts", "contacts", "leads", "deals")),
         "object_id": dice.pick("", "crm:") + dice.pick(*{"accounts": ["a1", "a3"], "contacts": ["c1", "c3"], "leads": ["l3", "l4"], "deals": ["2", "9"]}[kind])}
        for n in range(25)
    ]  # fmt: skip
    rates = [{"id": "1", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 11, 1), "rate": Decimal("0.9")}]
    return {"deals": deals, "leads": leads, "activities": activities, "activity_links": links, "fx_rates": rates}


def service(dice: Dice) -> Rows:
    tickets, comments, statuses, schedules = [], [], [], []
    for n in range(45):
        at = dice.instant()
        first = dice.after(at)
        last = dice.after(first, 300, 0.4)
        status = dice.pick("new", "open", "solved", "solved", "closed", None, "on_hold")
        tickets.append(
            {"id": str(n), "created_at": at, "status": status, "first_reply_at": dice.after(at), "first_solved_at": first,
             "last_solved_at": last, "closed_at": dice.after(last, 50, 0.5), "reopen_count": dice.pick(None, 0, 1),
             "reply_count_public": dice.pick(None, 0, 1, 2), "created_by_agent": dice.pick(True, False, None),
             "category": dice.pick("billing", "billing", "billing", "Spam", None), "channel": dice.pick("email", "phone", None),
             "schedule_id": dice.pick(None, "six", "gone"), "group_id": dice.pick("g1", "g2"), **dice.references(), **dice.marks()}
        )  # fmt: skip
        for m in range(dice.pick(0, 0, 1, 2, 4)):
            comments.append(
                {"id": f"{n}-{m}", "ticket_id": str(n), "author_role": dice.pick("agent", "agent", "end_user", "bot", None),
                 "is_public": dice.pick(True, True, False, None), "at": dice.pick(at, dice.after(at), dice.after(at)), **dice.marks()}
            )  # fmt: skip
        for m in range(dice.pick(0, 0, 1, 3, 5)):
            start = dice.pick(at, dice.after(at), first)
            statuses.append(
                {"id": f"{n}-{m}", "ticket_id": str(n), "status": dice.pick("new", "open", "solved", "closed", "pending", "on_hold", "solved"),
                 "valid_from": start, "valid_to": dice.after(start, 400, 0.6), **dice.marks()}
            )  # fmt: skip
        for m in range(dice.pick(0, 0, 1, 2)):
            start = dice.pick(at, dice.after(at))
            schedules.append(
                {
                    "id": f"{n}-{m}",
                    "ticket_id": str(n),
                    "schedule_id": dice.pick("six", "gone"),
                    "valid_from": start,
                    **dice.marks(),
                }
            )
    sends = [
        {"id": str(n), "kind": dice.pick("nps", "csat"), "respondent_id": dice.pick("r1", "r2", None), "wave_id": dice.pick("w1", "w2", None),
         "sent_at": (at := dice.instant()), "delivered_at": dice.after(at, 2, 0.3), "closes_at": dice.pick(None, NOW - DAY, NOW + DAY),
         "account_id": dice.pick("a1", "a2", None), **dice.marks()}
        for n in range(25)
    ]  # fmt: skip
    responses = [
        {"id": str(n), "kind": dice.pick("nps", "nps", "csat", "csat", "ces"), "submitted_at": dice.instant(),
         "score": dice.pick(None, Decimal("6.5"), *map(Decimal, range(-1, 12))), "respondent_id": dice.pick("r1", "r2", None),
         "wave_id": dice.pick("w1", "w2", None), "ticket_id": dice.pick("1", "2", None), "send_id": dice.pick("1", "2", None, None),
         **dict(zip(("scale_min", "scale_max"), dice.pick((None, None), (None, None), (Decimal(0), Decimal(1)), (Decimal(1), Decimal(7)), (Decimal(0), Decimal(10))), strict=True)),
         **dice.references(), **dice.marks()}
        for n in range(60)
    ]  # fmt: skip
    return {
        "tickets": tickets, "ticket_comments": comments, "ticket_status_history": statuses, "ticket_schedule_history": schedules,
        "survey_sends": sends, "survey_responses": responses,
    }  # fmt: skip


# ---- what naive models ask


def alive(rows: Rows, entity: str) -> list[Row]:
    """Rows that count: not deleted by now, not merged away, no tests."""
    return [
        row
        for row in rows[entity]
        if not (row["deleted_at"] is not None and row["deleted_at"] <= NOW)
        and row["merged_into_id"] is None
        and not row["is_test"]
    ]


def by_id(rows: Rows, entity: str) -> dict[str, Row]:
    return {row["id"]: row for row in alive(rows, entity)}


def local_day(instant: datetime) -> date:
    return instant.astimezone(ZONE).date()


def within(instant: datetime | None, period: Period) -> bool:
    return instant is not None and period.start <= instant < period.end and instant <= NOW


def until(period: Period) -> datetime:
    """Exclusive: what happened before is known."""
    return min(period.end, NOW + timedelta(microseconds=1))


def whole_seconds(start: datetime, end: datetime) -> int:
    return (end - start) // SECOND


def open_hours(calendar: str | None, day: date) -> list[tuple[datetime, datetime]]:
    """When a calendar is open on a local day."""
    free, hours = (6, [(8, 12), (13, 18)]) if calendar == "six" else (5, [(9, 17)])
    hours = [] if day.weekday() >= free else hours
    at = [tuple(datetime.combine(day, time(hour), ZONE).astimezone(UTC) for hour in both) for both in hours]
    return [(opens, closes) for opens, closes in at]


def business_seconds(calendar: str | None, start: datetime, end: datetime) -> int:
    found, day = timedelta(0), local_day(start)
    while day <= local_day(end):
        for opens, closes in open_hours(calendar, day):
            found += max(min(closes, end) - max(opens, start), timedelta(0))
        day += DAY
    return found // SECOND


def linked(rows: Rows, kind: str) -> dict[str, set[str]]:
    """Ids of a kind that an activity is linked to, by activity."""
    found: dict[str, set[str]] = {}
    for link in alive(rows, "activity_links"):
        if link["object_type"] == kind:
            found.setdefault(link["activity_id"], set()).add(link["object_id"].removeprefix("crm:"))
    return found


def segment_of(row: Row, by: str, rows: Rows) -> str | None:
    user = next((user for user in rows["users"] if user["id"] == row.get("owner_id")), {})
    account = next((account for account in rows["accounts"] if account["id"] == row.get("account_id")), {})
    match by:
        case "owner":
            return None if row.get("owner_id") is None else f"crm:{row['owner_id']}"
        case "team" | "region":
            own = row.get(by)
            return user.get(by) if own is None else own
        case "segment":
            return account.get("segment")
        case "group":
            return row.get("group_id")
        case "source":
            return "crm"
        case _:
            return row.get(by)


def spans(rows: Rows, entity: str, key: str) -> dict[str, list[Row]]:
    """A history by record: of rows that begin together the one with the smaller id; each cut off where the next begins."""
    found: dict[str, dict[datetime, Row]] = {}
    for row in sorted(alive(rows, entity), key=lambda row: row["id"]):
        if row["valid_from"] is not None:
            found.setdefault(row[key], {}).setdefault(row["valid_from"], row)
    made = {}
    for record, by_start in found.items():
        starts = sorted(by_start)
        follows = [*starts[1:], None]
        made[record] = [
            {
                **by_start[start],
                "follows": after,
                "ends": min((t for t in (by_start[start].get("valid_to"), after) if t), default=None),
            }
            for start, after in zip(starts, follows, strict=True)
        ]
    return made


def holds(span: Row, instant: datetime) -> bool:
    return span["valid_from"] < instant and (span["ends"] is None or span["ends"] >= instant)
