from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.assessing import judge_slot
from kpid.alerting.baselines import Terms
from kpid.alerting.mappings import Composite, Gain, condition_from
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.model import MeasurementState
from tests.alerting.sights import asks, of, periods, plain, rate

_KEYS = st.sampled_from(
    ["anomaly", "method", "season", "sensitivity", "history", "min_effect", "since", "months", "settle", "gain", "all", "any",
     "kpi", "is", "params", "min_sample"]
)  # fmt: skip


def judged(condition: Any, seen: Any, unit: str = "ratio", **given: Any) -> Outcome:
    return judge_slot(asks(unit, warn=condition, **given), [seen])[0]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"since": "soon"}, "since: 'soon' is not a day: write 2026-03-01"),
        ({"since": "2026-03-01", "months": 0}, "months: 0: write a whole number from 1 to 36"),
        ({"since": "2026-03-01", "settle": "two"}, "settle: two: write a whole number from 0"),
        ({"since": "2026-03-01", "gain": "more"}, "write what is expected, such as 5pp, 10% or 3 days"),
        ({"all": "< 5"}, "all: write a list of two conditions or more"),
        ({"any": ["< 5"]}, "any: write a list of two conditions or more"),
        ({"any": ["< 5", "less"]}, "'less' at position 1 is not the start of a condition"),
        ({"any": ["< 5", 7]}, "any: 7 is no condition"),
        ({"all": ["< 5", {"kpi": "deals"}]}, 'needs both: {kpi: NAME, is: "< 60%"}'),
        ({"all": ["< 5", {"kpi": "deals", "is": "< 5", "warn": "x"}]}, "all: 'warn' is not known here"),
        ({"all": ["< 5", {"kpi": "deals", "is": "< 5", "min_sample": "few"}]}, "min_sample: few: write a whole number"),
        ({"all": ["< 5", {"kpi": "deals", "is": "< 5", "params": "a"}]}, "params: write them as {name: value}"),
        ({"none": 1}, "is no condition: write a text, or a mapping with anomaly, since, all or any"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_write(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        condition_from(given_)
    assert says in str(caught.value)


_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 400), st.text("<> 5%xyzup", max_size=8), st.dates(), st.datetimes())
_VALUES = st.recursive(_LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_mapping_is_a_condition_or_a_value_error(given_: dict[str, Any]) -> None:
    try:
        found = condition_from(given_)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either way is right
    else:
        assert found.text
        assert found.reach("week") >= 0


@pytest.mark.parametrize("day", ["2026-05-01", date(2026, 5, 1), datetime(2026, 5, 1, 8, tzinfo=UTC)])
def test_day_of_an_event_is_read_however_yaml_gives_it(day: Any) -> None:
    found = condition_from({"since": day})
    assert isinstance(found, Gain)
    assert found.event == date(2026, 5, 1)


SINCE = {"since": "2026-05-01", "months": 3, "gain": "5pp"}


def test_gain_that_came_is_clear() -> None:
    found = judged(SINCE, of(rate, [(30, 100)] * 6 + [(45, 100)] * 6, "month"), better="up")
    assert found.kind is OutcomeKind.CLEAR
    assert found.reason == "+15.0 pt since 2026-05-01 (30.0%, then 45.0%), 5pp better expected; p < 0.001"
    assert found.baseline_label == "the 3 months before 2026-05-01"


def test_gain_that_is_too_small_or_may_be_chance_is_told() -> None:
    small = judged(SINCE, of(rate, [(300, 1000)] * 6 + [(335, 1000)] * 6, "month"), better="up")
    assert (small.kind, "+3.5 pt" in small.reason) == (OutcomeKind.BREACH, True)
    chance = judged(SINCE, of(rate, [(6, 20)] * 6 + [(8, 20)] * 6, "month"), better="up")
    assert (chance.kind, "p = 0.2" in chance.reason.replace("p 0.2", "p = 0.2")) == (OutcomeKind.BREACH, True)
    worse = judged(SINCE, of(rate, [(45, 100)] * 6 + [(30, 100)] * 6, "month"), better="up")
    assert worse.kind is OutcomeKind.BREACH


def test_gain_goes_the_way_that_is_better() -> None:
    days = {"since": "2026-05-01", "months": 4, "gain": "10%"}
    figures = [40, 41, 39, 40, 41, 40, 30, 29, 31, 30, 30, 30]
    assert judged(days, of(plain, figures, "month"), "days", better="down").kind is OutcomeKind.CLEAR
    assert judged(days, of(plain, figures, "month"), "days", better="up").kind is OutcomeKind.BREACH


def test_gain_waits_for_its_months_and_is_not_judged_for_ever() -> None:
    early = judged({**SINCE, "since": "2026-10-01"}, of(rate, [(30, 100)] * 12, "month"), better="up")
    assert (early.kind, "too early to say" in early.reason) == (OutcomeKind.INSUFFICIENT, True)
    late = judged({**SINCE, "since": "2025-05-01"}, of(rate, [(30, 100)] * 24, "month"), better="up")
    assert (late.kind, "was judged in the months after" in late.reason) == (OutcomeKind.INSUFFICIENT, True)
    holes = of(rate, [(30, 100)] * 4 + [None] + [(45, 100)] * 7, "month")
    missing = judged(SINCE, holes, better="up")
    assert (missing.kind, "only 2 of the 3 months" in missing.reason) == (OutcomeKind.INSUFFICIENT, True)


def test_gain_leaves_months_out_to_settle() -> None:
    found = condition_from({**SINCE, "settle": 1})
    assert isinstance(found, Gain)
    assert found.reach("month") == 15
    figures = [(30, 100)] * 5 + [(99, 100), (1, 100)] + [(45, 100)] * 5
    assert judged({**SINCE, "settle": 1}, of(rate, figures, "month"), better="up").kind is OutcomeKind.CLEAR


def test_all_and_any() -> None:
    seen = of(plain, [100, 80])
    both, one = ["< 90", "drop > 10% vs previous"], ["< 50", "drop > 10% vs previous"]
    assert judged({"all": both}, seen, "count").kind is OutcomeKind.BREACH
    assert judged({"all": one}, seen, "count").kind is OutcomeKind.CLEAR
    assert judged({"any": one}, seen, "count").kind is OutcomeKind.BREACH
    assert judged({"any": ["< 50", "> 500"]}, seen, "count").kind is OutcomeKind.CLEAR
    told = judged({"all": both}, seen, "count")
    assert told.threshold == "< 90 and drop > 10% vs previous"
    assert told.reason == "80 is < 90 and 20.0% below 2026-W46"


@pytest.mark.parametrize(
    ("how", "parts", "kind"),
    [
        ("all", ["< 90", "drop > 10% vs avg(8)"], OutcomeKind.INSUFFICIENT),
        ("all", ["< 50", "drop > 10% vs avg(8)"], OutcomeKind.CLEAR),
        ("any", ["< 90", "drop > 10% vs avg(8)"], OutcomeKind.BREACH),
        ("any", ["< 50", "drop > 10% vs avg(8)"], OutcomeKind.INSUFFICIENT),
    ],
)
def test_what_is_not_known_decides_nothing(how: str, parts: list[str], kind: OutcomeKind) -> None:
    assert judged({how: parts}, of(plain, [100, 80]), "count").kind is kind


def other(figures: list[Any], state: MeasurementState = MeasurementState.OK) -> Any:
    seen = of(rate, figures, "week")
    return replace(seen, current=replace(seen.current, kpi="retention", state=state, reason="because"))


def test_condition_on_another_kpi_is_judged_by_its_own_figures() -> None:
    text = {"any": ["> 50", {"kpi": "retention", "is": "< 60%", "min_sample": 10}]}
    found = condition_from(text)
    assert isinstance(found, Composite)
    assert (found.text, found.members[1].kpi, found.members[1].min_sample) == ("> 50 or retention < 60%", "retention", 10)
    bound = replace(found, members=(found.members[0], replace(found.members[1], place=0, terms=Terms("ratio", 10))))
    rules = replace(asks("count", warn="> 50"), warn=bound)
    seen = of(plain, [3, 4])

    def with_(member: Any) -> Outcome:
        return judge_slot(rules, [replace(seen, members=(member,))])[0]

    low = with_(other([(5, 10), (50, 100)]))
    assert (low.kind, low.reason) == (OutcomeKind.BREACH, "retention: 50.0% is < 60%")
    assert with_(other([(5, 10), (70, 100)])).kind is OutcomeKind.CLEAR
    assert with_(other([(5, 10), (1, 9)])).reason == "retention: n = 9, below the rule's minimum of 10"
    assert with_(other([(5, 10), (1, 90)], MeasurementState.STALE)).kind is OutcomeKind.STALE
    assert judge_slot(rules, [seen])[0].reason == "there is no figure of retention"


def test_members_say_what_they_need() -> None:
    found = condition_from(
        {"all": ["< 90% of target", {"kpi": "deals", "period": "month", "params": {"as": "won"}, "is": "> 5"}]}
    )
    assert isinstance(found, Composite)
    assert found.needs == {"target", "members"}
    assert found.members[1].params == (("as", "won"),)
    assert condition_from({"any": ["rise > 0% vs max(12)", "> 5"]}).reach("month") == 24
    assert condition_from({"all": [{"anomaly": "up"}, "> 5"]}).reach("week") == 32
    assert Decimal(1) == 1
    assert periods("month", 1)[0].label == "2026-10"
