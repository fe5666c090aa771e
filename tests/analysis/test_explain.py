from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.explain import explain_change, rounded_shares
from kpid.model import Measurement, MeasurementState, Period, Segment

PERIOD = Period("week", datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC), "2026-W46")


def _measurement(segment: str, value: str | None, parts: tuple[int, int] | None = None) -> Measurement:
    numerator, denominator = (Decimal(parts[0]), Decimal(parts[1])) if parts else (None, None)
    return Measurement(
        "x",
        PERIOD,
        MeasurementState.OK,
        Decimal(value) if value is not None else None,
        parts[1] if parts else 0,
        (Segment("owner", segment, segment.title()),),
        numerator=numerator,
        denominator=denominator,
    )


def _ratio(segment: str, won: int, closed: int) -> Measurement:
    return _measurement(segment, str(Decimal(won) / closed) if closed else None, (won, closed))


def test_additive_kpis_move_by_the_change_of_each_segment() -> None:
    new = [_measurement("ada", "5"), _measurement("bruno", "7")]
    old = [_measurement("ada", "9"), _measurement("carla", "1")]
    found = explain_change(new, old)
    assert found is not None
    assert found.change == 2
    assert [(e.segment, e.effect) for e in found.effects] == [("Bruno", 7), ("Ada", -4), ("Carla", -1)]


def test_ratio_with_steady_weights_moves_by_rates_alone() -> None:
    found = explain_change([_ratio("ada", 3, 10), _ratio("bruno", 5, 10)], [_ratio("ada", 5, 10), _ratio("bruno", 5, 10)])
    assert found is not None
    ada, bruno = found.effects
    assert (ada.segment, ada.rate, ada.mix) == ("Ada", Fraction(-1, 10), 0)
    assert bruno.effect == 0
    assert found.change == Fraction(8, 20) - Fraction(10, 20)


def test_ratio_with_steady_rates_moves_by_mix_alone() -> None:
    found = explain_change([_ratio("ada", 1, 10), _ratio("bruno", 15, 30)], [_ratio("ada", 3, 30), _ratio("bruno", 5, 10)])
    assert found is not None
    assert all(effect.rate == 0 for effect in found.effects)
    assert found.change == Fraction(16, 40) - Fraction(8, 40)


def test_new_segment_counts_as_mix() -> None:
    found = explain_change([_ratio("ada", 5, 10), _ratio("new", 0, 10)], [_ratio("ada", 5, 10)])
    assert found is not None
    assert found.change == Fraction(-1, 4)
    assert next(e for e in found.effects if e.segment == "New").rate == 0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8)
)
@settings(max_examples=200, deadline=None)
def test_effects_of_a_ratio_add_up_exactly(rows: list[tuple[int, int, int, int]]) -> None:
    new = [_ratio(f"s{i}", min(a, b), b) for i, (a, b, _, _) in enumerate(rows)]
    old = [_ratio(f"s{i}", min(c, d), d) for i, (_, _, c, d) in enumerate(rows)]
    found = explain_change(new, old)
    totals = [(sum(min(r[k], r[k + 1]) for r in rows), sum(r[k + 1] for r in rows)) for k in (0, 2)]
    if not totals[0][1] or not totals[1][1]:
        assert found is None
        return
    assert found is not None
    assert sum(effect.effect for effect in found.effects) == found.change
    assert found.change == Fraction(*totals[0]) - Fraction(*totals[1])


def test_medians_are_not_explained() -> None:
    odd = Measurement("x", PERIOD, MeasurementState.OK, Decimal(4), 3, (Segment("owner", "ada"),), numerator=Decimal(4))
    assert explain_change([odd], [odd]) is None


def test_nothing_explains_nothing() -> None:
    assert explain_change([], []) is None
    assert explain_change([_ratio("ada", 1, 2)], []) is None
    assert explain_change([_measurement("ada", None)], [_measurement("ada", None)]) is None


@given(st.lists(st.fractions(-10, 10, max_denominator=997), min_size=1, max_size=9))
@settings(max_examples=200, deadline=None)
def test_rounded_shares_add_up_to_the_rounded_total(values: list[Fraction]) -> None:
    total = sum(values, Fraction(0))
    shares = rounded_shares(values, total, 1)
    assert abs(Fraction(sum(shares)) - total) <= Fraction(1, 20)
    assert all(abs(Fraction(share) - value) < Fraction(1, 5) for share, value in zip(shares, values, strict=True))
