"""The sample company's support desk and its NPS surveys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from kpid.sample.company import AGENTS, Span, instant_on, poisson

RUSH_DAYS = 28
TICKET_CATEGORIES = ("billing", "how-to", "defect", "access", "integration")


def tickets(rng: Random, span: Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Support requests; in the last four weeks there are more of them."""
    number, answers = 0, Random("answers")
    for day in span.days():
        is_calm = (span.last - day).days > RUSH_DAYS
        rush = 1.0 if is_calm else 1.3
        for _ in range(poisson(rng, rush * (7.5 if day.weekday() < 5 else 1.5))):
            number += 1
            created = instant_on(rng, day)
            reply = created + timedelta(hours=rng.expovariate(1 / 3.5))
            solved = reply + timedelta(hours=rng.expovariate(1 / (30 if is_calm else 150)))
            is_solved = solved <= span.now
            replies = 1 if answers.random() < (0.72 if is_calm else 0.5) else 1 + poisson(answers, 1.5)
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
                "reply_count_public": replies if reply <= span.now else 0,
                "reopen_count": 0,
            }


def surveys(rng: Random, span: Span, accounts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Answers to the NPS question."""
    number = 0
    weights = (1, 1, 1, 1, 2, 3, 5, 12, 20, 28, 26)
    for day in span.workdays():
        for _ in range(poisson(rng, 7.0)):
            number += 1
            submitted = instant_on(rng, day)
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
