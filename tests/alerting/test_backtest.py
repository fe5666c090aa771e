from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from kpid.alerting.backtest import UNGUARDED, backtest, first_needed, guards_off, periods_of
from kpid.alerting.facts import Exclusion
from kpid.alerting.replay import Past
from kpid.alerting.rules import plan_of
from kpid.analysis.periods import periods_between
from kpid.model import Measurement, MeasurementState, Segment
from kpid.store import alerts
from tests.alerting.test_replay import lived
from tests.alerting.world import CALENDAR, WIN_RATE, World, rule, week

WEEKS = [week(number) for number in range(2, 14)]
WELL, BAD = (20, 30), (5, 30)
FIGURES = {
    "ana": [WELL, BAD, BAD, *[WELL] * 7, BAD, BAD],
    "ben": [(2, 5), (0, 4), (0, 4), *[WELL] * 7, (0, 5), WELL],
    "eve": [*[WELL] * 5, BAD, (2, 30), (8, 30), *[WELL] * 4],
}


def figures(values=FIGURES, periods=WEEKS):
    for owner, cells in values.items():
        for period, (won, closed) in zip(periods, cells, strict=False):
            yield Measurement(
                "win_rate", period, MeasurementState.OK, Decimal(won) / closed, closed, (Segment("owner", owner, owner.title()),),
                numerator=Decimal(won), denominator=Decimal(closed), as_of=period.end, data_through=period.end,
            )  # fmt: skip


def plan(changed):
    return plan_of(changed, WIN_RATE)


def tried(**said):
    return backtest(rule(warn="< 25%", **said), plan, Past(list(figures())), WEEKS, CALENDAR)


def test_episodes_are_told_with_their_worst_figure():
    found = tried(critical="< 10%", recover=">= 30%", min_sample=20)
    assert [(one.dims[0].id, one.fired, one.ended, one.end, one.level.value, one.n) for one in found.run.episodes] == [
        ("ana", "2026-W03", "2026-W05", "resolved", "warn", 30),
        ("eve", "2026-W07", "2026-W10", "resolved", "critical", 30),
        ("ana", "2026-W12", "", "", "warn", 30),
    ]
    assert found.run.episodes[1].value == Decimal(2) / 30
    assert found.run.episodes[1].threshold == "< 10%"
    assert found.run.episodes[2].ended_at is None
    assert found.evaluations == 36


def test_breaches_notices_and_messages_are_counted():
    run = tried(min_sample=20).run
    assert (run.breaches, len(run.episodes), run.notices) == (6, 3, 5)
    assert run.messages == 5
    assert sum(run.weekly) == run.notices
    assert len(run.weekly) == 12
    assert round(run.per_week, 2) == round(Decimal(5) / 12, 2)


def test_two_that_fire_together_share_a_message():
    values = {"ana": [(20, 30), (1, 30), (20, 30)], "ben": [(20, 30), (1, 30), (1, 30)]}
    found = backtest(rule(), plan, Past(list(figures(values))), WEEKS[:3], CALENDAR).run
    assert (found.notices, found.messages) == (3, 2)


def test_each_guard_is_taken_away_alone_and_all_together():
    found = tried(min_sample=20, significance="5%", recover=">= 30%", **{"for": "2x", "keep_firing_for": "1x"})
    names = ["min_sample: 20", "significance: 5%", "correct: bh", "for: 2x", "recover: >= 30%", "keep_firing_for: 1x"]
    assert list(found.without) == names
    assert [run.name for run in found.without.values()] == [f"without {name}" for name in names]
    assert found.unguarded.name == UNGUARDED
    assert found.unguarded.breaches > found.run.breaches
    assert found.without["min_sample: 20"].breaches >= found.run.breaches


def test_a_rule_without_guards_has_nothing_to_take_away():
    found = tried()
    assert (found.without, found.unguarded) == ({}, None)
    assert list(tried(min_sample=20).without) == ["min_sample: 20"]
    assert tried(min_sample=20).unguarded is None, "it would be the same"


def test_the_kpis_own_minimum_is_a_guard():
    strict = plan_of(rule(), WIN_RATE.__class__(**{**vars_of(WIN_RATE), "min_sample": 30}))
    assert dict(guards_off(rule(), strict)) == {"min_sample: 30": {"min_sample": 0}}


def vars_of(kpi):
    return {name: getattr(kpi, name) for name in kpi.__slots__}


def test_marks_say_what_became_of_each_period():
    ana, ben, _ = tried(min_sample=20, **{"for": "2x", "keep_firing_for": "1x"}).run.marks.values()
    assert ana[:5] == ("ok", "pending", "warn", "recovering", "ok")
    assert ben[:4] == ("insufficient", "insufficient", "insufficient", "ok")
    early = periods_between("week", WEEKS[0].start - timedelta(weeks=2), WEEKS[0].end, CALENDAR)
    found = backtest(rule(), plan, Past(list(figures())), early, CALENDAR)
    assert found.run.marks[(Segment("owner", "ana", "Ana"),)] == ("", "", "ok")


@pytest.mark.parametrize("said", [{}, {"min_sample": 20}, {"min_sample": 20, "for": "2x", "recover": ">= 40%"}])
def test_a_backtest_tells_what_was_lived(tmp_path, said):
    own = rule(warn="< 25%", **said)
    world = World(tmp_path, [own])
    weeks = [(number, {owner: cells[place] for owner, cells in FIGURES.items()}) for place, number in enumerate(range(2, 14))]
    lived(world, own, weeks)
    with world.store.read() as conn:
        names = {row.series_key: row.label.lower() for row in alerts.list_series(conn)}
        fired = [one for one in alerts.list_events(conn, limit=1000) if one.kind == "fired"]
    found = backtest(own, plan, Past(list(figures())), WEEKS, CALENDAR).run
    assert sorted((names[one.series_key], one.slot) for one in fired) == sorted(
        (one.dims[0].id, one.fired_at) for one in found.episodes
    )
    messages = [one for one in world.letters() if "unhealthy" not in one.message["title"]]
    assert len(messages) == found.messages


def test_only_periods_within_the_time_are_judged():
    start, end = datetime(2026, 1, 7, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC)
    assert [period.label for period in periods_of(plan(rule()), start, end, CALENDAR)] == ["2026-W03", "2026-W04", "2026-W05"]
    daily = plan_of(rule(period="rolling_90d"), WIN_RATE)
    assert len(periods_of(daily, start, end, CALENDAR)) == 27


def test_a_rule_looks_back_as_far_as_it_compares():
    found = []
    for condition in ("< 25%", "drop > 10% vs previous", "drop > 10% vs avg(8)"):
        made = plan(rule(warn=condition))
        found.append((week(20).start - first_needed(made.need, made, [week(20)], CALENDAR).start) // timedelta(weeks=1))
    assert found[0] >= 3, "where segments without rows were last seen"
    assert found[1] >= 3
    assert found[2] >= 16, "some of the eight may not be sound"


def test_what_people_have_excluded_is_no_measure_of_what_is_usual():
    values = {"ana": [*[WELL] * 6, *[(8, 30)] * 4, (10, 30), (10, 30)]}
    own = rule(warn="drop > 30% vs avg(4)", **{"for": "20x"})
    out = Exclusion("", WEEKS[6].start, WEEKS[9].end)
    plain, excluded = (
        backtest(own, plan, Past(list(figures(values)), excluded=spans), WEEKS, CALENDAR).run for spans in ((), (out,))
    )
    assert (plain.breaches, excluded.breaches) == (3, 6)
