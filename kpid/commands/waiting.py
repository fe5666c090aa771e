"""Rules that cannot judge yet because too little is known to compare with: which, and from which day on they can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from kpid.analysis.wording import count_text
from kpid.app import App
from kpid.model import Finding
from kpid.store import alerts
from kpid.store.alerts import SeriesRow


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rule of which nothing can be judged yet.

    Attributes:
        rule: its uid.
        day: from which the first of its series can be judged.
        slot: the newest that was judged.
        series: how many it has.
        updated_at: when it was.
    """

    rule: str
    day: date
    slot: datetime | None
    series: int
    updated_at: datetime

    @property
    def text(self) -> str:
        """A sentence about it."""
        many = f" ({count_text(self.series, 'series', 'series')})" if self.series > 1 else ""
        return f"not judged yet{many}: too little is known to compare with until {self.day}"


def waiting_rules(rows: Iterable[SeriesRow]) -> list[Waiting]:
    """Rules all of whose series lack earlier figures, by name. A series that fires does not lack them."""
    by_rule: dict[str, list[SeriesRow]] = {}
    for row in rows:
        by_rule.setdefault(row.rule_uid, []).append(row)
    found = []
    for rule, series in sorted(by_rule.items()):
        days = [date.fromisoformat(day) for row in series if (day := _known_from(row))]
        if len(days) == len(series):
            newest = max(series, key=lambda row: row.updated_at)
            found.append(Waiting(rule, min(days), newest.last_slot, len(series), newest.updated_at))
    return found


def _known_from(row: SeriesRow) -> str:
    if row.status != "ok" or row.data != "insufficient":
        return ""
    return str((row.state.get("last") or {}).get("known_from") or "")


def waiting_findings(app: App) -> Iterator[Finding]:
    """What ``kpid check --connect`` says of them."""
    places = {rule.uid: app.loaded.place("rules", number) for number, rule in enumerate(app.config.rules)}
    with app.store.read() as connection:
        found = waiting_rules(alerts.list_series(connection))
    for one in found:
        if one.rule in places:
            hint = "Nothing to do: it begins by itself. `kpid test` and `kpid backtest` show what it will do"
            yield Finding(f"rule {one.rule}", False, one.text, hint, places[one.rule], warning=True)
