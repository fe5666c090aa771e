"""The parts of a change add up to it exactly; and the part that was planted is found among those that chance has made."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.explain import explain, explain_change, rounded_shares
from kpid.model import Measurement, MeasurementState, Period, Segment

PERIOD = Period("week", datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC), "2026-W46")


def _measurement(segment: str, value: str | None, parts: tuple[int, int] | None = None) -> Measurement:
    numerator, denominator = (Decimal(parts[0]), Decimal(parts[1])) if parts else (None, None)
    return Measurement(
        "x",
        PERIOD,
        MeasurementState.OK,
        Decimal(value) if value is not None else None,
        parts[1] if parts else abs(int(Decimal(value or 0))),
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


# ---- against chance
SIMULATIONS = 200
Draw = Callable[[random.Random, str], Measurement]


def _count(segment: str, count: int, dimension: str = "owner") -> Measurement:
    one = _measurement(segment, str(count))
    return replace(one, n=count, dims=(Segment(dimension, segment, segment.title()),))


def _poisson(draw: random.Random, mean: float) -> int:
    count, passed = 0, draw.expovariate(1)
    while passed < mean:
        count, passed = count + 1, passed + draw.expovariate(1)
    return count


def _first_of(trial: Callable[[random.Random], tuple[str, list[Measurement], list[Measurement]]], seed: int) -> float:
    """In what share of simulated cases the segment that was planted is ranked first."""
    found = 0
    for number in range(SIMULATIONS):
        planted, new, old = trial(random.Random(seed * 10_000 + number))
        explanation = explain_change(new, old)
        assert explanation is not None
        assert sum(effect.effect for effect in explanation.effects) == explanation.change
        found += explanation.effects[0].segment == planted.title()
    return found / SIMULATIONS


def test_planted_cause_of_a_count_is_found() -> None:
    def trial(draw: random.Random) -> tuple[str, list[Measurement], list[Measurement]]:
        sizes = {f"s{number}": draw.choice((20, 40, 80, 160)) for number in range(8)}
        planted = draw.choice([name for name, size in sizes.items() if size >= 40])
        old = [_count(name, _poisson(draw, size)) for name, size in sizes.items()]
        new = [_count(name, _poisson(draw, size * (0.3 if name == planted else 1))) for name, size in sizes.items()]
        return planted, new, old

    assert _first_of(trial, 1) >= 0.95


def test_planted_cause_of_an_amount_is_found_though_amounts_scatter() -> None:
    def amounts(draw: random.Random, name: str, count: int) -> Measurement:
        total = sum(round(draw.expovariate(1 / 5000)) for _ in range(count))
        return replace(_measurement(name, str(total)), n=count)

    def trial(draw: random.Random) -> tuple[str, list[Measurement], list[Measurement]]:
        sizes = {f"s{number}": draw.choice((60, 120, 240)) for number in range(6)}
        planted = draw.choice(list(sizes))
        old = [amounts(draw, name, _poisson(draw, size)) for name, size in sizes.items()]
        new = [amounts(draw, name, _poisson(draw, size * (0.2 if name == planted else 1))) for name, size in sizes.items()]
        return planted, new, old

    assert _first_of(trial, 2) >= 0.95


def test_planted_cause_of_a_rate_is_found_though_small_segments_jump() -> None:
    def rate(draw: random.Random, name: str, closed: int, chance: float) -> Measurement:
        return _ratio(name, sum(draw.random() < chance for _ in range(closed)), closed)

    def trial(draw: random.Random) -> tuple[str, list[Measurement], list[Measurement]]:
        sizes = {f"s{number}": draw.choice((5, 20, 60, 120)) for number in range(7)} | {"s7": 120}
        planted = draw.choice([name for name, size in sizes.items() if size == 120])
        old = [rate(draw, name, _poisson(draw, size) or 1, 0.55) for name, size in sizes.items()]
        new = [rate(draw, name, _poisson(draw, size) or 1, 0.2 if name == planted else 0.55) for name, size in sizes.items()]
        return planted, new, old

    assert _first_of(trial, 3) >= 0.95


def test_planted_change_of_weights_is_found() -> None:
    """Nobody's rate has changed, but one segment of low rate has become three times as large."""

    def trial(draw: random.Random) -> tuple[str, list[Measurement], list[Measurement]]:
        rates = {f"s{number}": 0.5 for number in range(6)} | {"low": 0.1}

        def side(times: int) -> list[Measurement]:
            sizes = {name: _poisson(draw, 80 * times if name == "low" else 80) for name in rates}
            won = {name: sum(draw.random() < rates[name] for _ in range(size)) for name, size in sizes.items()}
            return [_ratio(name, won[name], size) for name, size in sizes.items()]

        old, new = side(1), side(3)
        return "low", new, old

    assert _first_of(trial, 4) >= 0.95


def test_dimension_with_the_cause_comes_first() -> None:
    """Regions fell alike because owners of all regions did; of the owners only one did."""
    found = 0
    for number in range(SIMULATIONS):
        draw = random.Random(50_000 + number)
        cells: dict[tuple[str, str], list[int]] = {}
        for owner in range(8):
            for region in ("emea", "apac", "amer"):
                fall = 0.15 if owner == 3 else 1
                cells[f"o{owner}", region] = [_poisson(draw, 25), _poisson(draw, 25 * fall)]
        cuts = {}
        for place, dimension in enumerate(("owner", "region")):
            names = sorted({key[place] for key in cells})
            counts = {name: [sum(v[side] for k, v in cells.items() if k[place] == name) for side in (0, 1)] for name in names}
            cuts[dimension] = tuple([_count(name, both[side], dimension) for name, both in counts.items()] for side in (1, 0))
        totals = [sum(values[side] for values in cells.values()) for side in (1, 0)]
        new, old = (replace(_count("all", total), dims=()) for total in totals)
        why = explain(new, old, cuts)
        assert why.best is not None
        assert why.best.explanation is not None
        found += why.best.dimension == "owner" and why.best.explanation.effects[0].segment == "O3"
    assert found / SIMULATIONS >= 0.95


# ---- a total along several dimensions
def _total(one: Measurement) -> Measurement:
    return replace(one, dims=())


def _cuts(**sides: tuple[list[Measurement], list[Measurement]]) -> Mapping[str, tuple[list[Measurement], list[Measurement]]]:
    return sides


def test_parts_that_do_not_add_up_are_shown_but_not_summed() -> None:
    """A deal of two products counts in both."""
    sides = ([_count("a", 6), _count("b", 7)], [_count("a", 5), _count("b", 5)])
    why = explain(_total(_count("all", 9)), _total(_count("all", 8)), _cuts(product=sides))
    (cut,) = why.cuts
    assert cut.explanation is None
    assert "do not add up" in cut.reason
    assert [(one.value, was.value) for one, was in cut.segments if one and was] == [(7, 5), (6, 5)]
    assert why.best is None


def test_what_cannot_be_split_says_so_and_shows_the_segments() -> None:
    sides = ([_measurement("ada", "12")], [_measurement("ada", "15"), _measurement("bruno", "11")])
    why = explain(_total(_measurement("all", "12")), _total(_measurement("all", "14")), _cuts(owner=sides), splits=False)
    assert "cannot be split" in why.reason
    assert why.change == -2
    assert len(why.cuts[0].segments) == 2


@pytest.mark.parametrize("lacking", ["new", "old"])
def test_period_without_a_value_leaves_nothing_to_compare(lacking: str) -> None:
    nothing = replace(_total(_measurement("all", None)), state=MeasurementState.UNDEFINED, reason="no closed deals")
    known = _total(_measurement("all", "3"))
    why = explain(*((nothing, known) if lacking == "new" else (known, nothing)), {})
    assert why.change is None
    assert "no closed deals" in why.reason


def test_scores_are_explained_in_points() -> None:
    def score(segment: str, net: int, answers: int) -> Measurement:
        return replace(_measurement(segment, None, (net, answers)), value=Decimal(100 * net) / answers)

    new, old = [score("ada", -5, 10), score("bruno", 5, 10)], [score("ada", 5, 10), score("bruno", 5, 10)]
    why = explain(_total(score("all", 0, 20)), _total(score("all", 10, 20)), {"owner": (new, old)})
    assert why.change == -50
    assert why.best is not None
    assert why.best.explanation is not None
    assert why.best.explanation.scale == 100
    assert why.best.explanation.change == -50
    assert why.best.explanation.effects[0].effect == -50


def test_lone_segment_tells_nothing_and_comes_last() -> None:
    new, old = _total(_count("all", 30)), _total(_count("all", 60))
    lone = ([_count("eur", 30)], [_count("eur", 60)])
    owners = ([_count("a", 25), _count("b", 5)], [_count("a", 27), _count("b", 33)])
    why = explain(new, old, _cuts(currency=lone, owner=owners))
    assert [cut.dimension for cut in why.cuts] == ["owner", "currency"]


@given(
    st.lists(st.tuples(st.decimals(-999, 999, places=2), st.decimals(-999, 999, places=2)), min_size=1, max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_effects_of_an_additive_kpi_add_up_exactly(rows: list[tuple[Decimal, Decimal]]) -> None:
    sides = tuple([_measurement(f"s{i}", str(row[side])) for i, row in enumerate(rows)] for side in (0, 1))
    new, old = (_total(_measurement("all", str(sum(row[side] for row in rows)))) for side in (0, 1))
    (cut,) = explain(new, old, {"owner": sides}).cuts
    assert cut.explanation is not None
    assert sum(effect.effect for effect in cut.explanation.effects) == Fraction(new.value or 0) - Fraction(old.value or 0)
