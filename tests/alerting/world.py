"""A small world for rules: a real store in a folder, measurements put into history, a plain compose function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select

from kpid.alerting.evaluate import AlertingSetup, EvaluateResult, evaluate_rules
from kpid.alerting.rules import need_of
from kpid.analysis.periods import Calendar, period_from_label
from kpid.config.model import Rule
from kpid.model import Measurement, MeasurementState, Notice, Period, Segment, SeriesNeed
from kpid.plugin.entities import deals
from kpid.plugin.kpi import At, Definition, Kpi, Measure, count
from kpid.plugin.notifier import Message
from kpid.store import alerts, history
from kpid.store.engine import open_store
from kpid.store.tables import outbox

CALENDAR = Calendar("Europe/Berlin")
_CLOSED = Measure(deals, At(deals.c.closed_at), count())
_WON = Measure(deals, At(deals.c.closed_at), count(where=deals.c.state == "won"))
WIN_RATE = Kpi(
    id="win_rate",
    name="Win rate",
    category="sales",
    unit="ratio",
    better="up",
    define=Definition({"won": _WON, "closed": _CLOSED}, lambda m: m.won / m.closed, sample="closed"),
    dimensions=("owner", "team"),
    formula_text="won / (won + lost)",
)
DEALS = Kpi(
    id="deals",
    name="Closed deals",
    category="sales",
    unit="count",
    better="up",
    define=Definition({"closed": _CLOSED}, lambda m: m.closed),
    dimensions=("owner", "team"),
)


def rule(**given: Any) -> Rule:
    """A rule on the weekly win rate by owner, with other settings where given."""
    plain = {"name": "win-rate-low", "kpi": "win_rate", "period": "week", "by": ["owner"], "warn": "< 25%", "to": ["team"]}
    return Rule.model_validate({**plain, **given})


def week(number: int) -> Period:
    return period_from_label("week", f"2026-W{number:02}", CALENDAR)


def compose(notice: Notice) -> Message:
    """A message that says what the notice says, for tests to look at."""
    items = ", ".join(f"{item.segment or 'rule'} {item.kind} {item.level.value}" for item in notice.items)
    late = " (found late)" if notice.found_late else ""
    kind = "health" if notice.kind == "health" else "alert"
    facts = {"reasons": [item.reason for item in notice.items], "values": [str(item.value) for item in notice.items]}
    return Message(
        key="",
        kind=kind,
        title=f"{notice.rule} {notice.period_label}: {items}{late}",
        text="",
        created_at=notice.now,
        facts=facts,
    )


@dataclass
class World:
    """A store, rules and receivers. Figures are put in by hand."""

    folder: Path
    rules: Sequence[Rule] = ()
    recipients: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"team": ("ada@example.com",)})
    compose: Any = compose
    url: str = ""

    def __post_init__(self) -> None:
        self.store = open_store(self.url or f"sqlite:///{self.folder / 'kpid.db'}")

    def need(self, rule: Rule) -> SeriesNeed:
        return need_of(rule, {"win_rate": WIN_RATE, "deals": DEALS}[rule.kpi])

    def put(self, rule: Rule, period: Period, values: Mapping[str, Any], now: datetime | None = None) -> None:
        """Measure a period: ``{owner: (won, closed)}``, ``{owner: count}``, or a state; what is left out has no rows."""
        found = [_measurement(rule, period, owner, value) for owner, value in values.items()]
        at = now or period.end
        with self.store.write() as conn:
            history.append(conn, self.need(rule), found, periods=[period], definition="d", now=at)
            history.save_family(conn, self.need(rule), "d", 1, at)

    def setup(self) -> AlertingSetup:
        kpis = {"win_rate": WIN_RATE, "deals": DEALS}
        return AlertingSetup(self.rules, kpis, CALENDAR, self.recipients, self.compose, {})

    def evaluate(self, now: datetime) -> EvaluateResult:
        return evaluate_rules(self.setup(), store=self.store, now=now)

    def titles(self) -> list[str]:
        return [row.message["title"] for row in self.letters()]

    def letters(self) -> list[Any]:
        with self.store.read() as conn:
            return list(conn.execute(select(outbox).order_by(outbox.c.id)))

    def states(self) -> dict[str, str]:
        """``{owner: "firing critical"}`` of all series."""
        with self.store.read() as conn:
            rows = alerts.list_series(conn) + alerts.list_series(conn, "forgotten")
        return {row.label: row.status + ("" if row.level == "none" else f" {row.level}") for row in rows}

    def events(self) -> list[str]:
        with self.store.read() as conn:
            return [event.kind for event in reversed(alerts.list_events(conn, limit=1000))]


def _measurement(rule: Rule, period: Period, owner: str, value: Any) -> Measurement:
    dims = (Segment("owner", f"crm:{owner}", owner.title()),) if rule.by else ()
    plain = Measurement(
        rule.kpi, period, MeasurementState.OK, None, 0, dims, as_of=period.end, data_through=period.end, reason=""
    )
    if isinstance(value, MeasurementState):
        return replace(plain, state=value, reason=f"state {value.value}")
    if isinstance(value, tuple):
        won, closed = map(Decimal, value)
        if not closed:
            return replace(plain, state=MeasurementState.UNDEFINED, reason="no closed deals", numerator=won, denominator=closed)
        return replace(plain, value=won / closed, n=int(closed), numerator=won, denominator=closed)
    return replace(plain, value=Decimal(value), n=int(value))
