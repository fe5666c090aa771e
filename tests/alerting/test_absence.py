"""Rules on what does not come: sources that are silent, reports that were not written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from kpid.alerting.absence import past_figures, plan_of
from kpid.alerting.backtest import Backtest, backtest, periods_of
from kpid.alerting.evaluate import AlertingSetup, EvaluateResult, evaluate_rules
from kpid.alerting.evaluate import watch as judge_silence
from kpid.alerting.replay import Past
from kpid.analysis.periods import Calendar
from kpid.config.alerting import Rule
from kpid.store import alerts, episodes, syncs
from kpid.store.tables import runs
from tests.alerting.world import World, rule, week

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
EXPECTED = {"source:crm": HOUR, "report:weekly": 168 * HOUR}


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


@pytest.fixture
def both(tmp_path: Path) -> Watch:
    return Watch(tmp_path, [silence()], expected={**EXPECTED, "source:erp": 6 * HOUR})


def test_silent_source_fires_and_its_news_end_it(both: Watch) -> None:
    both.sync("crm", START)
    both.sync("erp", START)
    for hours in (1, 2):
        both.at(hours)
    assert both.states() == {"crm": "ok", "erp": "ok"}
    both.at(3)
    assert both.states() == {"crm": "firing warn", "erp": "ok"}
    both.sync("crm", START + 3.5 * HOUR)
    both.at(4)
    assert both.states() == {"crm": "ok", "erp": "ok"}
    assert both.events() == ["fired", "resolved"]
    with both.store.read() as conn:
        (row,) = episodes.spans(conn, "silent")
        fired = alerts.list_events(conn)[-1].body
    assert (row.label, row.segment, row.end_kind) == ("crm", {"source": "crm"}, "resolved")
    assert (fired["value"], fired["limit"], fired["threshold"]) == ("10800", "7200", "> 2 h")
    assert fired["reason"] == "nothing from crm for 3 h (since Mon 5 Jan, 07:00 CET), expected every 1 h"
    assert both.titles()[0].endswith("crm fired warn")


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


def test_source_that_was_never_synced_fires_beside_others_that_deliver(both: Watch) -> None:
    """Counted from when the rule first saw it among the sources: kpid cannot know of it any earlier."""
    seen = []
    for hours in range(1, 11):
        both.sync("erp", START + hours * HOUR)
        both.at(hours)
        seen.append(both.states())
    assert [one["crm"] for one in seen] == ["ok"] * 3 + ["firing warn"] * 7
    assert {one["erp"] for one in seen} == {"ok"}
    with both.store.read() as conn:
        fired = alerts.list_events(conn)[-1].body
    assert fired["reason"] == "crm was never synced in the 3 h since it is configured (Mon 5 Jan, 08:00 CET), expected every 1 h"


def test_source_that_was_never_synced_fires_where_there_is_no_other(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(critical_after="5h")], expected={"source:crm": HOUR})
    for hours in (1, 2, 3, 4, 6, 7, 8):
        watch.at(hours)
    assert watch.states() == {"crm": "firing critical"}
    assert watch.events() == ["fired", "escalated"]
    watch.sync("crm", START + 8.5 * HOUR)
    watch.at(9)
    assert watch.states() == {"crm": "ok"}


def test_hours_in_which_kpid_did_not_run_count_for_a_source_that_was_never_synced(both: Watch) -> None:
    both.at(1)
    both.at(9)
    assert both.states() == {"crm": "firing warn", "erp": "ok"}


def test_source_that_comes_back_to_the_configuration_is_as_new(both: Watch) -> None:
    both.sync("erp", START)
    for hours in (1, 2):
        both.at(hours)
    gap = both.expected.pop("source:crm")
    both.at(3)
    both.expected["source:crm"] = gap
    for hours in (4, 5, 6):
        both.at(hours)
        assert both.states()["crm"] == "ok"
    both.at(7)
    assert both.states()["crm"] == "firing warn"


def test_source_that_is_gone_ends_its_alert(both: Watch) -> None:
    both.sync("crm", START)
    both.sync("erp", START)
    both.at(3)
    del both.expected["source:crm"]
    for hours in (4, 5, 6):
        both.at(hours)
    assert both.events() == ["fired", "expired"]


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


# ---- the same over the past


def tried(watch: Watch, hours: float, one: Rule | None = None) -> Backtest:
    chosen, setup = one or watch.rules[0], watch.setup()
    periods = periods_of(plan_of(chosen), START, START + hours * HOUR, setup.calendar)
    with watch.store.read() as conn:
        past = Past(past_figures(conn, plan_of(chosen), periods, setup))
    return backtest(chosen, plan_of, past, periods, setup.calendar, setup)


def episodes_of(found: Backtest) -> list[tuple[str, str, datetime, datetime | None]]:
    return [(one.dims[0].id or "", one.level.value, one.fired_at, one.ended_at) for one in found.run.episodes]


def test_backtest_of_silence_finds_what_live_found(both: Watch) -> None:
    both.rules = [silence(critical_after="5h", **{"for": "2x", "keep_firing_for": "1x"})]
    both.sync("erp", START)
    both.sync("crm", START, entity="users")
    for hours in range(1, 40):
        both.sync("crm", START + (hours - 0.5) * HOUR, "done" if hours % 11 < 3 else "failed")
        both.sync("crm", START + (hours - 0.3) * HOUR, entity="users")
        both.at(hours)
    with both.store.read() as conn:
        live = [
            (row.segment["source"] or "", row.level, row.opened_slot, row.ended_slot) for row in episodes.spans(conn, "silent")
        ]
    found = tried(both, 39)
    assert len(live) >= 4
    assert sorted(episodes_of(found), key=str) == sorted(live, key=str)
    assert found.run.notices == len([event for event in both.events() if event in {"fired", "escalated", "resolved"}])
    assert list(found.without) == ["for: 2x", "keep_firing_for: 1x"]
    assert len(found.without["for: 2x"].episodes) >= len(found.run.episodes)


def test_backtest_of_reports_finds_what_live_found(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [silence(name="unsent", absence={"report": "weekly", "after": "3h"})])
    watch.sync("crm", START)
    watch.report(START - 10 * HOUR, "done")
    watch.report(START + HOUR, "due")
    for hours in range(1, 8):
        watch.at(hours)
    with watch.store.write() as conn:
        written = {"state": "done", "finished_at": START + 7.5 * HOUR}
        conn.execute(update(runs).where(runs.c.state == "due").values(**written))
    for hours in range(8, 12):
        watch.at(hours)
    assert watch.events() == ["fired", "resolved"]
    assert episodes_of(tried(watch, 11)) == [("weekly", "warn", START + 5 * HOUR, START + 8 * HOUR)]


def test_a_source_is_not_judged_before_it_was_first_asked_for(both: Watch) -> None:
    both.sync("erp", START)
    both.sync("crm", START + 20 * HOUR)
    found = tried(both, 30)
    assert episodes_of(found) == [
        ("erp", "warn", START + 13 * HOUR, None),
        ("crm", "warn", START + 23 * HOUR, None),
    ]
    assert [len([mark for mark in marks if mark]) for marks in found.run.marks.values()] == [11, 30]
