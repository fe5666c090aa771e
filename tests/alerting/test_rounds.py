from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from kpid.alerting.rounds import REMEMBERED, Facts, Times, Track, figure_of, run_round, series_key_of
from kpid.alerting.rules import plan_of
from kpid.alerting.series import SeriesState
from kpid.model import Measurement, MeasurementState, Period, Segment
from tests.alerting.world import CALENDAR, DEALS, WIN_RATE, rule, week

ANA, BOB = ((Segment("owner", "1", "Ana"),), (Segment("owner", "2", "Bob"),))
COUNTS = plan_of(rule(kpi="deals", warn="< 5"), DEALS)
RATES = plan_of(rule(), WIN_RATE)


def figure(dims: tuple[Segment, ...], period: Period, value: int = 9, **more: object) -> Measurement:
    return replace(Measurement("deals", period, MeasurementState.OK, Decimal(value), value, dims), **more)


def facts(*figures: Measurement, due: tuple[Period, ...] = ()) -> Facts:
    by_key: dict[str, dict] = {}
    for each in figures:
        by_key.setdefault(series_key_of(each.dims), {})[each.period.start, each.period.end] = each
    return Facts(None, {}, due, (), by_key, {series_key_of(each.dims): each.dims for each in figures}, {})


def bob() -> Track:
    return Track(series_key_of(BOB), BOB, True, SeriesState(), SeriesState())


def test_series_key_goes_by_ids_alone() -> None:
    assert series_key_of(ANA) == series_key_of((Segment("owner", "1", "Married Name"),))
    assert series_key_of(ANA) != series_key_of(BOB)
    assert len(series_key_of(())) == 64


def test_count_of_a_segment_that_was_there_lately_is_zero() -> None:
    found = figure_of(COUNTS, facts(figure(ANA, week(5)), figure(BOB, week(4))), bob(), week(5), Times(CALENDAR))
    assert found is not None
    assert (found.value, found.n, found.state, found.dims) == (Decimal(0), 0, MeasurementState.OK, BOB)


@pytest.mark.parametrize("state", [MeasurementState.STALE, MeasurementState.INCOMPLETE, MeasurementState.ERROR])
def test_zero_is_trusted_no_more_than_the_other_figures(state: MeasurementState) -> None:
    others = figure(ANA, week(5), state=state, reason="because")
    found = figure_of(COUNTS, facts(others, figure(BOB, week(4))), bob(), week(5), Times(CALENDAR))
    assert found is not None
    assert (found.state, found.reason) == (state, "because")


def test_nothing_is_made_up_where_zero_is_not_known() -> None:
    times = Times(CALENDAR)
    long_ago = facts(figure(ANA, week(9)), figure(BOB, week(9 - REMEMBERED - 1)))
    assert figure_of(COUNTS, long_ago, bob(), week(9), times) is None
    nobody = facts(figure(BOB, week(4)))
    assert figure_of(COUNTS, nobody, bob(), week(5), times) is None
    ratio = facts(figure(ANA, week(5)), figure(BOB, week(4)))
    assert figure_of(RATES, ratio, bob(), week(5), times) is None


def test_series_begins_with_its_first_figure() -> None:
    periods = (week(2), week(3), week(4))
    given = facts(*(figure(ANA, period) for period in periods), figure(BOB, week(4), 1), due=periods)
    found = run_round(COUNTS, given, CALENDAR)
    judged = {track.dims[0].name: [done.slot.label for done in track.evaluations] for track in found.tracks}
    assert judged == {"Ana": ["2026-W02", "2026-W03", "2026-W04"], "Bob": ["2026-W04"]}
    assert found.newest == (week(4).end, "2026-W04", week(4).start)


def test_round_with_nothing_due_is_empty() -> None:
    assert run_round(COUNTS, facts(), CALENDAR).is_empty
