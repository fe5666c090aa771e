from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kpid.alerting.assessing import judge_slot
from kpid.alerting.contracts import Sight
from kpid.alerting.mappings import condition_from
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.paces import days_needed, whole_of
from kpid.alerting.verdicts import to_decimal
from kpid.analysis.calendar import Calendar
from kpid.analysis.comparison import reference
from kpid.analysis.periods import TO_DATE, days_of, period_from_label
from kpid.model import Measurement
from tests.alerting.sights import CALENDAR, WORK, asks, plain


def quarter_to(day: str, value: Any, target: Any = 650, days: tuple[Measurement, ...] = ()) -> Sight:
    period = period_from_label("qtd", day, CALENDAR)
    goal = None if target is None else Decimal(target)
    return Sight(plain(period, value), period, target=goal, calendar=CALENDAR, work=WORK, days=days)


def judged(text: str, seen: Sight, **given: Any) -> Outcome:
    return judge_slot(asks("count", warn=text, **given), [seen])[0]


def test_pace_is_judged_by_the_working_days_that_are_over() -> None:
    """2026-Q4 in Berlin has 65 working days: on the evening of 13 November 32 are over."""
    seen = quarter_to("2026-11-13", 287)
    assert judged("pace < 90% of target", seen).kind is OutcomeKind.BREACH
    found = judged("pace < 90% of target", quarter_to("2026-11-13", 280))
    assert found.kind is OutcomeKind.BREACH
    assert judged("pace < 75% of target", seen).kind is OutcomeKind.CLEAR
    assert "of what should be there after" in found.reason
    assert found.reason.endswith("working days")
    assert found.baseline_label == "what the target wants by now"


def test_pace_limits_are_exact() -> None:
    seen = quarter_to("2026-11-13", 100)
    first = judged("pace < 90% of target", seen)
    assert first.limit is not None
    at = replace(seen, current=plain(seen.period, first.limit))
    assert judged("pace < 90% of target", at).kind is OutcomeKind.CLEAR
    assert judged("pace <= 90% of target", at).kind is OutcomeKind.BREACH


def test_before_a_fifth_of_the_period_nothing_is_said() -> None:
    early = judged("pace < 90% of target", quarter_to("2026-10-09", 1))
    assert (early.kind, early.reason.startswith("too early to say: 7 of ")) == (OutcomeKind.INSUFFICIENT, True)
    assert judged("pace < 90% of target", quarter_to("2026-10-09", 1), start_after="10%").kind is OutcomeKind.BREACH
    assert judged("pace < 90% of target", quarter_to("2026-10-14", 1), start_after="2w").kind is OutcomeKind.BREACH
    assert judged("pace < 90% of target", quarter_to("2026-10-13", 1), start_after="2w").kind is OutcomeKind.INSUFFICIENT


def test_at_the_end_the_whole_target_is_wanted() -> None:
    assert judged("pace < 100% of target", quarter_to("2026-12-31", 649)).kind is OutcomeKind.BREACH
    assert judged("pace < 100% of target", quarter_to("2026-12-31", 650)).kind is OutcomeKind.CLEAR


@pytest.mark.parametrize(
    ("target", "kind"), [(None, OutcomeKind.NO_DATA), (0, OutcomeKind.INSUFFICIENT), (-5, OutcomeKind.INSUFFICIENT)]
)
def test_without_a_target_there_is_no_pace(target: Any, kind: OutcomeKind) -> None:
    assert judged("pace < 90% of target", quarter_to("2026-11-13", 1, target)).kind is kind
    assert judged("forecast < target", quarter_to("2026-11-13", 1, target)).kind is kind


def test_other_curves_expect_otherwise() -> None:
    late = (Decimal("0.05"), Decimal("0.1"), Decimal("0.3"), Decimal(1))
    assert judged("pace < 90% of target", quarter_to("2026-11-13", 100), curve=late).kind is OutcomeKind.CLEAR
    assert judged("pace < 90% of target", quarter_to("2026-11-13", 260), curve="linear_calendar").kind is OutcomeKind.BREACH


def daily(first: str, last: str, amount: Any) -> tuple[Measurement, ...]:
    """What each working day brought."""
    day, found = date.fromisoformat(first), []
    while day <= date.fromisoformat(last):
        if WORK.weight(day):
            found.append(plain(period_from_label("day", day.isoformat(), CALENDAR), amount(day)))
        day += timedelta(days=1)
    return tuple(found)


def test_seasonal_curve_follows_last_year() -> None:
    """Last year's last month brought nearly everything: half-way through little is expected."""
    days = daily("2025-10-01", "2025-12-31", lambda day: 30 if day.month == 12 else 1)
    assert judged("pace < 90% of target", quarter_to("2026-11-13", 40, days=days), curve="seasonal").kind is OutcomeKind.CLEAR
    assert judged("pace < 90% of target", quarter_to("2026-11-13", 40, days=days)).kind is OutcomeKind.BREACH
    none = judged("pace < 90% of target", quarter_to("2026-11-13", 40), curve="seasonal")
    assert (none.kind, none.reason) == (OutcomeKind.INSUFFICIENT, "no pace: last year has no shape to follow")


def test_forecast_goes_by_how_earlier_periods_went_on() -> None:
    days = daily("2025-03-24", "2026-09-30", lambda day: 10)
    enough, little = quarter_to("2026-11-13", 340, 650, days), quarter_to("2026-11-13", 250, 650, days)
    assert judged("forecast < target", enough).kind is OutcomeKind.CLEAR
    found = judged("forecast < target", little)
    assert (found.kind, "of the target if it goes on as 6 before did" in found.reason) == (OutcomeKind.BREACH, True)
    assert judged("forecast < 70% of target", little).kind is OutcomeKind.CLEAR
    sure = judged("forecast < target with 80%", little)
    assert (sure.kind, sure.reason.endswith("6 of 6 say so")) == (OutcomeKind.BREACH, True)


def test_how_sure_a_forecast_must_be() -> None:
    """Some quarters brought all at their start, others at their end: they do not agree."""

    def amount(day: date) -> int:
        is_early = (day.month - 1) % 3 == 0
        return 30 if is_early == (day.month <= 6) else 5

    days = daily("2025-03-24", "2026-09-30", amount)
    seen = quarter_to("2026-11-13", 380, 650, days)
    assert judged("forecast < target with 10%", seen).kind is OutcomeKind.BREACH
    assert judged("forecast < target with 90%", seen).kind is OutcomeKind.CLEAR


def test_too_few_earlier_periods_give_no_forecast() -> None:
    days = daily("2026-03-20", "2026-09-30", lambda day: 10)
    found = judged("forecast < target", quarter_to("2026-11-13", 250, 650, days))
    assert (found.kind, found.reason) == (OutcomeKind.INSUFFICIENT, "no forecast: 2 whole earlier periods with figures, 4 needed")


def test_what_they_need() -> None:
    assert condition_from("pace < 90% of target").needs == {"target", "running"}
    assert condition_from("forecast < target").needs == {"target", "running", "days"}
    assert days_needed("qtd", seasonal=False, forecasts=False) == 0
    assert days_needed("qtd", seasonal=False, forecasts=True) >= 7 * 92
    assert days_needed("mtd", seasonal=True, forecasts=False) >= 31 + 365
    assert whole_of(period_from_label("qtd", "2026-11-13", CALENDAR), CALENDAR).label == "2026-Q4"
    assert datetime(2026, 1, 1, tzinfo=UTC).year == 2026


RETAIL = Calendar("Europe/Berlin", fiscal_start=2, fiscal_pattern="4-4-5", year_rule="nearest")
APRIL = Calendar("Europe/Berlin", fiscal_start=4)
FISCAL = {"fiscal_month": "fmtd", "fiscal_quarter": "fqtd", "fiscal_year": "fytd"}


@pytest.mark.parametrize("calendar", [RETAIL, APRIL])
@pytest.mark.parametrize("kind", FISCAL)
def test_fiscal_periods_have_a_pace_by_their_own_working_days(kind: str, calendar: Calendar) -> None:
    """At any day: what is due is the share of the fiscal period's own working days; all of it on its last day."""
    for day in ("2026-03-13", "2026-11-12", "2027-01-29"):
        period = period_from_label(FISCAL[kind], day, calendar)
        whole = whole_of(period, calendar)
        assert (whole.kind, whole.start) == (kind, period.start)
        worked, every = (WORK.working_days(*days_of(one, calendar)) for one in (period, whole))
        seen = Sight(plain(period, 1), period, target=Decimal(1000), calendar=calendar, work=WORK)
        found = judged("pace < 90% of target", seen, start_after="1%")
        assert found.baseline == to_decimal(1000 * worked / every)
        assert f"after {float(worked):g} of {float(every):g} working days" in found.reason
    last = period_from_label(FISCAL[kind], str(days_of(whole, calendar)[1] - timedelta(days=1)), calendar)
    full = Sight(plain(last, 999), last, target=Decimal(1000), calendar=calendar, work=WORK)
    assert judged("pace < 100% of target", full).kind is OutcomeKind.BREACH
    assert judged("pace < 100% of target", replace(full, current=plain(last, 1000))).kind is OutcomeKind.CLEAR


def test_fiscal_quarter_of_weeks_forecasts_from_quarters_of_weeks() -> None:
    """Each earlier quarter of 13 weeks brought one a working day: half-way through, it comes to as many as there are."""
    period = period_from_label("fqtd", "2026-12-15", RETAIL)
    whole = whole_of(period, RETAIL)
    first = days_of(whole, RETAIL)[0] - timedelta(days=800)
    brought = [
        replace(plain(period_from_label("day", str(day), RETAIL), 1))
        for day in (first + timedelta(days=step) for step in range(845))
        if WORK.weight(day)
    ]
    sold = sum(1 for one in brought if one.period.start >= whole.start)
    target = WORK.working_days(*days_of(whole, RETAIL))
    seen = Sight(plain(period, sold), period, target=to_decimal(target), calendar=RETAIL, work=WORK, days=brought)
    found = judged("forecast < 95% of target", seen)
    assert found.kind is OutcomeKind.CLEAR, found.reason
    assert judged("forecast < 110% of target", seen).kind is OutcomeKind.BREACH


def test_seasonal_curve_of_a_fiscal_quarter_follows_the_same_quarter_of_the_fiscal_year_before() -> None:
    period = period_from_label("fqtd", "2026-12-15", RETAIL)
    earlier = reference(whole_of(period, RETAIL), "last_year", RETAIL).period
    first, after = days_of(earlier, RETAIL)
    late = [plain(period_from_label("day", str(after - timedelta(days=back)), RETAIL), 100) for back in (4, 3)]
    seen = Sight(plain(period, 1), period, target=Decimal(1000), calendar=RETAIL, work=WORK, days=late)
    found = judged("pace < 90% of target", seen, curve="seasonal")
    assert (found.kind, found.reason) == (OutcomeKind.INSUFFICIENT, "no pace: nothing is expected by now")
    early = [plain(period_from_label("day", str(first + timedelta(days=step)), RETAIL), 100) for step in range(4)]
    assert judged("pace < 90% of target", replace(seen, days=early), curve="seasonal").baseline == 1000


def test_every_to_date_kind_looks_as_far_back_as_its_longest_period() -> None:
    for kind in TO_DATE:
        assert days_needed(kind, seasonal=False, forecasts=True) > 6 * (days_needed(kind, seasonal=True, forecasts=False) - 366)
