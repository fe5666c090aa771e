"""What moved a figure away from the average of several periods, or from what was aimed at: the parts add up exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.explain import Why, explain
from kpid.analysis.usual import aimed_at, average_of
from kpid.model import Measurement, MeasurementState, Period, Segment

START = datetime(2026, 11, 2, tzinfo=UTC)
NEAR = Fraction(1, 10**18)


def _period(number: int) -> Period:
    start = START + timedelta(weeks=number)
    return Period("week", start, start + timedelta(weeks=1), f"W{number}")


def _figure(number: int, segment: str, given: tuple[int, int] | int, scale: int = 1) -> Measurement:
    dims = (Segment("owner", segment, segment.title()),) if segment else ()
    one = Measurement("x", _period(number), MeasurementState.OK, None, 0, dims)
    if isinstance(given, int):
        return _with(one, Decimal(given), abs(given))
    above, below = given
    value = Decimal(scale * above) / below if below else None
    return _with(one, value, below, Decimal(above), Decimal(below))


def _with(
    one: Measurement, value: Decimal | None, n: int, above: Decimal | None = None, below: Decimal | None = None
) -> Measurement:
    return Measurement(one.kpi, one.period, one.state, value, n, one.dims, numerator=above, denominator=below)


def _week(number: int, scale: int = 1, **parts: tuple[int, int] | int) -> tuple[Measurement, list[Measurement]]:
    """A whole and its parts."""
    found = [_figure(number, name, one, scale) for name, one in parts.items()]
    if all(isinstance(one, int) for one in parts.values()):
        return _figure(number, "", sum(one for one in parts.values() if isinstance(one, int)), scale), found
    sides = [one for one in parts.values() if isinstance(one, tuple)]
    return _figure(number, "", (sum(one[0] for one in sides), sum(one[1] for one in sides)), scale), found


def _against(new: tuple[Measurement, list[Measurement]], *old: tuple[Measurement, list[Measurement]]) -> Why:
    whole, parts = average_of([one for one, _ in old], [one for _, one in old])
    return explain(new[0], whole, {"owner": (new[1], parts)})


def test_count_against_the_average_of_several_weeks() -> None:
    why = _against(_week(9, ada=10, bob=2), _week(1, ada=10, bob=10), _week(2, ada=12, bob=20), _week(3, ada=11))
    assert why.best is not None
    assert why.best.explanation is not None
    assert why.old.value == 21
    assert {one.segment: one.effect for one in why.best.explanation.effects} == {"Bob": -8, "Ada": -1}


def test_average_of_rates_is_that_of_the_weeks_however_large_each_was() -> None:
    """60 % of 100 and 40 % of 10 are 50 % on average, not 58 %."""
    why = _against(_week(9, ada=(30, 100)), _week(1, ada=(60, 100)), _week(2, ada=(4, 10)))
    assert why.old.value == Decimal("0.5")
    (cut,) = why.cuts
    assert cut.explanation is not None
    assert abs(cut.explanation.change - Fraction(-2, 10)) < NEAR


_PAIRS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))
_WEEKS = st.lists(st.lists(_PAIRS, min_size=3, max_size=3), min_size=2, max_size=9)


@given(_WEEKS, st.sampled_from([1, 100]))
@settings(max_examples=150, deadline=None)
def test_parts_add_up_to_the_distance_from_the_average(weeks: list[list[tuple[int, int]]], scale: int) -> None:
    made = [_week(n, scale, **dict(zip("abc", pairs, strict=True))) for n, pairs in enumerate(weeks)]
    if any(whole.value is None for whole, _ in made):
        return
    new, *old = made
    why = _against(new, *old)
    mean = sum((Fraction(scale) * Fraction(w.numerator or 0) / Fraction(w.denominator or 1) for w, _ in old), Fraction(0))
    wanted = Fraction(scale) * Fraction(new[0].numerator or 0) / Fraction(new[0].denominator or 1) - mean / len(old)
    (cut,) = why.cuts
    assert cut.explanation is not None, cut.reason
    assert sum(one.effect for one in cut.explanation.effects) == cut.explanation.change
    if cut.explanation.scale == scale:  # where nothing was won at all nobody can tell
        assert abs(cut.explanation.change - wanted) < Fraction(1, 10**12)


@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=2, max_size=9))
@settings(max_examples=100, deadline=None)
def test_parts_of_counts_add_up_to_the_distance_from_the_average(weeks: list[list[int]]) -> None:
    new, *old = [_week(n, **dict(zip("abc", counts, strict=True))) for n, counts in enumerate(weeks)]
    (cut,) = _against(new, *old).cuts
    assert cut.explanation is not None, cut.reason
    mean = Fraction(sum(int(whole.value or 0) for whole, _ in old), len(old))
    assert abs(cut.explanation.change - (Fraction(new[0].value or 0) - mean)) < Fraction(1, 10**12)


def test_week_whose_parts_are_not_there_is_no_part_of_an_average() -> None:
    why = _against(_week(9, ada=(30, 100)), _week(1, ada=(60, 100)), (_week(2, ada=(4, 10))[0], []))
    assert why.best is None
    assert "do not add up" in why.cuts[0].reason


def test_mean_of_many_weeks_is_surer_than_one_week() -> None:
    """What is beyond chance against eight weeks need not be against one."""
    one = _against(_week(9, ada=(20, 50), bob=(25, 50)), _week(1, ada=(27, 50), bob=(25, 50)))
    eight = _against(_week(9, ada=(20, 50), bob=(25, 50)), *[_week(number, ada=(27, 50), bob=(25, 50)) for number in range(1, 9)])
    scores = [why.cuts[0].explanation.effects[0].score for why in (one, eight) if why.cuts[0].explanation is not None]
    assert scores[1] > 1.2 * scores[0]


# ---- what was aimed at
def test_every_part_of_a_rate_should_have_reached_the_target() -> None:
    new, parts = _week(9, ada=(20, 50), bob=(30, 50))
    found = aimed_at(new, parts, Decimal("0.6"))
    assert found is not None
    (cut,) = explain(new, found[0], {"owner": (parts, found[1])}).cuts
    assert cut.explanation is not None
    assert {one.segment: (one.rate, one.mix) for one in cut.explanation.effects} == {
        "Ada": (Fraction(-1, 10), 0),
        "Bob": (0, 0),
    }
    assert cut.explanation.change == Fraction(-1, 10)


def test_target_of_a_score_is_in_points() -> None:
    new, parts = _week(9, scale=100, ada=(20, 50), bob=(30, 50))
    found = aimed_at(new, parts, Decimal(60))
    assert found is not None
    (cut,) = explain(new, found[0], {"owner": (parts, found[1])}).cuts
    assert cut.explanation is not None
    assert cut.explanation.change == -10


def test_target_of_a_sum_is_shared_out_as_it_was() -> None:
    new, parts = _week(9, ada=50, bob=10)
    found = aimed_at(new, parts, Decimal(120), _week(8, ada=40, bob=40, carl=20)[1])
    assert found is not None
    (cut,) = explain(new, found[0], {"owner": (parts, found[1])}).cuts
    assert cut.explanation is not None
    assert {one.segment: one.effect for one in cut.explanation.effects} == {"Bob": -38, "Ada": 2, "Carl": -24}
    assert cut.explanation.change == -60


@pytest.mark.parametrize("shares", [{}, {"ada": 0}, {"ada": 5, "bob": -1}])
def test_sum_that_nobody_can_share_out_is_not_explained(shares: dict[str, int]) -> None:
    new, parts = _week(9, ada=50, bob=10)
    assert aimed_at(new, parts, Decimal(120), _week(8, **shares)[1] if shares else []) is None
