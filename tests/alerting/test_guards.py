from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.assessing import RuleConditions, judge_sight, judge_slot
from kpid.alerting.contracts import Sight
from kpid.alerting.guards import Guards, usual_of
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.series import Spell
from kpid.model import Level, Measurement
from tests.alerting.sights import asks, of, periods, plain, rate, score, sight

FIVE = Guards(significance=Decimal("0.05"))
EIGHT = [(100, 400)] * 8


def judged(rules: RuleConditions, seen: Sight) -> Outcome:
    return judge_slot(rules, [seen])[0]


@pytest.mark.parametrize(
    ("now", "kind", "p"),
    [
        ((60, 400), OutcomeKind.BREACH, 4.887e-06),  # 15 % against 25 % of 3,200: chance does not bring that
        ((8, 40), OutcomeKind.INSUFFICIENT, None),
        ((3, 10), OutcomeKind.INSUFFICIENT, None),
    ],
)
def test_drop_that_chance_may_bring_is_not_told(now: tuple[int, int], kind: OutcomeKind, p: float | None) -> None:
    found = judged(asks("ratio", warn="< 50%", guards=FIVE), of(rate, [*EIGHT, now]))
    assert found.kind is kind
    assert found.baseline == Decimal("0.25")
    assert found.baseline_label == "8 periods before (2026-W39 to 2026-W46)"
    if p is not None:
        assert found.p == pytest.approx(p, abs=1e-6)
    else:
        assert found.unguarded is OutcomeKind.BREACH
        assert "chance alone may bring that (p = " in found.reason


def test_counts_are_tested_as_poisson() -> None:
    rules = asks("count", warn="< 45", guards=FIVE, adds_up=True)
    found = judged(rules, of(plain, [50] * 8 + [30]))
    assert (found.kind, found.p) == (OutcomeKind.BREACH, pytest.approx(0.002579, abs=1e-6))
    assert judged(rules, of(plain, [50] * 8 + [44])).kind is OutcomeKind.INSUFFICIENT
    rise = asks("count", warn="> 55", guards=FIVE, adds_up=True)
    assert judged(rise, of(plain, [50] * 8 + [80])).kind is OutcomeKind.BREACH
    assert judged(rise, of(plain, [50] * 8 + [56])).kind is OutcomeKind.INSUFFICIENT


def test_counts_that_use_to_scatter_need_to_be_further_away() -> None:
    rules = asks("count", warn="drop > 1% vs avg(8)", guards=FIVE, adds_up=True)
    steady, wild = [98, 102] * 4, [90, 110, 95, 105, 80, 120, 100, 100]
    found = judged(rules, of(plain, [*wild, 80]))
    assert (found.kind, found.p) == (OutcomeKind.INSUFFICIENT, pytest.approx(0.0885, abs=5e-4))
    assert judged(rules, of(plain, [*steady, 80])).kind is OutcomeKind.BREACH
    assert judged(rules, of(plain, [*wild, 60])).kind is OutcomeKind.BREACH
    rise = asks("count", warn="rise > 1% vs avg(8)", guards=FIVE, adds_up=True)
    assert judged(rise, of(plain, [*wild, 120])).p == pytest.approx(0.0885, abs=5e-4)


def test_counts_per_working_day_are_tested_by_their_days() -> None:
    rules = asks("count", warn="drop > 1% vs avg(8)", guards=FIVE, adds_up=True, per_day=True)
    found = judged(rules, of(plain, [50] * 8 + [30]))
    assert found.kind is OutcomeKind.BREACH


def test_scores_are_tested_by_their_margins() -> None:
    rules = asks("score", warn="change < -10 points vs previous", guards=FIVE)
    found = judged(rules, of(score, [(60, 20, 100)] * 8 + [(45, 25, 100)]))
    assert (found.kind, found.p is not None and found.p < 0.01) == (OutcomeKind.BREACH, True)
    single = judged(replace(rules, guards=Guards(Decimal("0.05"), baseline=4)), of(score, [(60, 20, 100)] * 2 + [(52, 25, 100)]))
    assert (single.kind, single.unguarded) == (OutcomeKind.INSUFFICIENT, OutcomeKind.BREACH)


def test_means_are_tested_by_welch() -> None:
    def mean(period: Any, value: float, sd: float, n: int) -> Measurement:
        from kpid.analysis.stats import student_t

        margin = student_t(n - 1) * sd / n**0.5
        return plain(period, value, n=n, low=Decimal(repr(value - margin)), high=Decimal(repr(value + margin)))

    rules = asks("days", warn="< 20 days", guards=Guards(Decimal("0.05"), baseline=4), better="up")
    found = judged(rules, of(mean, [(22.0, 7.0, 30)] * 3 + [(18.0, 6.0, 12)]))
    assert (found.kind, found.p) == (OutcomeKind.BREACH, pytest.approx(0.025, abs=0.003))


def test_what_has_no_margin_is_tested_by_its_scatter() -> None:
    rules = asks("currency", warn="< 95", guards=FIVE)
    steady = of(plain, [100, 101, 99, 100, 102, 98, 100, 100, 90])
    wild = of(plain, [100, 140, 60, 120, 80, 90, 110, 100, 90])
    assert judged(rules, steady).kind is OutcomeKind.BREACH
    assert judged(rules, wild).kind is OutcomeKind.INSUFFICIENT


def test_without_anything_usual_nothing_is_significant() -> None:
    found = judged(asks("ratio", warn="< 50%", guards=FIVE), of(rate, [(100, 400)] * 3 + [(1, 400)]))
    assert (found.kind, found.unguarded) == (OutcomeKind.INSUFFICIENT, OutcomeKind.BREACH)
    assert "fewer than 4 sound periods" in found.reason
    assert judged(asks("ratio", warn="< 50%"), of(rate, [(100, 400)] * 3 + [(1, 400)])).kind is OutcomeKind.BREACH


def test_episodes_are_not_usual() -> None:
    values = [(100, 400)] * 10 + [(40, 400)] * 6 + [(60, 400)]
    seen, spans = of(rate, values), periods("week", len(values))
    rules = asks("ratio", warn="< 50%", guards=FIVE)
    assert judged(rules, seen).kind is OutcomeKind.INSUFFICIENT
    assert judged(rules, replace(seen, spells=(Spell(spans[10].start, None),))).kind is OutcomeKind.BREACH


def test_effect_too_small_to_matter_is_not_told() -> None:
    rules = asks("ratio", warn="< 50%", guards=Guards(min_effect=Decimal("0.1")))
    found = judged(rules, of(rate, [(1000, 4000)] * 8 + [(950, 4000)]))
    assert (found.kind, found.unguarded, found.effect) == (OutcomeKind.INSUFFICIENT, OutcomeKind.BREACH, Decimal("-0.050000"))
    assert "only 5.0% from 8 periods before (2026-W39 to 2026-W46), less than the 10% asked for" in found.reason
    assert judged(rules, of(rate, [(1000, 4000)] * 8 + [(900, 4000)])).kind is OutcomeKind.BREACH
    better = judged(rules, of(rate, [(1000, 4000)] * 8 + [(1500, 4000)]))
    assert better.kind is OutcomeKind.INSUFFICIENT


def test_intervals_that_overlap_tell_nothing_apart() -> None:
    rules = asks("ratio", warn="drop > 25% vs previous", guards=Guards(disjoint=True))
    assert judged(rules, of(rate, [(160, 200), (80, 200)])).kind is OutcomeKind.BREACH
    found = judged(rules, of(rate, [(10, 50), (6, 50)]))
    assert (found.kind, "the 95 % intervals of now and of 2026-W46 overlap" in found.reason) == (OutcomeKind.INSUFFICIENT, True)
    without = judged(asks(warn="drop > 25% vs previous", guards=Guards(disjoint=True)), of(plain, [100, 10]))
    assert "there are no 95 % intervals" in without.reason
    points = asks("score", warn="change < -10 points vs previous", guards=Guards(disjoint=True), min_sample=100)
    assert judged(points, of(score, [(600, 100, 1000), (450, 250, 1000)])).kind is OutcomeKind.BREACH
    assert judged(points, of(score, [(60, 20, 100), (45, 25, 100)])).kind is OutcomeKind.INSUFFICIENT
    assert judged(points, of(score, [(60, 20, 99), (5, 65, 100)])).kind is OutcomeKind.INSUFFICIENT


def many(good: int, bad: list[tuple[int, int]]) -> list[Sight]:
    return [of(rate, [*EIGHT, (100, 400)]) for _ in range(good)] + [of(rate, [*EIGHT, now]) for now in bad]


def test_many_series_at_once_need_more() -> None:
    weak, strong = (82, 400), (40, 400)
    rules = asks("ratio", warn="< 24%", guards=FIVE)
    kinds = [one.kind for one in judge_slot(rules, many(20, [weak, strong]))]
    assert kinds == [OutcomeKind.CLEAR] * 20 + [OutcomeKind.INSUFFICIENT, OutcomeKind.BREACH]
    told = judge_slot(rules, many(20, [weak]))[-1]
    assert "is not rare enough where 21 series are tested at once" in told.reason
    assert judge_slot(rules, many(0, [weak]))[0].kind is OutcomeKind.BREACH


def test_without_correction_each_series_is_judged_alone() -> None:
    sights = many(20, [(82, 400), (40, 400)])
    rules = asks("ratio", warn="< 24%", guards=replace(FIVE, corrected=False))
    assert judge_slot(rules, sights) == [judge_sight(rules, one).outcome for one in sights]
    assert [one.kind for one in judge_slot(rules, sights)[-2:]] == [OutcomeKind.BREACH] * 2


def test_next_level_is_told_if_only_the_higher_one_may_be_chance() -> None:
    rules = asks("ratio", warn="< 50%", critical="drop > 5% vs previous", guards=Guards(disjoint=True))
    seen = of(rate, [(100, 400), (90, 400)])
    assert judged(rules, seen).kind is OutcomeKind.INSUFFICIENT
    both = asks("ratio", warn="drop > 20% vs avg(4)", critical="drop > 25% vs previous", guards=Guards(disjoint=True))
    found = judged(both, of(rate, [(900, 1000), (900, 1000), (900, 1000), (33, 50), (23, 50)]))
    assert (found.kind, found.level) == (OutcomeKind.BREACH, Level.WARN)


def test_outcome_with_its_chance_survives_the_store() -> None:
    found = judged(asks("ratio", warn="< 50%", guards=FIVE), of(rate, [*EIGHT, (90, 400)]))
    assert found.p is not None
    assert outcome_from_dump(found.dump()) == found


def test_usual_is_pooled() -> None:
    seen = of(rate, [(10, 10), (10, 90), *[(5, 50)] * 2, (1, 2)])
    usual = usual_of(seen, asks("ratio", warn="< 50%"), 4)
    assert usual is not None
    assert (usual.baseline.value, usual.baseline.n, len(usual.figures)) == (Decimal(30) / 200, 200, 4)


_PAIR = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
_GUARDS = st.builds(
    Guards,
    significance=st.sampled_from([None, Decimal("0.05"), Decimal("0.01")]),
    min_effect=st.sampled_from([None, Decimal("0.1")]),
    corrected=st.booleans(),
    disjoint=st.booleans(),
    baseline=st.sampled_from([4, 8]),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.lists(_PAIR, min_size=9, max_size=9), min_size=1, max_size=4), _GUARDS, st.booleans())
def test_a_guard_only_turns_breaches_into_nothing_to_say(
    table: list[list[tuple[int, int]]], guards: Guards, relative: bool
) -> None:
    given_ = {"warn": "drop > 10% vs avg(4)" if relative else "< 40%", "critical": "< 20%"}
    sights = [of(rate, list(row)) for row in table]
    free = judge_slot(asks("ratio", **given_), sights)
    held = judge_slot(asks("ratio", guards=guards, **given_), sights)
    for was, is_ in zip(free, held, strict=True):
        if was.kind is OutcomeKind.BREACH:
            assert is_.kind in {OutcomeKind.BREACH, OutcomeKind.INSUFFICIENT}
            assert is_.level.rank <= was.level.rank
            assert is_.kind is OutcomeKind.BREACH or is_.unguarded is OutcomeKind.BREACH
        else:
            assert (is_.kind, is_.level, is_.unguarded) == (was.kind, was.level, None)


def test_false_alarms_stay_at_the_level_asked_for() -> None:
    """Rates that never change: of the slots of a series, hardly more than one in twenty is called significant."""
    dice = Random(20261123)
    rules = asks("ratio", warn="< 100%", guards=FIVE)
    for n, least in ((20, 0.0), (100, 0.02)):
        alarms = 0
        for _ in range(300):
            values = [(sum(dice.random() < 0.3 for _ in range(n)), n) for _ in range(9)]
            alarms += judged(rules, of(rate, values)).kind is OutcomeKind.BREACH
        assert least <= alarms / 300 <= 1.3 * 0.05 + 0.005 + 0.025


def test_sight_without_figures_is_judged_as_before() -> None:
    rules = asks("ratio", warn="< 50%", guards=FIVE)
    gone = sight([rate(periods("week", 1)[0], 1, 2)], others_present=True)
    assert judged(rules, replace(gone, current=None)).kind is OutcomeKind.MISSING
    assert judged(rules, replace(gone, current=None, others_present=False, failure="locked")).kind is OutcomeKind.ERROR
