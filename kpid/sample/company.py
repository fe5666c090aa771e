"""The sample company: its people, accounts and calendar. All names are invented, and plainly so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
DAYS = 730
BREAKDOWN_DAYS = 75
EARLIER_DAYS = 150
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


@dataclass(frozen=True)
class Span:
    """The two years: ``[first, last]`` in local days, up to yesterday; what is not over by ``now`` is still open."""

    first: date
    last: date
    now: datetime

    def days(self) -> Iterator[date]:
        """All days, oldest first."""
        return (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))

    def days_before(self, count: int) -> Iterator[date]:
        """Mondays to Fridays of so many days before the first, oldest first."""
        return (day for n in range(count, 0, -1) if (day := self.first - timedelta(days=n)).weekday() < 5)

    def workdays(self) -> Iterator[date]:
        """Mondays to Fridays."""
        return (day for day in self.days() if day.weekday() < 5)


def users() -> list[dict[str, Any]]:
    """Sellers and support agents, as canonical rows."""
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


def accounts(rng: Random, span: Span) -> list[dict[str, Any]]:
    """Companies that the sellers deal with, as canonical rows."""
    rows = []
    for number in range(1, 421):
        created = instant_on(rng, span.first - timedelta(days=rng.randint(0, 900)))
        rows.append(
            {
                "native_id": f"a{number}",
                "created_at": created,
                "updated_at": created,
                "name": f"Example {rng.choice(TRADES)} {number:03d}",
                "segment": pick(rng, SEGMENTS),
                "industry": rng.choice(TRADES),
                "country": rng.choice(("DE", "FR", "NL", "US")),
                "owner_id": rng.choice(SELLERS)[0],
                "lifecycle": "customer" if rng.random() < 0.6 else "prospect",
            }
        )
    return rows


def season(day: date) -> float:
    """Demand by the time of the year: strong spring and autumn, a dip in August and at the turn of the year."""
    wave = 1 + 0.15 * math.sin(2 * math.pi * (day.timetuple().tm_yday - 60) / 182.6)
    return wave * (0.7 if day.month == 8 else 0.6 if (day.month, day.day) > (12, 20) else 1.0)


def instant_on(rng: Random, day: date) -> datetime:
    """An instant in the working hours of a local day."""
    return datetime.combine(day, time(8), ZONE) + timedelta(seconds=rng.randint(0, 9 * 3600))


def pick(rng: Random, choices: Iterable[tuple[str, float]]) -> str:
    """One of the names, drawn by weight."""
    names, weights = zip(*choices, strict=True)
    return str(rng.choices(names, weights=weights)[0])


def poisson(rng: Random, rate: float) -> int:
    """A Poisson number, by Knuth's product of uniforms (rates here are below 30)."""
    limit, product, n = math.exp(-rate), rng.random(), 0
    while product > limit:
        product *= rng.random()
        n += 1
    return n
