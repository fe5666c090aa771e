"""Rules on what does not come: sources that are silent, reports that were not written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from kpid.alerting.evaluate import AlertingSetup, EvaluateResult, evaluate_rules
from kpid.alerting.evaluate import watch as judge_silence
from kpid.analysis.periods import Calendar
from kpid.config.alerting import Rule
from kpid.store import alerts, episodes, syncs
from kpid.store.tables import runs
from tests.alerting.world import World, rule, week

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
EXPECTED = {"source:crm": HOUR, "source:erp": 6 * HOUR, "report:weekly": 168 * HOUR}


def silence(**given: Any) -> Rule:
    return Rule.model_validate({"name": "silent", "absence": {"source": "all"}, "to": ["team"], **given})


@dataclass
class Watch(World):
    expected: dict[str, timedelta] = field(default_factory=lambda: dict(EXPECTED))
    zone: str = "Europe/Berlin"

    def setup(self) -> AlertingSetup:
        return replace(super().setup(), expected=self.expected, calendar=Calendar(self.zone))

    def sync(self, source: str, at: datetime, state: str = "done", entity: str = "deals") -> None:
        with self.store.write() as conn:
            syncs.finish(conn, syncs.start(conn, source, entity, at), state, at)

    def report(self, due: datetime, state: str = "due") -> None:
        values = {
            "schedule": "report:weekly",
            "due": due.isoformat(),
            "timezone": "UTC",
            "due_at": due,
            "state": state,
            "reason": "",
        }
        with self.store.write() as conn:
            conn.execute(insert(runs).values(**values))

    def at(self, hours: float) -> EvaluateResult:
        return evaluate_rules(self.setup(), store=self.store, now=START + hours * HOUR)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path, [silence()])


def test_silent_source_fires_and_its_news_end_it(watch: Watch) -> None:
    watch.sync("crm", START)
    watch.sync("erp", START)
    for hours in (1, 2):
        watch.at(hours)
    assert watch.states() == {"crm": "ok", "erp": "ok"}
    watch.at(3)
    assert watch.states() == {"crm": "firing warn", "erp": "ok"}
    watch.sync("crm", START + 3.5 * HOUR)
    watch.at(4)
    assert watch.states() == {"crm": "ok", "erp": "ok"}
    assert watch.events() == ["fired", "resolved"]
    with watch.store.read() as conn:
        (row,) = episodes.spans(conn, "silent")
        fired = alerts.list_events(conn)[-1].body
    assert (row.label, row.segment, row.end_kind) == ("crm", {"source": "crm"}, "resolved")
    assert (fired["value"], fired["limit"], fired["threshold"]) == ("10800", "7200", "> 2 h")
    assert fired["reason"] == "nothing from crm for 3 h (since Mon 5 Jan, 07:00 CET), expected every 1 h"
    assert watch.titles()[0].endswith("crm fired warn")


def test_each_hour_is_judged_once_and_missed_ones_never(watch: Watch) -> None:
    watch.sync("crm", START)
    assert watch.at(1.2).evaluations == 1
    assert watch.at(1.9).evaluations == 0
    assert watch.at(9.1).evaluations == 1


def test_silence_is_noticed_though_nothing_is_synced(watch: Watch) -> None:
    watch.sync("crm", START)
    watch.rules = [*watch.rules, rule(by=[]), silence(name="resting", paused=True)]
    seen = [watch_only(watch, hours) for hours in (1, 1.5, 3, 3.9)]
    assert [(result.evaluations, result.messages) for result in seen] == [(1, 0), (0, 0), (1, 1), (0, 0)]
    assert watch.states() == {"crm": "firing warn"}
    watch.rules = []
    assert watch_only(watch, 5) == EvaluateResult()


def watch_only(watch: Watch, hours: float) -> EvaluateResult:
    return judge_silence(watch.setup(), store=watch.store, now=START + hours * HOUR)


def test_failing_syncs_are_silence(watch: Watch) -> None:
    watch.sync("crm", START)
    for hours in (1, 2, 3):
        watch.sync("crm", START + hours * HOUR, "failed")
    watch.at(3)
    assert watch.states() == {"crm": "firing warn"}


def test_one_entity_that_does_not_come_is_silence_unless_it_is_no_longer_asked_for(watch: Watch) -> None:
    for entity in ("deals", "users", "old"):
        watch.sync("crm", START - 48 * HOUR * (entity == "old"), entity=entity)
    for hours in (1, 2, 3):
        watch.sync("crm", START + hours * HOUR, entity="users")
        watch.sync("crm", START + hours * HOUR, "failed", entity="deals")
    watch.at(3)
    assert watch.states() == {"crm": "firing warn"}
    watch.sync("crm", START + 3.5 * HOUR)
    watch.at(4)
    assert watch.states() == {"crm": "ok"}


def test_critical_after_a_time_of_its_own(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(absence={"source": "crm", "after": "3h"}, critical_after="5h")])
    watch.sync("crm", START)
    seen = []
    for hours in range(1, 8):
        watch.at(hours)
        seen.append(watch.states()["crm"])
    assert seen == ["ok"] * 3 + ["firing warn"] * 2 + ["firing critical"] * 2
    assert watch.events() == ["fired", "escalated"]


def test_for_counts_hours(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(**{"for": "2x"})])
    watch.sync("crm", START)
    watch.at(3)
    assert watch.states() == {"crm": "pending warn"}
    watch.at(4)
    assert watch.states() == {"crm": "firing warn"}


def test_report_that_was_not_written_fires(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(name="unsent", absence={"report": "weekly", "after": "3h"})])
    watch.at(1)
    assert watch.states() == {"weekly": "ok"}
    watch.report(START - 168 * HOUR, "done")
    watch.report(START + HOUR, "failed")
    for hours, state in ((2, "ok"), (4, "ok"), (5, "firing warn")):
        watch.at(hours)
        assert watch.states() == {"weekly": state}, hours
    with watch.store.write() as conn:
        conn.execute(update(runs).where(runs.c.state == "failed").values(state="done"))
    watch.at(6)
    assert watch.states() == {"weekly": "ok"}


def test_report_of_before_kpid_first_ran_is_not_overdue(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(absence={"report": "weekly", "after": "3h"})])
    watch.sync("crm", START)
    watch.report(START - 144 * HOUR)
    watch.at(1)
    assert watch.states() == {"weekly": "ok"}
    watch.at(4)
    assert watch.states() == {"weekly": "firing warn"}


def test_source_that_was_never_asked_is_a_rule_that_cannot_be_judged(watch: Watch) -> None:
    for hours in (1, 2, 3):
        watch.at(hours)
    assert watch.events() == ["unhealthy"]


def test_source_that_is_gone_ends_its_alert(watch: Watch) -> None:
    watch.sync("crm", START)
    watch.sync("erp", START)
    watch.at(3)
    del watch.expected["source:crm"]
    for hours in (4, 5, 6):
        watch.at(hours)
    assert watch.events() == ["fired", "expired"]


def test_rule_that_is_gone_ends_with_a_notice(watch: Watch) -> None:
    watch.sync("crm", START)
    watch.at(3)
    watch.rules = []
    watch.at(3.5)
    assert watch.events() == ["fired", "rule_removed"]
    assert watch.titles()[-1] == "silent : crm rule_removed warn"


def test_hours_are_those_of_the_companys_zone(tmp_path: Path) -> None:
    """Kathmandu is 5:45 ahead: its hours end a quarter past those of UTC."""
    watch = Watch(tmp_path, [silence()], zone="Asia/Kathmandu")
    watch.sync("crm", START)
    assert watch.at(1.2).evaluations == 1
    assert watch.at(1.24).evaluations == 0
    assert watch.at(1.26).evaluations == 1
    with watch.store.read() as conn:
        (row,) = alerts.list_series(conn)
    assert row.last_slot == START + timedelta(hours=1, minutes=15)


def test_absence_rules_and_others_are_judged_together(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [rule(by=[]), silence()])
    watch.sync("crm", START)
    watch.put(watch.rules[0], week(2), {"all": (96, 400)})
    result = evaluate_rules(watch.setup(), store=watch.store, now=week(2).end + HOUR)
    assert (result.events, result.failed) == (2, ())
