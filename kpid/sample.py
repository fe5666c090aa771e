"""Sample data: two years of an invented, believable B2B company as CSV files in canonical columns.

Seeded: the same seed and day give the same files. In it on purpose: yearly seasons, a push at quarter ends, six sellers of different
skill, one of them with a win rate that breaks down in the last ten weeks, and a support desk that falls behind in the last four.
All names are invented, and plainly so.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
DAYS = 730
BREAKDOWN_DAYS = 75
SELLERS = (
    ("ada", "Ada Example", "North", "EMEA", 0.47),
    ("bruno", "Bruno Sample", "North", "EMEA", 0.44),
    ("chloe", "Chloe Specimen", "South", "EMEA", 0.42),
    ("dev", "Dev Placeholder", "South", "EMEA", 0.45),
    ("elif", "Elif Invented", "West", "Americas", 0.40),
    ("finn", "Finn Fictional", "West", "Americas", 0.43),
)
TROUBLED = "bruno"
AGENTS = (("gita", "Gita Pretend", "Support", "EMEA"), ("hugo", "Hugo Imaginary", "Support", "EMEA"))
SOURCES = (("website", 0.40, 0.00), ("referral", 0.20, 0.09), ("campaign", 0.25, -0.05), ("event", 0.15, 0.02))
PRODUCTS = (("Basic", 2_400.0), ("Team", 7_500.0), ("Enterprise", 26_000.0))
SEGMENTS = (("SMB", 0.55), ("Mid-market", 0.32), ("Enterprise", 0.13))
TRADES = ("Optics", "Foods", "Logistics", "Pharma", "Tools", "Media", "Textiles", "Energy")
LOSS_REASONS = ("price", "no decision", "competitor", "missing feature", "timing")
STAGES = (
    ("qualified", "Qualified", 0.2, "open"),
    ("proposal", "Proposal", 0.45, "open"),
    ("negotiation", "Negotiation", 0.7, "open"),
    ("won", "Won", 1.0, "won"),
    ("lost", "Lost", 0.0, "lost"),
)
TICKET_CATEGORIES = ("billing", "how-to", "defect", "access", "integration")


@dataclass(frozen=True)
class _Span:
    """The two years: ``[first, last]`` in local days, up to yesterday; what is not over by ``now`` is still open."""

    first: date
    last: date
    now: datetime

    def days(self) -> Iterator[date]:
        """All days, oldest first."""
        return (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))

    def workdays(self) -> Iterator[date]:
        """Mondays to Fridays."""
        return (day for day in self.days() if day.weekday() < 5)


def write_sample(folder: Path, *, seed: int, now: datetime) -> dict[str, int]:
    """Write the sample as CSV files, one per entity, replacing earlier ones.

    Args:
        folder: where the files go; made if missing.
        seed: the same seed and local day give the same files.
        now: aware instant at which the data ends.

    Returns:
        Rows written per entity.
    """
    yesterday = now.astimezone(ZONE).date() - timedelta(days=1)
    span = _Span(yesterday - timedelta(days=DAYS), yesterday, now)
    accounts = _accounts(Random(f"{seed} accounts"), span)
    deals, history = _deals(Random(f"{seed} deals"), span, accounts)
    tables: dict[str, Sequence[dict[str, Any]]] = {
        "users": _users(),
        "accounts": accounts,
        "pipelines": [{"native_id": "sales", "name": "Sales", "sort_order": 1}],
        "stages": _stages(),
        "deals": deals,
        "deal_stage_history": history,
        "leads": list(_leads(Random(f"{seed} leads"), span)),
        "activities": list(_activities(Random(f"{seed} activities"), span, accounts)),
        "tickets": list(_tickets(Random(f"{seed} tickets"), span, accounts)),
        "survey_responses": list(_surveys(Random(f"{seed} surveys"), span, accounts)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        _write(folder / f"{name}.csv", rows)
    return {name: len(rows) for name, rows in tables.items()}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    fresh = path.with_suffix(".new")
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    fresh.replace(path)


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return "" if value is None else value


def _users() -> list[dict[str, Any]]:
    sellers = [(key, name, team, region, "seller") for key, name, team, region, _ in SELLERS]
    agents = [(key, name, team, region, "agent") for key, name, team, region in AGENTS]
    return [
        {
            "native_id": key,
            "name": name,
            "email": f"{key}@example.com",
            "team": team,
            "region": region,
            "role": role,
            "is_active": "true",
        }
        for key, name, team, region, role in sellers + agents
    ]


def _stages() -> list[dict[str, Any]]:
    return [
        {"native_id": key, "name": name, "pipeline_id": "sales", "sort_order": n, "probability": p, "state": state}
        for n, (key, name, p, state) in enumerate(STAGES, start=1)
    ]


def _accounts(rng: Random, span: _Span) -> list[dict[str, Any]]:
    rows = []
    for number in range(1, 421):
        created = _at(rng, span.first - timedelta(days=rng.randint(0, 900)))
        rows.append(
            {
                "native_id": f"a{number}",
                "created_at": created,
                "updated_at": created,
                "name": f"Example {rng.choice(TRADES)} {number:03d}",
                "segment": _pick(rng, SEGMENTS),
                "industry": rng.choice(TRADES),
                "country": rng.choice(("DE", "FR", "NL", "US")),
                "owner_id": rng.choice(SELLERS)[0],
                "lifecycle": "customer" if rng.random() < 0.6 else "prospect",
            }
        )
    return rows


def _season(day: date) -> float:
    """Demand by the time of the year: strong spring and autumn, a dip in August and at the turn of the year."""
    wave = 1 + 0.15 * math.sin(2 * math.pi * (day.timetuple().tm_yday - 60) / 182.6)
    return wave * (0.7 if day.month == 8 else 0.6 if (day.month, day.day) > (12, 20) else 1.0)


def _quarter_end(day: date) -> date:
    month = 3 * ((day.month - 1) // 3) + 3
    following = date(day.year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)


def _closing_day(rng: Random, created: date) -> date:
    """When a deal is decided: some six weeks after its creation, pulled to the quarter's end when that is near."""
    day = created + timedelta(days=max(2, round(rng.gammavariate(2.2, 19))))
    end = _quarter_end(day)
    if (end - day).days <= 21 and rng.random() < 0.45:
        day = end - timedelta(days=rng.randint(0, 4))
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return max(day, created)


def _win_chance(owner: str, skill: float, source_bonus: float, closing: date, span: _Span) -> float:
    if owner == TROUBLED and (span.last - closing).days <= BREAKDOWN_DAYS:
        return 0.17
    return skill + source_bonus


def _deals(rng: Random, span: _Span, accounts: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    deals: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    growth = 0.0
    for day in span.workdays():
        growth += 0.0006
        for _ in range(_poisson(rng, 13.5 * _season(day) * (1 + growth))):
            deal, stages = _deal(rng, span, accounts, day, len(deals) + 1)
            deals.append(deal)
            history.extend(stages)
    return deals, history


def _deal(
    rng: Random, span: _Span, accounts: Sequence[dict[str, Any]], day: date, number: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    owner, _, _, _, skill = rng.choice(SELLERS)
    source, _, bonus = rng.choices(SOURCES, weights=[share for _, share, _ in SOURCES])[0]
    account = rng.choice(accounts)
    product, price = rng.choices(PRODUCTS, weights=_product_weights(account["segment"]))[0]
    created, closing = _at(rng, day), _closing_day(rng, day)
    closed = max(_at(rng, closing), created + timedelta(hours=2))
    won = rng.random() < _win_chance(owner, skill, bonus, closing, span)
    reason = rng.choice(LOSS_REASONS)
    amount = round(price * rng.lognormvariate(0, 0.35), 2)
    is_closed = closed <= span.now
    visits = list(_visits(rng, f"d{number}", created, closed, won, span.now))
    deal = {
        "native_id": f"d{number}",
        "created_at": created,
        "updated_at": closed if is_closed else visits[-1]["valid_from"],
        "name": f"{account['name']} - {product}",
        "account_id": account["native_id"],
        "owner_id": owner,
        "pipeline_id": "sales",
        "stage_id": visits[-1]["stage_id"],
        "state": ("won" if won else "lost") if is_closed else "open",
        "amount": amount,
        "currency": "EUR",
        "product": product,
        "lead_source": source,
        "expected_close_date": closing.isoformat(),
        "closed_at": closed if is_closed else None,
        "loss_reason": reason if is_closed and not won else None,
    }
    return deal, visits


def _product_weights(segment: str) -> tuple[int, int, int]:
    return {"SMB": (70, 28, 2), "Mid-market": (25, 60, 15), "Enterprise": (5, 35, 60)}[segment]


def _visits(rng: Random, deal: str, created: datetime, closed: datetime, won: bool, now: datetime) -> Iterator[dict[str, Any]]:
    """The stages a deal passes through, as half-open intervals, as far as they lie in the past."""
    cut = sorted(rng.uniform(0.15, 0.95) for _ in range(2))
    path = [
        ("qualified", created),
        *((key, created + (closed - created) * part) for key, part in zip(("proposal", "negotiation"), cut, strict=True)),
    ]
    if not won:
        path = path[: rng.randint(1, 3)]
    path.append(("won" if won else "lost", closed))
    known = [(key, at) for key, at in path if at <= now] or path[:1]
    for n, (key, at) in enumerate(known):
        until = known[n + 1][1] if n + 1 < len(known) else None
        yield {
            "native_id": f"{deal}-{n}",
            "deal_id": deal,
            "stage_id": key,
            "pipeline_id": "sales",
            "valid_from": at,
            "valid_to": until,
            "origin": "crm",
        }


def _leads(rng: Random, span: _Span) -> Iterator[dict[str, Any]]:
    number = 0
    for day in span.workdays():
        for _ in range(_poisson(rng, 16 * _season(day))):
            number += 1
            created = _at(rng, day)
            converted = created + timedelta(days=rng.gammavariate(2, 3))
            is_converted = rng.random() < 0.45 and converted <= span.now
            yield {
                "native_id": f"l{number}",
                "created_at": created,
                "updated_at": converted if is_converted else created,
                "name": f"Lead {number:05d}",
                "email": f"lead{number}@example.org",
                "lead_source": _pick(rng, [(name, share) for name, share, _ in SOURCES]),
                "owner_id": rng.choice(SELLERS)[0],
                "status": "converted" if is_converted else "open",
                "converted_at": converted if is_converted else None,
            }


def _activities(rng: Random, span: _Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    for day in span.workdays():
        for owner, *_ in SELLERS:
            tired = owner == TROUBLED and (span.last - day).days <= BREAKDOWN_DAYS
            for _ in range(_poisson(rng, 6.0 if tired else 9.5)):
                number += 1
                yield _activity(rng, number, "call", owner, day, accounts)
            if rng.random() < 0.8:
                number += 1
                yield _activity(rng, number, "meeting", owner, day, accounts)


def _activity(rng: Random, number: int, kind: str, owner: str, day: date, accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    started = _at(rng, day)
    seconds = max(20, round(rng.expovariate(1 / 240))) if kind == "call" else rng.choice((1800, 2700, 3600))
    outbound = kind == "meeting" or rng.random() < 0.85
    return {
        "native_id": f"{kind}-{number}",
        "created_at": started,
        "updated_at": started,
        "type": kind,
        "direction": "outbound" if outbound else "inbound",
        "owner_id": owner,
        "account_id": rng.choice(accounts)["native_id"],
        "occurred_at": started,
        "ended_at": started + timedelta(seconds=seconds),
        "status": "completed",
        "duration_s": seconds,
        "is_automated": "false",
    }


def _tickets(rng: Random, span: _Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    for day in span.days():
        rush = 1.35 if (span.last - day).days <= 28 else 1.0
        for _ in range(_poisson(rng, rush * (7.5 if day.weekday() < 5 else 1.5))):
            number += 1
            created = _at(rng, day)
            reply = created + timedelta(hours=rng.expovariate(1 / 3.5))
            solved = reply + timedelta(hours=rng.expovariate(1 / 40))
            is_solved = solved <= span.now
            yield {
                "native_id": f"t{number}",
                "created_at": created,
                "updated_at": solved if is_solved else created,
                "account_id": rng.choice(accounts)["native_id"],
                "owner_id": rng.choice(AGENTS)[0],
                "subject": f"Example request {number:05d}",
                "channel": rng.choice(("email", "chat", "phone")),
                "priority": rng.choice(("low", "normal", "normal", "high")),
                "category": rng.choice(TICKET_CATEGORIES),
                "status": "solved" if is_solved else "open",
                "first_reply_at": reply if reply <= span.now else None,
                "first_solved_at": solved if is_solved else None,
                "last_solved_at": solved if is_solved else None,
                "closed_at": solved if is_solved else None,
            }


def _surveys(rng: Random, span: _Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    weights = (1, 1, 1, 1, 2, 3, 5, 12, 20, 28, 26)
    for day in span.workdays():
        for _ in range(_poisson(rng, 7.0)):
            number += 1
            submitted = _at(rng, day)
            yield {
                "native_id": f"s{number}",
                "created_at": submitted,
                "updated_at": submitted,
                "kind": "nps",
                "score": rng.choices(range(11), weights=weights)[0],
                "scale_min": 0,
                "scale_max": 10,
                "respondent_id": f"person{number}",
                "account_id": rng.choice(accounts)["native_id"],
                "submitted_at": submitted,
            }


def _at(rng: Random, day: date) -> datetime:
    """An instant in the working hours of a local day."""
    return datetime.combine(day, time(8), ZONE) + timedelta(seconds=rng.randint(0, 9 * 3600))


def _pick(rng: Random, choices: Iterable[tuple[str, float]]) -> str:
    names, weights = zip(*choices, strict=True)
    return str(rng.choices(names, weights=weights)[0])


def _poisson(rng: Random, rate: float) -> int:
    """A Poisson number, by Knuth's product of uniforms (rates here are below 30)."""
    limit, product, n = math.exp(-rate), rng.random(), 0
    while product > limit:
        product *= rng.random()
        n += 1
    return n
