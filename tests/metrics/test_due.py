"""Which periods are measured again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kpid.analysis.periods import Calendar, period_at, period_from_label
from kpid.metrics.compose import define
from kpid.metrics.due import RESTATE_DERIVED, Touched, definition_hash, due_periods, wanted_periods
from kpid.metrics.plan import Ask
from kpid.model import SeriesNeed
from kpid.plugin.kpi import Definition, Kpi, Target, Use
from kpid.warehouse import Changes

CALENDAR = Calendar("Europe/Berlin")
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
OCTOBER, NOVEMBER, DECEMBER = (period_from_label("month", label, CALENDAR) for label in ("2017-10", "2017-11", "2017-12"))
NOTHING = Changes(1)


def ask_for(kpis, name, by=(), kind="month", where=()):
    kpi = kpis[name]
    return Ask(SeriesNeed(name, kind, by), kpi, kpi.definition({}), kpi.params_from({}), kpi.min_sample, where=where)


def changed(**days):
    return Changes(2, {tuple(key.split("__")): frozenset(values) for key, values in days.items()})


def covered(ask, changes):
    touched = Touched(ask, changes)
    return [period.label for period in (OCTOBER, NOVEMBER, DECEMBER) if touched.covers(period)]


def test_wanted_are_complete_periods_one_to_compare_with_and_the_current_one():
    found = wanted_periods(SeriesNeed("x", "quarter", periods=2), NOW, CALENDAR)
    assert [period.label for period in found] == ["2017-Q2", "2017-Q3", "2017-Q4", "2018-Q1"]
    found = wanted_periods(SeriesNeed("x", "rolling_7d", periods=2), NOW, CALENDAR)
    assert [period.label for period in found] == ["7d to 2017-12-24", "7d to 2017-12-25", "7d to 2017-12-31", "7d to 2018-01-01"]


def test_kpi_of_this_moment_has_the_current_period_only():
    need = SeriesNeed("x", "day")
    assert wanted_periods(need, NOW, CALENDAR, is_now_only=True) == [period_at("day", NOW, CALENDAR)]
    assert wanted_periods(replace(need, period="rolling_7d"), NOW, CALENDAR, is_now_only=True) == []


@pytest.mark.parametrize(
    ("name", "by", "days", "expected"),
    [
        ("won_deals", (), {"deals__closed_at": {date(2017, 11, 5)}, "deals__created_at": {date(2017, 10, 5)}}, ["2017-11"]),
        ("won_deals", (), {"deals__closed_at": {date(2017, 11, 30)}}, ["2017-11", "2017-12"]),  # 23:30 UTC is December in Berlin
        ("won_deals", (), {"deals__closed_at": {None}}, []),
        ("won_deals", (), {"activities__occurred_at": {date(2017, 11, 5)}}, []),
        ("won_deals", (), {"deals__closed_at": {date(9999, 12, 31), date(1, 1, 1)}}, []),
        ("won_deals", (), {"users__created_at": {None}}, []),
        ("won_deals", ("team",), {"users__created_at": {None}}, ["2017-10", "2017-11", "2017-12"]),
        ("won_deals", ("segment",), {"users__created_at": {None}}, []),
        ("won_amount", (), {"fx_rates__valid_from": {date(2017, 11, 5)}}, ["2017-10", "2017-11", "2017-12"]),
        (
            "pipeline_open_amount",
            (),
            {"deals__created_at": {date(2017, 11, 5)}, "deals__closed_at": {None}},
            ["2017-11", "2017-12"],
        ),
        ("ticket_backlog", (), {"tickets__created_at": {date(2017, 11, 5)}}, ["2017-10", "2017-11", "2017-12"]),
        ("nps", (), {"survey_responses__submitted_at": {date(2017, 11, 5)}}, ["2017-10", "2017-11", "2017-12"]),
    ],
)
def test_changes_cover_the_periods_they_may_alter(kpis, name, by, days, expected):
    assert covered(ask_for(kpis, name, by), changed(**days)) == expected


def test_unsettled_new_and_touched_periods_are_due(kpis):
    ask = ask_for(kpis, "won_deals")
    measured = {(p.start, p.end): (p, frozenset({state})) for p, state in ((OCTOBER, "ok"), (NOVEMBER, "stale"))}
    assert due_periods(ask, [OCTOBER, NOVEMBER, DECEMBER], measured, NOTHING, NOW) == [NOVEMBER, DECEMBER]
    changes = changed(deals__closed_at={date(2017, 10, 5)})
    assert due_periods(ask, [DECEMBER], measured, changes, NOW) == [OCTOBER, NOVEMBER, DECEMBER]
    assert due_periods(ask, [DECEMBER], measured, None, NOW) == [OCTOBER, NOVEMBER, DECEMBER]


def test_derived_figures_are_measured_anew_where_wanted_or_not_long_over(kpis):
    days = [period_at("day", NOW - timedelta(days=back), CALENDAR) for back in range(400)]
    measured = {(day.start, day.end): (day, frozenset({"ok"})) for day in days}
    changes = changed(tickets__created_at={date(2018, 1, 1)})
    due = due_periods(ask_for(kpis, "ticket_backlog", kind="day"), [days[0], days[1], days[300]], measured, changes, NOW)
    near = [day for day in days if day.end > NOW - RESTATE_DERIVED]
    assert due == sorted([*near, days[300]], key=lambda day: day.start)
    assert 99 <= len(near) <= 101


def test_cohorts_that_are_followed_longer_are_measured_anew_for_longer(kpis):
    ask = ask_for(kpis, "ticket_backlog", kind="day")
    ask = replace(ask, definition=replace(ask.definition, horizon=timedelta(days=90)))
    day = period_at("day", NOW - timedelta(days=150), CALENDAR)
    measured = {(day.start, day.end): (day, frozenset({"ok"}))}
    assert due_periods(ask, [], measured, changed(tickets__created_at={date(2018, 1, 1)}), NOW) == [day]


@pytest.mark.parametrize(("targets", "expected"), [({}, []), ({"goal": Target("won_deals")}, ["2017-10", "2017-11"])])
def test_targets_that_are_read_in_place_may_have_come_later(kpis, targets, expected):
    ask = ask_for(kpis, "won_deals")
    ask = replace(ask, definition=replace(ask.definition, targets=targets))
    measured = {(p.start, p.end): (p, frozenset({"ok"})) for p in (OCTOBER, NOVEMBER)}
    due = due_periods(ask, [], measured, Changes(1, {}, timedelta(days=7)), NOW)
    assert [period.label for period in due] == expected


def test_change_of_a_table_that_names_come_from_reaches_all_periods(kpis):
    day = period_at("day", NOW - timedelta(days=399), CALENDAR)
    measured = {(day.start, day.end): (day, frozenset({"ok"}))}
    ask = ask_for(kpis, "ticket_backlog", ("owner",), kind="day")
    assert due_periods(ask, [], measured, changed(users__created_at={None}), NOW) == [day]


@pytest.mark.parametrize(("day", "expected"), [(date(2017, 10, 5), ["2017-10", "2017-11"]), (date(2017, 8, 1), [])])
def test_event_alters_the_periods_that_look_back_on_it(kpis, day, expected):
    ask = ask_for(kpis, "won_deals")
    back = {name: replace(measure, trailing_days=60) for name, measure in ask.definition.measures.items()}
    ask = replace(ask, definition=replace(ask.definition, measures=back))
    touched = Touched(ask, changed(deals__closed_at={day}))
    assert [period.label for period in (OCTOBER, NOVEMBER, DECEMBER) if touched.covers(period, is_near=False)] == expected


def test_definition_changes_with_what_the_number_depends_on(kpis):
    ask = ask_for(kpis, "win_rate")
    known = definition_hash(ask, CALENDAR, "EUR")
    assert known == definition_hash(ask_for(kpis, "win_rate"), CALENDAR, "EUR")
    others = [
        definition_hash(replace(ask, min_sample=5), CALENDAR, "EUR"),
        definition_hash(ask, Calendar("UTC"), "EUR"),
        definition_hash(ask, Calendar("Europe/Berlin", "sun"), "EUR"),
        definition_hash(ask, CALENDAR, "USD"),
        definition_hash(
            replace(ask, definition=replace(ask.definition, formula=lambda m: m.won / m.closed * 2)), CALENDAR, "EUR"
        ),
        definition_hash(replace(ask, definition=ask.kpi.definition({"weight": "amount"})), CALENDAR, "EUR"),
    ]
    assert len({known, *others}) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"doubts": lambda m: "too few" if m.won.exact < 2 else None},
        {"remarks": lambda m: ["above 100 %"]},
        {"interval": lambda m: (0, 1)},
        {"size": lambda m: m.won},
        {"optional": ("refunds",)},
        {"targets": {"goal": Target("win_rate")}},
        {"targets": {"goal": Target("win_rate", prorate=True)}},
    ],
)
def test_definition_changes_with_what_is_said_of_the_number(kpis, change):
    ask = ask_for(kpis, "win_rate")
    found = [definition_hash(replace(ask, definition=one), CALENDAR, "EUR") for one in variants(ask.definition, change)]
    assert len(set(found)) == len(found)


def test_every_definition_can_be_told_from_others(kpis):
    found = {name: definition_hash(ask_for(kpis, name), CALENDAR, "EUR") for name in kpis}
    assert len(set(found.values())) == len(kpis)


def variants(definition, change):
    """A definition, one with a change, and compositions of both: these have an interval and a size of their own."""
    composed = Kpi("whole", "", "", "count", "up", Definition({}, lambda m: m.part, uses={"part": Use("part")}))
    for one in (definition, replace(definition, **change)):
        part = Kpi("part", "", "", "count", "up", one)
        yield one
        if change.keys() & {"interval", "size"}:
            continue
        yield define(composed, {}, {"part": part}, lambda _: {})
