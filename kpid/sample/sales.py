"""The sample company's sales: leads, deals with their stages, calls and meetings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from kpid.sample.company import (
    BREAKDOWN_DAYS,
    EARLIER_DAYS,
    LOSS_REASONS,
    PRODUCTS,
    SELLERS,
    SOURCES,
    TROUBLED,
    Span,
    instant_on,
    pick,
    poisson,
    season,
)

STAGES = (
    ("qualified", "Qualified", 0.2, "open"),
    ("proposal", "Proposal", 0.45, "open"),
    ("negotiation", "Negotiation", 0.7, "open"),
    ("won", "Won", 1.0, "won"),
    ("lost", "Lost", 0.0, "lost"),
)


def stages() -> list[dict[str, Any]]:
    """The stages of the one sales pipeline, as canonical rows."""
    return [
        {"native_id": key, "name": name, "pipeline_id": "sales", "sort_order": n, "probability": p, "state": state}
        for n, (key, name, p, state) in enumerate(STAGES, start=1)
    ]


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


def _win_chance(owner: str, skill: float, source_bonus: float, closing: date, span: Span) -> float:
    if owner == TROUBLED and (span.last - closing).days <= BREAKDOWN_DAYS:
        return 0.17
    return skill + source_bonus


def deals(rng: Random, span: Span, accounts: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Deals and the stages they passed through, as canonical rows: also those that were open when it began."""
    deals: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    earlier, number = Random("earlier"), 0
    for day in span.days_before(EARLIER_DAYS):
        for _ in range(poisson(earlier, 13.5 * season(day))):
            number += 1
            deal, stages = _deal(earlier, span, accounts, day, f"e{number}")
            if deal["closed_at"] is None or deal["closed_at"].date() >= span.first:
                deals.append(deal)
                history.extend(stages)
    growth, number = 0.0, 0
    for day in span.workdays():
        growth += 0.0006
        for _ in range(poisson(rng, 13.5 * season(day) * (1 + growth))):
            number += 1
            deal, stages = _deal(rng, span, accounts, day, f"d{number}")
            deals.append(deal)
            history.extend(stages)
    return deals, history


def _deal(
    rng: Random, span: Span, accounts: Sequence[dict[str, Any]], day: date, key: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    owner, _, _, _, skill = rng.choice(SELLERS)
    source, _, bonus = rng.choices(SOURCES, weights=[share for _, share, _ in SOURCES])[0]
    account = rng.choice(accounts)
    product, price = rng.choices(PRODUCTS, weights=_product_weights(account["segment"]))[0]
    created, closing = instant_on(rng, day), _closing_day(rng, day)
    closed = max(instant_on(rng, closing), created + timedelta(hours=2))
    won = rng.random() < _win_chance(owner, skill, bonus, closing, span)
    reason = rng.choice(LOSS_REASONS)
    amount = round(price * rng.lognormvariate(0, 0.35), 2)
    is_closed = closed <= span.now
    visits = list(_visits(rng, key, created, closed, won, span.now))
    deal = {
        "native_id": key,
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


def leads(rng: Random, span: Span) -> Iterator[dict[str, Any]]:
    """Enquiries, some of them converted; nine of ten are answered, most within the hour."""
    number, answers = 0, Random("answers")
    for day in span.workdays():
        for _ in range(poisson(rng, 16 * season(day))):
            number += 1
            created = instant_on(rng, day)
            converted = created + timedelta(days=rng.gammavariate(2, 3))
            is_converted = rng.random() < 0.45 and converted <= span.now
            answered = created + timedelta(minutes=answers.expovariate(1 / 40))
            is_answered = answers.random() < 0.9 and answered <= span.now
            yield {
                "native_id": f"l{number}",
                "created_at": created,
                "updated_at": converted if is_converted else created,
                "name": f"Lead {number:05d}",
                "email": f"lead{number}@example.org",
                "lead_source": pick(rng, [(name, share) for name, share, _ in SOURCES]),
                "owner_id": rng.choice(SELLERS)[0],
                "status": "converted" if is_converted else "open",
                "first_response_at": answered if is_answered else None,
                "converted_at": converted if is_converted else None,
            }


def activities(rng: Random, span: Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Calls and meetings; the troubled seller makes fewer calls of late."""
    number = 0
    for day in span.workdays():
        for owner, *_ in SELLERS:
            tired = owner == TROUBLED and (span.last - day).days <= BREAKDOWN_DAYS
            for _ in range(poisson(rng, 6.0 if tired else 9.5)):
                number += 1
                yield _activity(rng, number, "call", owner, day, accounts)
            if rng.random() < 0.8:
                number += 1
                yield _activity(rng, number, "meeting", owner, day, accounts)


def _activity(rng: Random, number: int, kind: str, owner: str, day: date, accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    started = instant_on(rng, day)
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
