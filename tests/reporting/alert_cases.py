"""Every kind of alert in every size, invented: what the golden files and the tests over the whole way are made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from kpid_slack.payload import payload as slack_payload
from kpid_webhook import payload as webhook_payload

from kpid.model import Cause, Level, Notice, NoticeItem, Rows
from kpid.plugin.notifier import Action, Message
from kpid.reporting.alert_view import Plainly
from kpid.reporting.samples import sample_item, sample_notices
from tests.reporting.test_render import Page
from tests.reporting.weeks import CALENDAR

SIZES = (1, 20, 1000)
ALERT, HEALTH = sample_notices(CALENDAR)[0], sample_notices(CALENDAR)[-1]
ACTIONS = (
    Action("ack", "Acknowledge", "token-ack", "https://kpid.example.com/a/token-ack"),
    Action("snooze", "Snooze 1 day", "token-snooze", "https://kpid.example.com/a/token-snooze"),
    Action("silence", "Silence 8 hours", "token-silence", "https://kpid.example.com/a/token-silence"),
)
FIRING = ("fired", "escalated", "eased", "flapping")
ENDED = ("resolved", "new_level", "expired", "restated", "rule_changed", "rule_removed", "paused", "steady")
RETOLD = ("reminder", "escalation")
_LABELS = [f"{year}-{month:02d}" for year, months in ((2025, range(10, 13)), (2026, range(1, 11))) for month in months]
_PAST = ("0.47", "0.49", "0.45", "0.44", "0.46", "0.48", "0.43", "0.47", "0.44", "0.45", "0.46", "0.45")


class Case(NamedTuple):
    """Notices, and how they are told."""

    notices: Sequence[Notice]
    telling: Plainly


def item_of(number: int, kind: str) -> NoticeItem:
    """One series: every third is critical, the rest are warnings, each worse than the one before."""
    value = Decimal("0.39") - Decimal(number) / 3000
    effect = Decimal("-0.001")
    cause = Cause(
        "region", "EMEA", Decimal("-0.061"), Decimal("-0.061"), Decimal(0), Decimal("0.31"), Decimal("0.45"), 120, 140, 3.1
    )
    found = replace(
        sample_item(f"Seller {number:04d} Example", str(value), kind),
        level=Level.CRITICAL if number % 3 == 0 else Level.WARN,
        threshold="< 40%" if number % 3 == 0 else "< 42%",
        limit=Decimal("0.4") if number % 3 == 0 else Decimal("0.42"),
        event_id=100 + number,
        low=value - Decimal("0.12"),
        high=value + Decimal("0.12"),
        p=0.0023,
        baseline=Decimal("0.452"),
        compared="average of 8 months",
        effect=((value - Decimal("0.452")) / Decimal("0.452")).quantize(effect),
        causes=(cause,),
        moved_from="the average of 8 months",
        trail=(*zip(_LABELS, map(Decimal, _PAST), strict=False), (_LABELS[-1], value)),
        dims=(("owner", f"crm:{number}"),),
    )
    if kind in ENDED:
        return replace(
            found,
            level=Level.NONE,
            value=value + Decimal("0.2"),
            low=None,
            high=None,
            effect=None,
            baseline=None,
            causes=(),
            moved_from="",
            p=None,
        )
    return found


def records(count: int) -> Rows:
    """Deals behind a count."""
    cells = tuple(
        (f"Deal {number:03d}", "Ada Example", f"€{90 - number}k", f"2026-10-{number + 1:02d}") for number in range(min(count, 20))
    )
    return Rows(("name", "owner", "amount", "expected_close_at"), cells, count)


def alert(count: int, kind: str, **changes: Any) -> Notice:
    """A notice about so many series."""
    items = tuple(item_of(number, kind) for number in range(count))
    return replace(ALERT, items=items, uid="win-rate-low", sample="closed deals", **changes)


def health(count: int, kind: str) -> list[Notice]:
    """Notices about the data of so many rules, all on one source."""
    level = Level.NONE if kind == "healthy" else Level.WARN
    one = replace(HEALTH.items[0], kind=kind, level=level)
    return [
        replace(HEALTH, rule=f"rule-{number:04d}", items=(replace(one, event_id=number + 1),), labels=(("source", "crm"),))
        for number in range(count)
    ]


def rules(count: int) -> list[Notice]:
    """Notices of so many rules: every other one has twenty series, some have ended."""
    found = []
    for number in range(count):
        kind = "resolved" if number % 5 == 4 else "escalated" if number % 7 == 3 else "fired"
        found.append(alert(20 if number % 2 else 1, kind, rule=f"rule-{number:04d}", kpi_name=f"KPI {number:04d}"))
    return found


def configuration(*, refused: bool) -> Notice:
    """A configuration that was refused, or that is in order again."""
    told = replace(
        HEALTH.items[0],
        kind="config",
        level=Level.WARN if refused else Level.NONE,
        reason="kpid.yml:12: rules: there is no KPI 'win_rat'" if refused else "",
        since="",
    )
    return replace(
        HEALTH,
        rule="",
        kpi="",
        kpi_name="Configuration",
        by=(),
        definition="",
        runbook=None,
        labels=(),
        items=(told,),
        data_through=None,
    )


def counted() -> Notice:
    """A count with the records behind it."""
    item = replace(
        sample_item("all", "57"), threshold="> 50", limit=Decimal(50), previous=Decimal(48), n=0, rows=records(57), event_id=18
    )
    return replace(
        ALERT, rule="overdue", kpi_name="Overdue deals", unit="count", better="down", by=(), items=(item,), sample="open deals"
    )


def all_cases() -> Iterator[tuple[str, Case]]:
    """Every kind in every size, by name."""
    for size in SIZES:
        for kind in (*FIRING, *ENDED):
            yield f"{kind}-{size}", Case([alert(size, kind)], Plainly(actions=ACTIONS if kind in FIRING else ()))
        for kind in RETOLD:
            yield f"{kind}-{size}", Case([alert(size, "fired")], Plainly(kind=kind, actions=ACTIONS))
        for kind in ("unhealthy", "healthy"):
            yield f"{kind}-{size}", Case(health(size, kind), Plainly())
        yield f"digest-{size}", Case([alert(size, "flapping"), alert(1, "flapping", rule="other")], Plainly(kind="digest"))
        yield f"rules-{size}", Case(rules(max(2, size)), Plainly(actions=ACTIONS, route="sales"))
    yield "config-1", Case([configuration(refused=True)], Plainly())
    yield "config-ended-1", Case([configuration(refused=False)], Plainly())
    yield "records-1", Case([counted()], Plainly(actions=ACTIONS))
    held = "held back by window office until Mon 16 Nov, 08:00 CET"
    yield "held-1", Case([alert(1, "fired", found_late=True)], Plainly(actions=ACTIONS, held=held))


def golden_text(message: Message) -> str:
    """A message in all its forms, for people to read: subject, text, words of the page, Slack's blocks, the webhook's body."""
    blocks = slack_payload(message, buttons=True)["blocks"]
    body = webhook_payload(message)
    body = {**body, "text": "(see above)", "sections": len(body["sections"]), "facts": _fewer(body["facts"])}
    parts = {
        "subject": message.title,
        "text": message.text.rstrip("\n"),
        "page": Page(message.html or "").text,
        "slack": json.dumps(blocks, ensure_ascii=False, indent=1),
        "webhook": json.dumps(body, ensure_ascii=False, indent=1),
    }
    return "\n\n".join(f"==== {name}\n{text}" for name, text in parts.items()) + "\n"


def _fewer(facts: Any) -> Any:
    """Facts with the first of their items and notices only: the others look alike, and a test counts them."""
    if isinstance(facts, list):
        return [_fewer(one) for one in facts[:1]] + ([f"and {len(facts) - 1} more"] if len(facts) > 1 else [])
    return {name: _fewer(value) for name, value in facts.items()} if isinstance(facts, dict) else facts
