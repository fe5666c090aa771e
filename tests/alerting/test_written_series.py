from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kpid.alerting.written_series import Family, measured, series_from
from kpid.analysis.intervals import rate_interval
from kpid.model import MeasurementState, Segment
from kpid.plugin.kpi import Kpi
from kpid.registry import load_plugins
from tests.alerting.world import CALENDAR, DEALS, WIN_RATE, week

WEEKS = [week(number) for number in range(2, 12)]


def family(kpi: Kpi = WIN_RATE, *, by=("owner",), least=0, enough=1) -> Family:
    definition = kpi.definition({})
    return Family(kpi, definition, definition.unit or kpi.unit, by, least, enough)


def figures(given, of=None):
    of = of or family()
    return measured(series_from(given, of), of, WEEKS, CALENDAR)


def test_figures_of_a_rate_have_numerator_and_interval():
    first, second = figures({"owner": "ana", "value": "0.31 0.25", "n": "400 4"})
    assert (first.value, first.n, first.numerator, first.denominator) == (Decimal("0.31"), 400, 124, 400)
    assert first.dims == (Segment("owner", "ana"),)
    assert (first.period, second.period) == (WEEKS[0], WEEKS[1])
    assert (float(first.low), float(first.high)) == pytest.approx(rate_interval(124, 400))
    assert second.n == 4


def test_marks_become_states():
    found = figures({"owner": "ana", "value": "0.3 _ ! ? ~ 0.4", "n": 10})
    assert [one.state.value for one in found] == ["ok", "undefined", "error", "stale", "ok"]
    assert [one.period.label for one in found] == ["2026-W02", "2026-W03", "2026-W04", "2026-W05", "2026-W07"]
    assert all(one.value is None and one.reason for one in found[1:4])


def test_the_kpis_own_formula_makes_figures_of_its_measures():
    found = figures({"owner": "ana", "won": "9 0 3", "closed": "26 0 3"})
    assert [(one.state.value, one.n, one.numerator, one.denominator) for one in found] == [
        ("ok", 26, 9, 26),
        ("undefined", 0, None, None),
        ("ok", 3, 3, 3),
    ]
    assert found[0].value == Decimal(9) / 26
    assert (float(found[0].low), float(found[0].high)) == pytest.approx(rate_interval(9, 26))


def test_a_definitions_own_interval_is_used():
    nps = load_plugins().kpis["nps"]
    answers = {name: {"promoters": 45, "detractors": 25}.get(name, 100) for name in nps.definition({}).measures}
    (one,) = figures({**answers}, family(nps, by=()))
    assert (one.value, one.n) == (20, 100)
    assert one.low < 20 < one.high


def test_a_count_is_its_own_sample():
    assert [(one.value, one.n) for one in figures({"owner": "ana", "value": "12 0"}, family(DEALS))] == [(12, 12), (0, 0)]


def test_a_sample_that_nobody_wrote_is_enough():
    (one,) = figures({"owner": "ana", "value": "0.5"}, family(least=30, enough=40))
    assert (one.n, one.state) == (40, MeasurementState.OK)


def test_a_sample_below_the_kpis_minimum_is_insufficient():
    (one,) = figures({"owner": "ana", "value": "0.5", "n": 29}, family(least=30))
    assert (one.state.value, one.value) == ("insufficient_sample", Decimal("0.5"))
    assert one.reason == "n = 29, at least 30 needed"


def test_intervals_can_be_written_or_follow_from_the_scatter():
    money = Kpi("size", "Deal size", "sales", "currency", "up", DEALS.define, dimensions=("owner",))
    written, made = (
        figures({"owner": "ana", "value": 18, "n": 12, **more}, family(money))[0] for more in ({"low": 15, "high": 20}, {"sd": 6})
    )
    assert (written.low, written.high) == (15, 20)
    assert float(made.high - made.value) == pytest.approx(2.20099 * 6 / 12**0.5, rel=1e-4)


def test_what_was_not_delivered_is_stale():
    found = figures({"owner": "ana", "value": "0.3x4", "n": 10, "through": "2026-01-19"})
    assert [one.state.value for one in found] == ["ok", "ok", "stale", "stale"]
    assert found[2].data_through == datetime(2026, 1, 18, 23, tzinfo=UTC)


def test_targets_go_on():
    series = series_from({"owner": "ana", "value": "1x3", "target": "100 120"}, family(DEALS))
    assert [series.target(place) for place in range(3)] == [100, 120, 120]
    assert series_from({"owner": "ana", "value": 1}, family(DEALS)).target(0) is None


def test_a_series_of_nobody_and_one_with_a_name():
    nobody = series_from({"owner": None, "value": 1}, family(DEALS))
    assert (nobody.dims, nobody.label) == ((Segment("owner", None),), "no owner")
    assert series_from({"owner": "crm:17", "name": "ana", "value": 1}, family(DEALS)).label == "ana"
    assert series_from({"value": 1}, family(DEALS, by=())).label == "all"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"owner": "ana", "valeu": "1"}, "unknown key 'valeu': Did you mean 'value'"),
        ({"owner": "ana"}, "either value: or the KPI's measures"),
        ({"owner": "ana", "value": 1, "won": 1, "closed": 1}, "either value: or the KPI's measures"),
        ({"owner": "ana", "won": 1}, "closed: is missing"),
        ({"owner": "ana", "value": "1 x"}, "value: 'x' is not known here"),
        ({"owner": "ana", "value": "1", "n": "_"}, "n: '_' can stand in value: only"),
        ({"owner": "ana", "value": "1", "through": "soon"}, "through: 'soon' is not a day"),
        ({"team": "a", "owner": "ana", "value": 1}, "unknown key 'team'"),
    ],
)
def test_mistakes_are_named(given, says):
    with pytest.raises(ValueError, match=says):
        series_from(given, family())


def test_a_dimension_must_not_be_forgotten():
    with pytest.raises(ValueError, match="team: is missing"):
        series_from({"owner": "ana", "value": 1}, family(by=("owner", "team")))


def test_a_formula_that_fails_is_told():
    odd = Kpi("odd", "Odd", "sales", "count", "up", lambda params: type(DEALS.define)(DEALS.define.measures, lambda m: m.nothing))
    with pytest.raises(ValueError, match="the formula of odd"):
        figures({"owner": "ana", "closed": 1}, family(odd))
