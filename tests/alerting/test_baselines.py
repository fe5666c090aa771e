from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from kpid.alerting.assessing import judge_slot
from kpid.alerting.baselines import Against, Terms, baseline_of, value_of
from kpid.alerting.outcomes import OutcomeKind
from kpid.alerting.series import Spell
from kpid.alerting.verdicts import Baseline, Verdict
from kpid.model import MeasurementState
from kpid.plugin.kpi import Benchmark
from tests.alerting.sights import CALENDAR, NOW, asks, of, periods, plain, rate, sight

AWAITED = "enough is known from 2026-11-30 on, if figures keep coming"
TERMS = Terms("count")


def found(text: Against, seen, terms: Terms = TERMS) -> Baseline:
    baseline = baseline_of(text, seen, terms)
    assert isinstance(baseline, Baseline), baseline
    return baseline


def unknown(text: Against, seen, terms: Terms = TERMS) -> Verdict:
    verdict = baseline_of(text, seen, terms)
    assert isinstance(verdict, Verdict), verdict
    return verdict


@pytest.mark.parametrize(
    ("name", "value"), [("avg", Fraction(27, 2)), ("median", Fraction(27, 2)), ("max", Fraction(17)), ("min", Fraction(10))]
)
def test_windows_take_the_newest_figures_before(name: str, value: Fraction) -> None:
    seen = of(plain, [1000, *range(1, 18), 99])
    assert found(Against(name, 8), seen).value == value
    assert (
        found(Against(name, 8), seen).label
        == f"the {({'avg': 'average', 'max': 'maximum', 'min': 'minimum'}).get(name, name)} of 8 weeks"
    )


def test_judged_period_is_not_part_of_its_baseline() -> None:
    for value in (5, 5_000_000):
        seen = of(plain, [10] * 8 + [value])
        assert found(Against("avg", 8), seen).value == 10
        including = replace(seen, before=[*seen.before, seen.period])
        assert found(Against("avg", 8), including).value == 10


def test_episodes_and_excluded_periods_leave_the_baseline() -> None:
    values = [10] * 12 + [99, 99, 10, 10, 10]
    spans = periods("week", len(values))
    seen = of(plain, values)
    assert found(Against("max", 8), seen).value == 99
    spell = Spell(spans[12].start, spans[13].end)
    assert found(Against("max", 8), replace(seen, spells=(spell,))).value == 10
    assert found(Against("max", 8), replace(seen, excluded=((spell.start, spans[13].end),))).value == 10
    still_on = Spell(spans[12].start, None)
    assert found(Against("max", 8), replace(seen, spells=(still_on,))).value == 10


def test_what_is_left_out_is_made_up_for_from_further_back() -> None:
    values: list[object] = [7] * 8 + [None] * 4 + [9] * 4 + [3]
    seen = of(plain, values)
    assert found(Against("avg", 8), seen).value == 8
    assert found(Against("avg", 8), seen).label == "the average of 8 weeks"


def test_less_than_half_a_window_says_nothing() -> None:
    seen = of(plain, [10, 10, 10, 4])
    verdict = unknown(Against("avg", 8), seen)
    assert (verdict.unknown, verdict.reason) == (
        OutcomeKind.INSUFFICIENT,
        f"only 3 sound figures to compare with for the average of 8 weeks: at least 4 are needed; {AWAITED}",
    )
    assert found(Against("avg", 8), of(plain, [10, 10, 10, 10, 4])).label == "the average of 8 weeks (4 are sound)"


def test_figures_that_are_not_sound_are_left_out() -> None:
    spans = periods("week", 7)
    figures = [rate(span, 5, 10) for span in spans]
    figures[2] = replace(figures[2], state=MeasurementState.STALE, value=Decimal("0.9"))
    figures[3] = rate(spans[3], 2, 2)
    seen = sight(figures)
    assert found(Against("max", 4), seen, Terms("ratio", min_sample=5)).value == Fraction(1, 2)
    assert found(Against("max", 4), seen, Terms("ratio")).value == 1


def test_same_weekdays_are_compared_with() -> None:
    values = [100 if span.label in {"2026-11-01", "2026-11-08", "2026-11-15", "2026-11-22"} else 7 for span in periods("day", 60)]
    seen = of(plain, values, "day")
    assert seen.period.label == "2026-11-22"
    assert found(Against("avg", 3, same_weekdays=True), seen).value == 100
    assert found(Against("same_weekday"), seen).value == 100
    assert found(Against("same_weekday_14d"), seen).label == "2026-11-08"
    assert found(Against("avg", 4), seen).value == 7


def test_last_year_is_found_by_the_calendar() -> None:
    seen = of(plain, [*range(1, 14)], "month")
    assert (found(Against("last_year"), seen).label, found(Against("last_year"), seen).value) == ("2025-10", 1)
    weeks = of(plain, list(range(1, 60)), "week")
    assert found(Against("last_year_iso_week"), weeks).label == "2025-W47"
    assert found(Against("last_year_364d"), weeks).label == "2025-W47"
    assert unknown(Against("last_year"), of(plain, [1, 2], "month")).unknown is OutcomeKind.INSUFFICIENT


def test_week_that_last_year_did_not_have_is_told() -> None:
    new_year = datetime(2027, 1, 5, 12, tzinfo=UTC)  # 2026 has 53 weeks
    seen = of(plain, [*[100] * 53, 50], "week", new_year)
    assert seen.period.label == "2026-W53"
    judged = judge_slot(asks(warn="drop > 30% vs last_year"), [seen])[0]
    assert (judged.kind, judged.warnings) == (OutcomeKind.BREACH, ("week 53 of 2026 is compared with week 52 of 2025",))


def test_what_there_is_not_says_nothing() -> None:
    alone = of(plain, [5])
    assert unknown(Against("previous"), alone).reason == f"there is no earlier period to compare with; {AWAITED}"
    assert unknown(Against("target"), alone).reason == "there is no target for this period"
    assert unknown(Against("benchmark"), alone).reason == "the KPI has no benchmark"
    assert unknown(Against("total"), alone).unknown is OutcomeKind.NO_DATA
    zero = replace(alone, target=Decimal(0))
    assert unknown(Against("target"), zero).unknown is OutcomeKind.INSUFFICIENT


def test_target_benchmark_and_total() -> None:
    seen = of(rate, [(3, 10)])
    everybody = rate(seen.period, 300, 500)
    seen = replace(seen, target=Decimal("0.5"), total=everybody)
    known = Benchmark("0.33", "about a third", "invented", 2020)
    assert found(Against("target"), seen, Terms("ratio")).value == Fraction(1, 2)
    assert found(Against("total"), seen, Terms("ratio")).value == Fraction(3, 5)
    baseline = found(Against("benchmark"), seen, Terms("ratio", benchmark=known))
    assert (baseline.value, baseline.label) == (Fraction(33, 100), "the benchmark about a third (invented, 2020)")
    judged = judge_slot(asks("ratio", warn="change < -10pp vs total", min_sample=10), [seen])[0]
    assert (judged.kind, judged.reason) == (OutcomeKind.BREACH, "30.0 points below all together")
    assert (judged.baseline, judged.baseline_label, judged.effect) == (Decimal("0.6"), "all together", Decimal("-0.500000"))


def test_figures_per_working_day() -> None:
    """The week of the 3rd of October has a holiday on a Saturday only; Easter takes two days."""
    easter = datetime(2026, 4, 7, 12, tzinfo=UTC)
    seen = of(plain, [500, 400], "week", easter)
    terms = Terms("count", per_day=True, adds_up=True)
    assert seen.current is not None
    assert value_of(seen.current, seen, terms) == 100
    assert found(Against("previous"), seen, terms).value == 100
    drop = "drop > 10% vs previous"
    assert judge_slot(asks(warn=drop), [seen])[0].kind is OutcomeKind.BREACH
    assert judge_slot(asks(warn=drop, per_day=True, adds_up=True), [seen])[0].kind is OutcomeKind.CLEAR


def test_free_days_are_not_judged_per_working_day() -> None:
    sunday = of(plain, [9] * 60 + [0], "day")
    judged = judge_slot(asks(warn="drop > 30% vs avg(8)", per_day=True, adds_up=True), [sunday])[0]
    assert (judged.kind, judged.reason) == (OutcomeKind.INSUFFICIENT, "2026-11-22 has no working day")
    friday = of(plain, [0 if index % 7 in {1, 2} else 9 for index in range(60)] + [0], "day", NOW - timedelta(days=2))
    assert friday.period.label == "2026-11-20"
    judged = judge_slot(asks(warn="drop > 30% vs avg(8 same_weekdays)", per_day=True, adds_up=True), [friday])[0]
    assert judged.kind is OutcomeKind.BREACH


def test_sample_of_a_count_is_what_was_expected() -> None:
    """3 inquiries where 30 are usual are worth telling; 1 where 3 are usual is not."""
    rules = asks(warn="drop > 40% vs avg(8)", min_sample=20, adds_up=True, expects_sample=True)
    assert judge_slot(rules, [of(plain, [30] * 8 + [3])])[0].kind is OutcomeKind.BREACH
    few = judge_slot(rules, [of(plain, [3] * 8 + [1])])[0]
    assert (few.kind, "below the rule's minimum of 20" in few.reason) == (OutcomeKind.INSUFFICIENT, True)


def test_calendars_and_references_agree() -> None:
    seen = of(plain, [*range(1, 15)], "month")
    own = replace(seen, reference=lambda name: seen.before[0] if name == "last_year" else seen.before[-1], calendar=None)
    assert found(Against("last_year"), own).value == 1
    assert CALENDAR.timezone == "Europe/Berlin"
